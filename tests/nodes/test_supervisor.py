"""ipquery under the real supervisord, with the program section that is shipped."""

import configparser
import getpass
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest

from ipquery.config import Config
from tests.integration.daemon import exchange, receive
from tests.nodes.front import CONF
from tests.nodes.node import ANSWER, free_ports, write_database
from tests.serve.http.connection import get, post

SHIPPED = CONF / "supervisor/ipquery.conf"
COMMANDS = Path(sys.executable).parent
QUERY = get("/api/ip_query?ip=1.2.3.4")
SLOW = post(b'{"ip": "1.2.3.4"}')


def test_killing_waits_longer_than_draining() -> None:
    program = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    program.read(SHIPPED)
    patience = program.getint("program:ipquery", "stopwaitsecs")
    assert patience > Config().settings.http.drain_seconds + 5


@attrs.frozen
class Supervised:
    """supervisord with ipquery in it."""

    configuration: Path
    port: int

    def control(self, *words: str) -> str:
        """What supervisorctl says."""
        done = subprocess.run(
            [COMMANDS / "supervisorctl", "-c", self.configuration, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.control("pid", "ipquery"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20)

    def listens(self) -> bool:
        try:
            self.connect().close()
        except ConnectionError:
            return False
        return True

    def answers(self) -> bool:
        try:
            with self.connect() as one:
                return exchange(one, QUERY).body == ANSWER
        except OSError:
            return False

    def wait_until_up(self) -> None:
        deadline = time.monotonic() + 30
        while not self.answers():
            assert time.monotonic() < deadline, self.control("tail", "ipquery")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    folder = tmp_path_factory.mktemp("supervised")
    (port,) = free_ports(1)
    (folder / "ipquery.toml").write_text(
        f'bind = ["127.0.0.1:{port}"]\nworkers = 2\ncache_dir = "cache"\n'
        f'[[database]]\npath = "{write_database(folder / "db.xdb")}"\n'
    )
    program = SHIPPED.read_text()
    for before, after in {
        "/opt/ipquery/bin/": f"{COMMANDS}/",
        "/etc/ipquery/": f"{folder}/",
        "/var/log/ipquery/": f"{folder}/",
        "user=ipquery": f"user={getpass.getuser()}",
        # Soon enough for a test, and still later than it is up.
        "startsecs=3": "startsecs=1",
    }.items():
        assert before in program, before
        program = program.replace(before, after)
    configuration = folder / "supervisord.conf"
    configuration.write_text(
        f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n"
        f"[unix_http_server]\nfile={folder}/control.sock\n"
        f"[supervisorctl]\nserverurl=unix://{folder}/control.sock\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n" + program
    )
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(
            [COMMANDS / "supervisord", "--nodaemon", "-c", configuration],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    one = Supervised(configuration, port)
    try:
        one.wait_until_up()
        yield one
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_stop_start_and_restart(supervised: Supervised) -> None:
    assert supervised.control("stop", "ipquery") == "ipquery: stopped"
    assert not supervised.answers()
    assert supervised.control("start", "ipquery") == "ipquery: started"
    # That it has lived for `startsecs`, which a busy machine may spend on the start.
    supervised.wait_until_up()

    # A restart, while callers on both workers are in the middle of a request.
    before = supervised.pid
    with ExitStack() as stack:
        callers = [stack.enter_context(supervised.connect()) for _ in range(20)]
        for caller in callers:
            # An answer proves that a worker has taken the connection.
            assert exchange(caller, QUERY).body == ANSWER
            caller.sendall(SLOW[:-1])
        restart = subprocess.Popen(
            [COMMANDS / "supervisorctl", "-c", supervised.configuration, "restart", "ipquery"],
            stdout=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 20
        while supervised.listens():
            assert time.monotonic() < deadline
        # It drains, and waits for these.
        for caller in callers:
            caller.sendall(SLOW[-1:])
            assert receive(caller).body == ANSWER
        said, _ = restart.communicate(timeout=60)
    assert said == "ipquery: stopped\nipquery: started\n"
    assert supervised.pid != before
    supervised.wait_until_up()


def test_signals_reach_it(supervised: Supervised) -> None:
    before = supervised.pid
    assert supervised.control("signal", "HUP", "ipquery") == "ipquery: signalled"
    deadline = time.monotonic() + 20
    while "reloaded; answering" not in supervised.control("tail", "-5000", "ipquery"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert supervised.pid == before
    os.kill(before, signal.SIGKILL)
    supervised.wait_until_up()
    deadline = time.monotonic() + 20
    while "RUNNING" not in supervised.control("status", "ipquery"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert supervised.pid != before
