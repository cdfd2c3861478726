"""HTTPS by the real daemon: what it shows, resumption and reloads."""

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.contract.cases import CASES, Case
from tests.integration.daemon import TWISTD, Daemon, Daemons, exchange, until
from tests.integration.load import Load
from tests.integration.secure import SecureSite, connect
from tests.programs import require
from tests.serve.http.connection import get, parse_chunks, parse_head, parse_responses

QUERY = get("/api/ip_query?ip=1.2.3.4")


@pytest.fixture
def site(tmp_path: Path) -> SecureSite:
    return SecureSite(tmp_path)


def _reload(daemon: Daemon, expect: str = "reloaded; answering") -> None:
    before = len(re.findall(expect, daemon.log))
    daemon.process.send_signal(signal.SIGHUP)
    until(lambda: len(re.findall(expect, daemon.log)) > before)


def _shown(daemon: Daemon, context: ssl.SSLContext, name: str = "localhost") -> str:
    """The certificate in PEM."""
    with connect(daemon, context, name) as client:
        certificate = client.getpeercert(binary_form=True)
        assert certificate
        assert exchange(client, QUERY).status == 200
    return ssl.DER_cert_to_PEM_cert(certificate)


# The contract


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, cached: dict[str, str]
) -> Iterator[tuple[Daemon, ssl.SSLContext]]:
    site = SecureSite(tmp_path_factory.mktemp("shared"))
    (site.folder / "c.toml").write_text(site.config())
    flags = ("--config", "c.toml")
    with Daemon(site.folder, *flags, bind=None, environment=cached) as running:
        yield running.wait_until_up(), site.client()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(shared: tuple[Daemon, ssl.SSLContext], case: Case) -> None:
    with connect(*shared) as client:
        case.verify(exchange(client, case.request))


def test_an_answer_is_not_lost_to_what_the_client_still_sends(
    shared: tuple[Daemon, ssl.SSLContext],
) -> None:
    """Closed with input unread, the kernel would reset the connection."""
    with connect(*shared) as client:
        client.sendall(get("/api/ip_query", "Content-Length: 9999999", method="POST"))
        for _ in range(300):
            client.sendall(bytes(10_000))  # fails on a connection that was reset
        got = b""
        while more := client.recv(65536):
            got += more
    assert [response.status for response in parse_responses(got)] == [413]


def test_curl_and_openssl_are_served(shared: tuple[Daemon, ssl.SSLContext]) -> None:
    url = f"https://127.0.0.1:{shared[0].secure_port}/api/ip_query?ip=1.2.3.4"
    command = [require("curl", "curl"), "-sk", "--http1.1", "-w", "%{http_code}", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert said.startswith('["中国","CN"')
    assert said.endswith("200")


def test_a_batch_is_streamed_as_without_tls(shared: tuple[Daemon, ssl.SSLContext]) -> None:
    """8 MB, read by a client that lags behind: to the byte."""
    daemon, context = shared
    body = b"".join(b"1.2.%d.%d\n" % divmod(number, 256) for number in range(10_000))
    request = get(
        "/v1/batch", "Content-Type: text/plain", f"Content-Length: {len(body)}",
        "Connection: close", method="POST",
    )  # fmt: skip

    def answer(client: socket.socket) -> bytes:
        client.settimeout(30)
        client.sendall(request + body)
        got = bytearray()
        while more := client.recv(1 << 16):
            got += more
        read, rest, ends = parse_chunks(parse_head(bytes(got))[2])
        assert (rest, ends) == (b"", True)
        return read

    with connect(daemon, context) as secure, daemon.connect() as plain:
        assert answer(secure) == (expected := answer(plain))
    assert expected.count(b"\n") == 10_000


# Sessions


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_whichever_worker(
    shared: tuple[Daemon, ssl.SSLContext], version: ssl.TLSVersion
) -> None:
    daemon, context = shared
    assert len(daemon.workers) == 2
    context.minimum_version = context.maximum_version = version
    session = None
    reused = []
    for _ in range(40):
        with connect(daemon, context, session=session) as client:
            # The ticket of TLS 1.3 comes with the answer.
            assert exchange(client, QUERY).status == 200
            reused.append(client.session_reused)
            session = client.session
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert reused == [False] + [True] * 39


def test_nobody_renegotiates(shared: tuple[Daemon, ssl.SSLContext]) -> None:
    address = f"127.0.0.1:{shared[0].secure_port}"
    command = [require("openssl", "openssl"), "s_client", "-connect", address, "-tls1_2"]
    # A line with nothing but R has it ask for a renegotiation.
    done = subprocess.run(command, input=b"R\n", capture_output=True, check=False, timeout=30)
    assert b"RENEGOTIATING" in done.stdout + done.stderr
    assert b"no renegotiation" in done.stderr
    assert exchange(connect(*shared), QUERY).status == 200


def test_too_many_connections_are_told_so(site: SecureSite, daemons: Daemons) -> None:
    config = site.config(http="connections = 5").replace("workers = 2", "workers = 1")
    daemon = daemons.start(bind=None, config=config)
    context = site.client()
    held = [connect(daemon, context) for _ in range(5)]
    for one in held:
        assert exchange(one, QUERY).status == 200, "it is open on that side, too"
    with connect(daemon, context) as more:
        got = b""
        while data := more.recv(65536):
            got += data
    assert [response.status for response in parse_responses(got)] == [503]
    for one in held:
        one.close()


# Certificates


def test_the_certificate_is_chosen_by_name(site: SecureSite, daemons: Daemons) -> None:
    daemon = daemons.start(bind=None, config=site.config())
    context = site.client()
    first, second = site.certificate.read_text(), site.other.read_text()
    assert _shown(daemon, context) == first
    assert _shown(daemon, context, "other.example") == second
    assert _shown(daemon, context, "x.other.example") == second
    assert _shown(daemon, context, "unknown.example") == first
    assert daemon.ask(QUERY).status == 200, "without TLS, on the other port"


@pytest.mark.parametrize("asked", ["optional", "required"])
def test_clients_certificates(site: SecureSite, daemons: Daemons, asked: str) -> None:
    authority, key = self_signed(site.folder, "client")
    stranger, strange_key = self_signed(site.folder, "stranger")
    tls = f"client_certificates = '{asked}'\nclient_ca = '{authority}'"
    daemon = daemons.start(bind=None, config=site.config(tls=tls))

    def status(*certificate: Path) -> int | None:
        context = site.client()
        if certificate:
            context.load_cert_chain(certificate[0], certificate[1])
        try:
            # In TLS 1.3 a client is done before the server has looked at its certificate.
            with connect(daemon, context) as client:
                return exchange(client, QUERY).status
        except (OSError, AssertionError):
            return None

    assert status(authority, key) == 200
    assert status(stranger, strange_key) is None
    assert status() == (200 if asked == "optional" else None)
    assert daemon.log.count("certificate verify failed (said once)") in (1, 2), "by each worker"
    assert "Traceback" not in daemon.log


def test_new_certificates_are_taken_over_under_load(site: SecureSite, daemons: Daemons) -> None:
    daemon = daemons.start(bind=None, config=site.config())
    old, workers = site.client(), daemon.workers
    before = site.certificate.read_text()
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with connect(daemon, old) as kept, Load(daemon.secure_port, tls=trusting) as load:
        load.wait_for(200)
        for _ in range(3):
            self_signed(site.folder, "localhost")
            _reload(daemon)
            load.wait_for(200)
        assert exchange(kept, QUERY).status == 200
    assert load.result.lost == []
    assert set(load.result.statuses) == {200}
    assert daemon.workers == workers, "nobody was replaced"
    assert _shown(daemon, site.client()) == site.certificate.read_text() != before
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(daemon, old)


def test_files_that_cannot_be_used_change_nothing(site: SecureSite, daemons: Daemons) -> None:
    daemon = daemons.start(bind=None, config=site.config())
    context, good = site.client(), site.key.read_bytes()
    refused = "reload refused, the old state keeps serving: .*"

    def complaint() -> str:
        _reload(daemon, refused)
        assert _shown(daemon, context) == site.certificate.read_text()
        return str(re.findall(refused, daemon.log)[-1])

    shutil.copy(site.other_key, site.key)
    assert "localhost.key: not the key of the first certificate in" in complaint()
    site.key.write_bytes(good[:60])
    assert "localhost.key: no private key in PEM" in complaint()
    site.key.unlink()
    assert "localhost.key: can't read this key: No such file" in complaint()
    site.key.write_bytes(good)
    _reload(daemon)
    config = site.folder / "daemon0" / "c.toml"
    config.write_text(config.read_text().replace("[tls]\ncertificates", "# certificates"))
    assert "TLS needs a certificate; name it under [tls]" in complaint()
    assert "Traceback" not in daemon.log


def test_tls_is_switched_on_and_off_by_a_reload(site: SecureSite, daemons: Daemons) -> None:
    secure = site.config()
    begin, _, rest = secure.partition("[tls]")
    plain = begin.replace(', "tls:127.0.0.1:0"', "") + "[http]" + rest.partition("[http]")[2]
    daemon = daemons.start(bind=None, config=plain)
    config = site.folder / "daemon0" / "c.toml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Load(daemon.port) as load:
        load.wait_for(50)
        config.write_text(secure.replace("tls:127.0.0.1:0", f"tls:127.0.0.1:{port}"))
        _reload(daemon)
        with socket.create_connection(("127.0.0.1", port), 10) as raw:
            client = site.client().wrap_socket(raw, server_hostname="localhost")
            assert exchange(client, QUERY).status == 200
        config.write_text(plain)
        _reload(daemon)
        load.wait_for(50)
    assert load.result.lost == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 10)


def _refusal(site: SecureSite, cached: dict[str, str], config: str) -> str:
    """The one line with which it doesn't start."""
    (site.folder / "c.toml").write_text(config)
    done = subprocess.run(
        [str(TWISTD), "-n", "--pidfile=", "ipquery", "--config", "c.toml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=site.folder,
        env={**os.environ, **cached},
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    return line


def test_what_is_wrong_at_start_is_said_in_one_line(
    site: SecureSite, cached: dict[str, str]
) -> None:
    good = site.config()
    without = good.replace("[tls]\ncertificates", "# certificates")
    assert "tls:127.0.0.1:0: TLS needs a certificate" in _refusal(site, cached, without)
    mixed = good.replace(str(site.key), str(site.other_key))
    assert "not the key of the first certificate" in _refusal(site, cached, mixed)


def test_a_certificate_that_has_ended_is_warned_of(site: SecureSite, daemons: Daemons) -> None:
    self_signed(site.folder, "localhost", hours=-1)
    daemon = daemons.start(bind=None, config=site.config())
    assert "localhost.crt: this certificate is valid until" in daemon.log
    assert daemon.ask(QUERY).status == 200


def test_systemd_says_which_socket_has_tls(site: SecureSite, cached: dict[str, str]) -> None:
    (site.folder / "c.toml").write_text(site.config())
    plain, secure = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    # Descriptors 3 and 4, as sd_listen_fds(3) has them, and our process number.
    script = (
        f"exec 3<&{plain.fileno()} 4<&{secure.fileno()}; LISTEN_PID=$$ LISTEN_FDS=2 "
        f'LISTEN_FDNAMES=ipquery.socket:tls exec "$0" "$@"'
    )
    log = site.folder / "systemd.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", script, TWISTD, "-n", "--pidfile=", "ipquery", "--config", "c.toml"],
            cwd=site.folder,
            env={**os.environ, **cached},
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(plain.fileno(), secure.fileno()),
        )
    try:
        until(lambda: "try: curl" in log.read_text(), 30)
        with socket.create_connection(secure.getsockname(), 10) as raw:
            client = site.client().wrap_socket(raw, server_hostname="localhost")
            assert exchange(client, QUERY).status == 200
        with socket.create_connection(plain.getsockname(), 10) as raw:
            assert exchange(raw, QUERY).status == 200
    finally:
        process.terminate()
        process.wait(40)
        plain.close()
        secure.close()
