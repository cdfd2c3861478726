"""A certificate for localhost that nobody vouches for but itself."""

from pathlib import Path

import attrs
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

from tests.certificates import self_signed


@attrs.frozen
class Certified:
    """What a server shows, and the file that a client verifies it with."""

    options: CertificateOptions
    path: Path


def certify(folder: Path) -> Certified:
    """Make one."""
    certificate, key = self_signed(folder, "localhost")
    both = key.read_bytes() + certificate.read_bytes()
    return Certified(PrivateCertificate.loadPEM(both).options(), certificate)
