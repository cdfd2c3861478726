"""Certificates, and the contexts that TLS connections are made with.

Versions and cipher suites are those of Mozilla's Server Side TLS guideline 5.7, "intermediate":
TLS 1.2 and 1.3, the client's order of preference (https://ssl-config.mozilla.org/guidelines/5.7.json).
Its suites with DHE need parameters that Python's ssl has no way to give but a file; without
them they aren't agreed on, and every client that the guideline names has ECDHE. Of its groups
X25519 comes first, as OpenSSL has it.
"""

import contextlib
import datetime
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from ipquery.errors import ConfigError
from ipquery.kinds import InputFile
from ipquery.net import tickets

_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
)

_ALPN = ["http/1.1"]

# OpenSSL gives two for each handshake. Each takes 14 us of the 250 that a handshake takes, and
# a client that connects again gets another.
_TICKETS = 1


@attrs.frozen
class Certificate:
    """A certificate with its chain and key, read and checked.

    All in PEM, not paths: what has been checked is what is used, by every worker, whatever
    becomes of the files.
    """

    chain: str
    key: str = attrs.field(repr=False)
    names: tuple[str, ...]
    """The host names that it is for, in lower case."""
    ends: float
    """Until when it is valid, in seconds since the epoch."""
    path: str
    """The file, for messages."""


ClientCertificates = Literal["none", "optional", "required"]
"""What may be asked of clients: nothing, to show a certificate if they have one, or to have one."""

_VERIFY_MODES: Mapping[ClientCertificates, ssl.VerifyMode] = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


@attrs.frozen
class CertificateFiles:
    """Where a certificate is."""

    chain: InputFile
    """The certificate, and behind it those that lead to one that clients know, in PEM."""

    key: InputFile
    """Its private key in PEM, not encrypted. It may be the same file."""


@attrs.frozen
class TlsFiles:
    """What the operator sets for addresses with ``tls:``."""

    certificates: tuple[CertificateFiles, ...]
    """The first is for clients that name no host, or one that no certificate is for."""

    client_certificates: ClientCertificates = "none"
    """What is asked of clients."""

    client_ca: InputFile | None = None
    """Whom to trust for clients' certificates, in PEM."""


@attrs.frozen
class TlsSettings:
    """What the operator has set, with the content of the files."""

    certificates: tuple[Certificate, ...]
    client_certificates: ClientCertificates = "none"
    client_ca: str | None = None


def read_tls(files: TlsFiles) -> TlsSettings:
    """Read the files, and try what is in them.

    :raises ConfigError: something can't be used.
    """
    if not files.certificates:
        raise ConfigError("[tls] needs a certificate")
    if files.client_certificates != "none" and files.client_ca is None:
        raise ConfigError("tls.client_certificates needs a `client_ca`, whom to trust for them")
    settings = TlsSettings(
        tuple(read_certificate(one.chain, one.key) for one in files.certificates),
        files.client_certificates,
        None if files.client_ca is None else read_authorities(files.client_ca),
    )
    make_context(settings, None)
    return settings


def read_certificate(chain: Path, key: Path) -> Certificate:
    """Read a certificate, and its private key, from PEM files; they may be one file.

    :raises ConfigError: a file can't be read, holds no such thing, the key is encrypted, or it
        isn't that certificate's.
    """
    # Not above: workers don't read any, and it takes 8 MB.
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    chain_text, key_text = _read(chain), _read(key)
    try:
        certificate = x509.load_pem_x509_certificates(chain_text.encode())[0]
        public = certificate.public_key()
    except Exception:
        raise ConfigError(f"{chain}: no certificate in PEM") from None
    try:
        private = serialization.load_pem_private_key(key_text.encode(), None)
    except TypeError:
        raise ConfigError(
            f"{key}: the key is encrypted; decrypt it (`openssl pkey -in FILE -out NEW`), and "
            "let only the daemon's user read it"
        ) from None
    except Exception:
        raise ConfigError(f"{key}: no private key in PEM") from None
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ConfigError(f"{key}: not the key of the first certificate in {chain}")
    ends = certificate.not_valid_after_utc.timestamp()
    return Certificate(chain_text, key_text, _names(certificate), ends, str(chain))


def _names(certificate: Any) -> tuple[str, ...]:
    """The host names of a certificate (RFC 9525: subject alternative names only)."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))


def read_authorities(path: Path) -> str:
    """Read the certificates of those who vouch for clients.

    :raises ConfigError: it can't be read, or there is none in it.
    """
    text = _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}: no certificates in PEM") from None
    return text


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: can't read this file: {error.strerror}") from None


def expiry_warnings(settings: TlsSettings | None, now: float) -> list[str]:
    """A line for each certificate that isn't valid any more.

    :param now: seconds since the epoch.
    """
    return [
        f"{one.path}: this certificate is valid until {_date(one.ends)} only; clients refuse it"
        for one in (settings.certificates if settings else ())
        if one.ends <= now
    ]


def _date(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def make_context(settings: TlsSettings, ticket_key: bytes | None) -> ssl.SSLContext:
    """The context for new connections; it changes to another by the name that a client asks for.

    :param ticket_key: what workers have in common, see :mod:`ipquery.net.tickets`.
    :raises ConfigError: OpenSSL doesn't take a certificate: its key is too short, for instance.
    """
    contexts: list[tuple[frozenset[str], ssl.SSLContext]] = []
    for certificate in settings.certificates:
        context = _context(settings, certificate)
        if ticket_key is not None:
            tickets.share(context, ticket_key)
        contexts.append((frozenset(certificate.names), context))
    default = contexts[0][1]
    if len(contexts) > 1:
        default.sni_callback = _chooser(contexts)
    return default


def _context(settings: TlsSettings, certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(_ALPN)
    context.num_tickets = _TICKETS
    context.verify_mode = _VERIFY_MODES[settings.client_certificates]
    if settings.client_ca is not None:
        context.load_verify_locations(cadata=settings.client_ca)
    with _file_of(certificate.chain) as chain, _file_of(certificate.key) as key:
        try:
            # A password that is asked for on the terminal would hold the daemon up.
            context.load_cert_chain(chain, key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            what = str(reason).lower().replace("_", " ")
            raise ConfigError(f"{certificate.path}: OpenSSL refuses it: {what}") from None
    return context


@contextlib.contextmanager
def _file_of(text: str) -> Iterator[str]:
    """A name under which a text can be read as a file, that is on no disk.

    OpenSSL is given certificates and keys as files by Python's ssl only.
    """
    number = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with open(number, "w", encoding="ascii", errors="replace", closefd=False) as file:
            file.write(text)
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def _chooser(
    contexts: list[tuple[frozenset[str], ssl.SSLContext]],
) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """What is called with the name that a client asks for (RFC 6066 section 3)."""
    by_name: dict[str, ssl.SSLContext] = {}
    for names, context in contexts:
        for name in names:
            by_name.setdefault(name, context)

    def choose(tls: ssl.SSLObject, name: str | None, default: ssl.SSLContext) -> None:
        if name is None:
            return
        name = name.lower()
        # A wildcard stands for one label (RFC 9525 section 6.3).
        chosen = by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")
        if chosen is not None and chosen is not default:
            tls.context = chosen

    return choose


class Contexts:
    """The context of a worker's new connections; those there are keep theirs."""

    def __init__(self, settings: TlsSettings, ticket_key: bytes | None) -> None:
        """:raises ConfigError: as :func:`make_context`."""
        self.settings, self.ticket_key = settings, ticket_key
        self.context = make_context(settings, ticket_key)

    def change(self, settings: TlsSettings) -> None:
        """Show other certificates from now on.

        :raises ConfigError: as :func:`make_context`; nothing has changed then.
        """
        self.context = make_context(settings, self.ticket_key)
        self.settings = settings

    def renew_tickets(self, key: bytes) -> None:
        """Give and take tickets by another key from now on."""
        self.context = make_context(self.settings, key)
        self.ticket_key = key
