"""Which certificates are trusted where others are asked over TLS."""

from pathlib import Path
from typing import Any

from twisted.internet.ssl import Certificate, trustRootFromCertificates


def trust_root(ca_file: Path | None) -> Any:
    """The certificates of a file in PEM, or ``None``, which means the system's.

    :raises OSError: the file can't be read.
    """
    if ca_file is None:
        return None
    end = b"-----END CERTIFICATE-----"
    *given, _ = ca_file.read_bytes().split(end)
    return trustRootFromCertificates([Certificate.loadPEM(part + end) for part in given])
