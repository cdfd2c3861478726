"""Certificates and the contexts made of them."""

import contextlib
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ipquery.errors import ConfigError
from ipquery.net import tickets
from ipquery.net.tls import (
    TlsSettings,
    expiry_warnings,
    make_context,
    read_authorities,
    read_certificate,
)
from tests.certificates import self_signed


def _settings(folder: Path, *names: tuple[str, ...]) -> tuple[TlsSettings, list[Path]]:
    files = [self_signed(folder, *each) for each in names]
    return TlsSettings(tuple(read_certificate(*each) for each in files)), [one for one, _ in files]


def test_a_certificate_is_read_with_its_names(tmp_path: Path) -> None:
    found = read_certificate(*self_signed(tmp_path, "Example.org", "*.example.net"))
    assert found.names == ("example.org", "*.example.net")
    assert found.path == str(tmp_path / "Example.org.crt")
    assert "PRIVATE" in found.key
    assert "PRIVATE" not in repr(TlsSettings((found,)))


def test_certificate_and_key_may_be_one_file(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    assert read_certificate(both, both).names == ("localhost",)


def _encrypted(key: Path) -> Path:
    out = key.with_suffix(".encrypted")
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:secret"]
    command += ["-in", str(key), "-out", str(out)]
    subprocess.run(command, check=True)
    return out


def _cut(path: Path) -> Path:
    out = path.with_suffix(".cut")
    out.write_bytes(path.read_bytes()[:100])
    return out


def test_files_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "a.example")
    _, other = self_signed(tmp_path, "b.example")
    missing = tmp_path / "missing.pem"
    binary = tmp_path / "binary.pem"
    binary.write_bytes(bytes(range(256)) * 4)
    cases = {
        (missing, key): "missing.pem: can't read this file: No such file",
        (certificate, missing): "missing.pem: can't read this file: No such file",
        (tmp_path, key): "can't read this file: Is a directory",
        (key, key): "a.example.key: no certificate in PEM",
        (binary, key): "binary.pem: no certificate in PEM",
        (_cut(certificate), key): "no certificate in PEM",
        (certificate, certificate): "a.example.crt: no private key in PEM",
        (certificate, _cut(key)): "no private key in PEM",
        (certificate, _encrypted(key)): "the key is encrypted; decrypt it",
        (certificate, other): "b.example.key: not the key of the first certificate in .*a.example",
    }
    for (chain, private), says in cases.items():
        with pytest.raises(ConfigError, match=says) as caught:
            read_certificate(chain, private)
        assert "\n" not in str(caught.value)


def test_what_openssl_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    certificate, key = tmp_path / "weak.crt", tmp_path / "weak.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    settings = TlsSettings((read_certificate(certificate, key),))
    with pytest.raises(ConfigError, match="weak.crt: OpenSSL refuses it: ee key too small"):
        make_context(settings, None)


def test_files_of_authorities_are_read(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "ca")
    assert read_authorities(certificate) == certificate.read_text()
    with pytest.raises(ConfigError, match="no certificates in PEM"):
        read_authorities(key)
    with pytest.raises(ConfigError, match="can't read this file"):
        read_authorities(tmp_path / "missing")


def test_a_certificate_that_has_ended_is_warned_of(tmp_path: Path) -> None:
    good, ended = self_signed(tmp_path, "good"), self_signed(tmp_path, "ended", hours=-1)
    settings = TlsSettings((read_certificate(*good), read_certificate(*ended)))
    now = settings.certificates[0].ends - 60
    (warning,) = expiry_warnings(settings, now)
    assert "ended.crt: this certificate is valid until 20" in warning
    assert len(expiry_warnings(settings, now + 120)) == 2
    make_context(settings, None)


# Handshakes in memory


class Ends:
    """What a handshake came to."""

    def __init__(self, client: ssl.SSLObject, server: ssl.SSLObject) -> None:
        self.client, self.server = client, server

    @property
    def names(self) -> set[str]:
        certificate: Any = self.client.getpeercert()
        return {name for _, name in certificate["subjectAltName"]}


def _handshake(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    name: str | None = None,
    session: ssl.SSLSession | None = None,
) -> Ends:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (client, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
    with contextlib.suppress(ssl.SSLWantReadError):
        client.read(1)  # the ticket
    return Ends(client, server)


def _client(*authorities: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for one in authorities:
        context.load_verify_locations(one)
    return context


def test_the_certificate_is_chosen_by_the_name_that_is_asked_for(tmp_path: Path) -> None:
    settings, files = _settings(
        tmp_path, ("a.example",), ("b.example", "*.b.example"), ("deep.b.example",)
    )
    context, client = make_context(settings, None), _client(*files)
    for asked, found in {
        None: "a.example",
        "a.example": "a.example",
        "b.example": "b.example",
        "B.Example": "b.example",
        "x.b.example": "b.example",
        "x.y.b.example": "a.example",
        "deep.b.example": "deep.b.example",
        "unknown.example": "a.example",
    }.items():
        assert found in _handshake(context, client, asked).names, asked


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_versions_suites_and_protocols_are_mozillas_intermediate(tmp_path: Path) -> None:
    settings, files = _settings(tmp_path, ("localhost",))
    context, client = make_context(settings, None), _client(*files)
    client.set_alpn_protocols(["h2", "http/1.1"])
    ends = _handshake(context, client)
    assert ends.client.version() == "TLSv1.3"
    assert ends.client.selected_alpn_protocol() == "http/1.1"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    ends = _handshake(context, client)
    assert ends.client.version() == "TLSv1.2"
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        _handshake(context, client)


@pytest.mark.parametrize(
    "suite",
    [
        "AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "AECDH-AES128-SHA",
    ],
)
def test_suites_that_are_not_in_it_are_refused(suite: str, tmp_path: Path) -> None:
    settings, files = _settings(tmp_path, ("localhost",))
    client = _client(*files)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(f"{suite}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        _handshake(make_context(settings, None), client)


def test_the_clients_order_of_suites_counts(tmp_path: Path) -> None:
    settings, files = _settings(tmp_path, ("localhost",))
    client = _client(*files)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    for first in ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        client.set_ciphers(f"{first}:ECDHE-ECDSA-AES256-GCM-SHA384")
        cipher = _handshake(make_context(settings, None), client).client.cipher()
        assert cipher
        assert cipher[0] == first


def test_clients_certificates_are_asked_for(tmp_path: Path) -> None:
    settings, files = _settings(tmp_path, ("localhost",))
    authority, key = self_signed(tmp_path, "client")
    stranger, strange_key = self_signed(tmp_path, "stranger")
    trusted = read_authorities(authority)

    def subject(asked: Any, *certificate: Path) -> bytes | None:
        client = _client(*files)
        if certificate:
            client.load_cert_chain(certificate[0], certificate[1])
        wanted = TlsSettings(settings.certificates, asked, trusted)
        ends = _handshake(make_context(wanted, None), client)
        return ends.server.getpeercert(binary_form=True)

    assert subject("none", authority, key) is None
    assert subject("optional") is None
    assert subject("optional", authority, key) is not None
    assert subject("required", authority, key) is not None
    for asked, certificate in (("required", ()), ("optional", (stranger, strange_key))):
        with pytest.raises(ssl.SSLError):
            subject(asked, *certificate)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_taken_up_by_another_process_with_the_key(
    version: ssl.TLSVersion, tmp_path: Path
) -> None:
    settings, files = _settings(tmp_path, ("a.example",), ("b.example",))
    key = tickets.new_key()
    client = _client(*files)
    client.maximum_version = version
    for name in ("a.example", "b.example"):
        begun = _handshake(make_context(settings, key), client, name).client.session
        again = _handshake(make_context(settings, key), client, name, begun)
        assert again.client.session_reused, name
        other = _handshake(make_context(settings, tickets.new_key()), client, name, begun)
        assert not other.client.session_reused


def test_sharing_tickets_works_here() -> None:
    assert tickets.why_not_shared() is None


def test_a_key_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="doesn't take the key"):
        tickets.share(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), b"short")
