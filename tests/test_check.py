"""``ipquery check`` refuses what a start refuses, in the same words, and nothing else."""

import datetime
import io
import re
import socket
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from twisted.internet.testing import MemoryReactorClock

from ipquery.cli import main
from ipquery.config import ConfigError
from ipquery.data.build import build
from ipquery.data.record import DataError
from ipquery.data.sources import Source
from ipquery.net.sockets import BindError, close_all
from ipquery.tap import Options, make_service
from tests.certificates import self_signed
from tests.data.files import xdb

pytestmark = pytest.mark.usefixtures("builds_here")

GOOD = """
bind = ["127.0.0.1:0", "unix:s", "tls:127.0.0.1:0"]
workers = 2
cache_dir = "CACHE"
[tls]
certificates = [{ chain = "localhost.crt", key = "localhost.key" }]
[codes]
countries = "CACHE/countries.txt"
[access_log]
path = "access.log"
[[fallback]]
url = "https://localhost/{ip}"
headers = { Authorization = "Bearer ${file:token}" }
ca_file = "localhost.crt"
[[database]]
path = "db.xdb"
"""
ROWS = [(0x01000000, 0x01FFFFFF, "中国|0|河南省|商丘市|联通")]


class Machine:
    """A folder with a configuration and all that it names, in order."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.config = folder / "c.toml"
        self._text = GOOD.replace("CACHE", str(cache))
        self.config.write_text(self._text)
        (folder / "db.xdb").write_bytes(xdb(ROWS))
        (folder / "token").write_text("secret")
        self_signed(folder, "localhost")
        self_signed(folder, "other.example")

    def change(self, old: str, new: str) -> None:
        """Write something else into the configuration."""
        assert old in self._text
        self._text = self._text.replace(old, new)
        self.config.write_text(self._text)

    def check(self, *flags: str) -> Result:
        """What the command says."""
        return CliRunner().invoke(main, ["check", "--config", str(self.config), *flags])

    def start(self) -> str | None:
        """Why twistd's service isn't made, if it isn't."""
        options = Options()
        options.parseOptions(["--config", str(self.config)])
        try:
            service = make_service(
                options.load_config, MemoryReactorClock(), io.StringIO(), datetime.date.today
            )
        except (ConfigError, DataError, BindError) as error:
            return str(error)
        close_all(service.state.listeners)
        service.state.held.close()
        return None


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which the snapshot is there from the first test on.

    The list is in it, too: snapshots are named after paths of lists, among other things.
    """
    folder = tmp_path_factory.mktemp("cache")
    (folder / "countries.txt").write_text("中国\tCN\n", "utf-8")
    return folder


@pytest.fixture
def machine(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on which all is well."""
    monkeypatch.chdir(tmp_path)
    return Machine(tmp_path, kept)


def _unknown_key(machine: Machine) -> None:
    machine.change("workers", "worker")


def _no_file(machine: Machine) -> None:
    machine.config.unlink()


def _no_secret(machine: Machine) -> None:
    (machine.folder / "token").unlink()


def _no_certificate(machine: Machine) -> None:
    (machine.folder / "localhost.crt").write_text("nothing")


def _another_key(machine: Machine) -> None:
    machine.change("localhost.key", "other.example.key")


def _no_authorities(machine: Machine) -> None:
    machine.change('ca_file = "localhost.crt"', 'ca_file = "token"')


def _tls_without_certificate(machine: Machine) -> None:
    machine.change('[tls]\ncertificates = [{ chain = "localhost.crt", key = "localhost.key" }]', "")


def _another_machine(machine: Machine) -> None:
    machine.change("127.0.0.1:0", "192.0.2.1:0")
    machine.change(', "tls:192.0.2.1:0"', "")


def _no_folder_for_the_log(machine: Machine) -> None:
    machine.change("access.log", "missing/access.log")


def _no_list(machine: Machine) -> None:
    machine.change("countries.txt", "missing.txt")


def _bad_list(machine: Machine) -> None:
    (machine.folder / "bad.txt").write_text("CN\n")
    machine.change('countries = "', f'countries = "{machine.folder}/bad.txt" # ')


def _no_database(machine: Machine) -> None:
    machine.change('[[database]]\npath = "db.xdb"\n', "")


def _nothing_fetched(machine: Machine) -> None:
    machine.change("db.xdb", "asn-2026")


def _missing_database(machine: Machine) -> None:
    (machine.folder / "db.xdb").unlink()


def _page(machine: Machine) -> None:
    (machine.folder / "db.xdb").write_bytes(b"<html>not found</html>" * 500)


def _empty_archive(machine: Machine) -> None:
    with zipfile.ZipFile(machine.folder / "db.xdb", "w") as archive:
        archive.writestr("README.txt", "nothing")


def _damaged_database(machine: Machine) -> None:
    (machine.folder / "db.xdb").write_bytes(xdb(ROWS)[:-3])


def _another_format(machine: Machine) -> None:
    machine.change('path = "db.xdb"', 'path = "db.xdb"\nformat = "qqwry"')


def _damaged_snapshot(machine: Machine) -> None:
    _give_snapshot(machine)
    whole = (machine.folder / "db.ipq").read_bytes()
    (machine.folder / "db.ipq").write_bytes(whole[:-1] + b"\xff")


def _snapshot_and_database(machine: Machine) -> None:
    _give_snapshot(machine)
    machine.change('path = "db.ipq"', 'path = "db.ipq"\n[[database]]\npath = "db.xdb"')


def _open_cache(machine: Machine) -> None:
    machine.change("cache_dir", 'cache_dir = "open" #')
    (machine.folder / "open").mkdir()
    (machine.folder / "open").chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)


def _no_recipe(machine: Machine) -> None:
    machine.change("[codes]", '[[update]]\nrecipe = "npm:some"\n[codes]')


def _asked_too_often(machine: Machine) -> None:
    machine.change("[codes]", '[[update]]\nrecipe = "asn-2026"\nevery = "1s"\n[codes]')


def _nothing_expected(machine: Machine) -> None:
    machine.change("[codes]", '[[expect]]\nip = "1.2.3.4"\n[codes]')


def _too_much_change(machine: Machine) -> None:
    machine.change("[codes]", "[max_change]\ncountry = 101\n[codes]")


def _no_node(machine: Machine) -> None:
    machine.change("[codes]", '[build]\nsnapshot_from = "10.0.0.11"\n[codes]')


def _damaged_decisions(machine: Machine) -> None:
    machine.change("cache_dir", 'cache_dir = "own" #')
    (machine.folder / "own/snapshots").mkdir(parents=True)
    (machine.folder / "own/snapshots/decisions.json").write_text("{")


def _give_snapshot(machine: Machine) -> None:
    build([Source(machine.folder / "db.xdb")], machine.folder / "db.ipq", lambda what, done: None)
    machine.change('path = "db.xdb"', 'path = "db.ipq"')


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_unknown_key, "c.toml: unknown key worker; did you mean workers?"),
        (_no_file, "c.toml: can't read this configuration: No such file"),
        (_no_secret, "fallback.headers: can't read token: No such file"),
        (_no_certificate, "localhost.crt: no certificate in PEM"),
        (_another_key, "other.example.key: not the key of the first certificate"),
        (_no_authorities, "token: no certificates in PEM"),
        (_tls_without_certificate, "tls:127.0.0.1:0: TLS needs a certificate"),
        (_another_machine, "192.0.2.1:0: not an address of this machine"),
        (_no_folder_for_the_log, "missing/access.log: can't write this access log"),
        (_no_list, "missing.txt: can't read this list of codes: No such file"),
        (_bad_list, "bad.txt: line 1 needs 2 tab-separated columns"),
        (_no_database, "no database configured; "),
        (_nothing_fetched, "asn-2026: not in "),
        (_missing_database, "db.xdb: can't read this database: No such file"),
        (_page, "db.xdb: not a database ipquery can read: it is a web page"),
        (_empty_archive, "db.xdb: the archive holds no database"),
        (_damaged_database, "the file is cut short"),
        (_another_format, "db.xdb: "),
        (_damaged_snapshot, "db.ipq: the snapshot is damaged"),
        (_snapshot_and_database, "a snapshot can't be combined with other sources"),
        (_no_recipe, "c.toml: update.recipe: npm:some: not a file in a package; give"),
        (_asked_too_often, "c.toml: update.every must be 1m or more"),
        (_nothing_expected, "c.toml: [[expect]] 1.2.3.4: say what is expected"),
        (_too_much_change, "c.toml: max_change.country must be from 0 to 100"),
        (_no_node, "c.toml: build.snapshot_from: 10.0.0.11 is no node"),
        (_damaged_decisions, "decisions.json: not what ipquery wrote; remove it"),
        (_open_cache, "open: others may write to this cache folder"),
    ],
)
def test_each_fault_is_one_line_that_a_start_would_say(
    machine: Machine, spoil: object, complaint: str
) -> None:
    spoil(machine)  # type: ignore[operator] # pytest's lists have no types
    said = machine.check()
    assert said.exit_code == 1
    (line,) = said.stdout.splitlines()
    assert complaint in line
    assert machine.start() == line


def _as_it_is(machine: Machine) -> None:
    pass


def _archived(machine: Machine) -> None:
    with zipfile.ZipFile(machine.folder / "db.zip", "w") as archive:
        archive.write(machine.folder / "db.xdb", "db.xdb")
    machine.change("db.xdb", "db.zip")


def _two_databases(machine: Machine) -> None:
    (machine.folder / "more.csv").write_text("2.0.0.0,2.255.255.255,GB\n")
    machine.change('path = "db.xdb"', 'path = "db.xdb"\n[[database]]\npath = "more.csv"')


@pytest.mark.parametrize(
    ("prepare", "formats"),
    [
        (_as_it_is, "db.xdb (xdb)"),
        (_give_snapshot, "db.ipq (snapshot)"),
        (_archived, "db.zip (xdb)"),
        (_two_databases, "db.xdb (xdb), more.csv (csv)"),
    ],
)
def test_what_it_accepts_a_start_accepts(machine: Machine, prepare: object, formats: str) -> None:
    prepare(machine)  # type: ignore[operator] # pytest's lists have no types
    said = machine.check()
    assert said.exit_code == 0, said.output
    assert re.fullmatch(
        rf"ok: 127\.0\.0\.1:0, unix:s, tls:127\.0\.0\.1:0; workers = 2; {re.escape(formats)}; "
        r"[0-9a-f]{32}\.ipq\n",
        said.stdout,
    )
    assert machine.start() is None


def test_all_faults_are_said_at_once(machine: Machine) -> None:
    _tls_without_certificate(machine)
    _no_folder_for_the_log(machine)
    _bad_list(machine)
    machine.change('path = "db.xdb"', 'path = "db.xdb"\n[[database]]\npath = "gone.xdb"')
    (machine.folder / "db.xdb").write_bytes(b"")
    lines = machine.check().stdout.splitlines()
    for line, complaint in zip(
        lines,
        (
            "TLS needs a certificate",
            "can't write this access log",
            "bad.txt: line 1 ",
            "the file is empty",
            "gone.xdb: can't read this database",
        ),
        strict=True,
    ):
        assert complaint in line
    assert machine.start() in lines


def test_it_leaves_nothing_but_the_snapshot(machine: Machine, kept: Path) -> None:
    before = sorted(machine.folder.iterdir())
    machine.check()
    assert sorted(machine.folder.iterdir()) == [machine.folder / "access.log", *before]
    assert sorted(path.name for path in kept.iterdir()) == ["countries.txt", "snapshots"]


def test_quick_does_not_read_databases(machine: Machine, tmp_path: Path) -> None:
    machine.change("cache_dir", 'cache_dir = "none" #')
    said = machine.check("--quick")
    assert said.exit_code == 0
    assert said.stdout.endswith("; db.xdb (xdb); recognised, not read\n")
    assert not (machine.folder / "none").exists()
    _page(machine)
    assert machine.check("--quick").exit_code == 1


@pytest.fixture(params=["tcp", "unix"])
def busy(request: pytest.FixtureRequest, machine: Machine) -> Iterator[str]:
    """An address at which somebody listens."""
    if request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as listening:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("busy")
            listening.listen()
            yield "unix:busy"


def test_an_address_of_the_running_daemon_is_no_problem(machine: Machine, busy: str) -> None:
    machine.change('"127.0.0.1:0"', f'"{busy}"')
    said = machine.check()
    assert said.exit_code == 0
    assert f"Note: {busy}: in use now; unless by the daemon, a start would be" in said.stderr
    refused = machine.start()
    assert refused is not None
    assert "already in use" in refused


def test_what_is_amiss_but_no_problem_is_a_note(machine: Machine) -> None:
    self_signed(machine.folder, "localhost", hours=-1)
    machine.change("access.log", "-")
    said = machine.check()
    assert said.exit_code == 0
    assert "Note: the access log goes to standard output: start `twistd -n`" in said.stderr
    assert "localhost.crt: this certificate is valid until" in said.stderr


def test_nothing_in_a_line_moves_the_cursor(machine: Machine) -> None:
    machine.change("db.xdb", "a\\u001b[2J.xdb")
    said = machine.check()
    assert r"\x1b[2J" in said.stdout
    assert "\x1b" not in said.stdout
