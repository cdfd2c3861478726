"""Certificates of clients: told by their subjects."""

from pathlib import Path

import pytest
from cryptography import x509
from twisted.internet.interfaces import ISSLTransport
from zope.interface import implementer

from ipquery.errors import ConfigError
from ipquery.serve.guard.settings import GuardSettings
from ipquery.serve.http.channel import Channel
from tests.certificates import self_signed
from tests.serve.http.connection import PEER, MemoryTransport, Server, get

GUARD = GuardSettings(subjects=("CN=other", "CN=billing"))
TARGET = "/api/ip_query?ip=1.2.3.4"


@implementer(ISSLTransport)
class SecureTransport(MemoryTransport):
    """One over TLS, whose client has shown a certificate, or none."""

    def __init__(self, channel: Channel, certificate: x509.Certificate | None) -> None:
        super().__init__(channel, PEER)
        self._certificate = certificate

    def getPeerCertificate(self) -> x509.Certificate | None:
        return self._certificate


def _certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(self_signed(folder, name)[0].read_bytes())


def _status(server: Server, certificate: x509.Certificate | None, target: str) -> set[bytes]:
    channel = server.site.buildProtocol(PEER)
    transport = SecureTransport(channel, certificate)
    channel.makeConnection(transport)
    found = set()
    for _ in range(4):
        transport.sent = b""
        channel.dataReceived(get(target))
        found.add(transport.sent.split(b" ")[1])
    return found


@pytest.mark.parametrize("express", [True, False])
def test_those_with_a_subject_that_is_named_are_answered(tmp_path: Path, express: bool) -> None:
    server = Server(express=express, guard=GUARD)
    good, bad = _certificate(tmp_path, "billing"), _certificate(tmp_path, "billing2")
    for target in (TARGET, "/v1/ip/1.2.3.4", "/"):
        assert _status(server, good, target) == {b"200"}
        assert _status(server, bad, target) == {b"403"}
        assert _status(server, None, target) == {b"403"}
        assert server.connect().ask(get(target)).status == 403, "without TLS"
    assert _status(server, None, "/healthz") == {b"200"}
    counted = {(name, labels) for name, labels, _ in server.counts.take()}
    assert ("ipquery_limits_hit", ("subjects",)) in counted


def test_nothing_is_answered_before_the_certificate_is_known() -> None:
    assert Server(guard=GUARD).site.answer_first(get(TARGET), ("192.0.2.7", 4711)) is None


def test_subjects_may_be_written_in_several_ways() -> None:
    GuardSettings(subjects=("CN=a,O=b", "2.5.4.3=a", r"CN=a\, b"))
    with pytest.raises(ConfigError, match="guard.subjects: /CN=x: not a subject as RFC 4514"):
        GuardSettings(subjects=("/CN=x",))
