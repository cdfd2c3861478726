"""What the doctor finds on machines of every kind."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipquery.doctor import Finding, Needs, check
from ipquery.net.limits import open_files_limit

SERVER = Needs(connections=10_000, workers=4)
BENCH = attrs.evolve(SERVER, outgoing=20_000)
CLIENT = Needs(connections=0, outgoing=20_000, listens=False)

# High enough for all three.
HEALTHY = {
    "fs.nr_open": "1048576",
    "fs.file-max": "2465620",
    "fs.file-nr": "1000\t0\t2465620",
    "net.core.somaxconn": "4096",
    "net.core.netdev_max_backlog": "4096",
    "net.ipv4.tcp_max_syn_backlog": "8192",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_migrate_req": "1",
    "net.ipv4.ip_local_port_range": "10240\t65535",
    "net.netfilter.nf_conntrack_max": "262144",
}
GIGABYTE = 1 << 20  # in kB, as meminfo has it


def _machine(
    folder: Path, settings: Mapping[str, str | None] | None = None, memory: int = 16 * GIGABYTE
) -> Path:
    """A /proc with these settings; None for one that isn't there."""
    for name, value in {**HEALTHY, **(settings or {})}.items():
        if value is not None:
            path = folder / "sys" / name.replace(".", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value + "\n")
    (folder / "meminfo").write_text(f"MemTotal:       {memory} kB\nMemFree: 1 kB\n")
    return folder


def _only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize("needs", [SERVER, CLIENT])
def test_a_machine_with_high_settings_has_nothing_to_mend(tmp_path: Path, needs: Needs) -> None:
    assert check(_machine(tmp_path), needs, 65536) == []


@pytest.mark.parametrize(
    ("setting", "found", "mend"),
    [
        ("fs.nr_open", "10063", "sysctl -w fs.nr_open=10064"),
        ("fs.file-max", "41255", "sysctl -w fs.file-max=41256"),
        ("net.core.somaxconn", "128", "sysctl -w net.core.somaxconn=4096"),
        ("net.core.netdev_max_backlog", "300", "sysctl -w net.core.netdev_max_backlog=1000"),
        ("net.ipv4.tcp_syncookies", "0", "sysctl -w net.ipv4.tcp_syncookies=1"),
        (
            "net.netfilter.nf_conntrack_max",
            "65536",
            "sysctl -w net.netfilter.nf_conntrack_max=80000",
        ),
    ],
)
def test_what_is_too_low_for_a_server(tmp_path: Path, setting: str, found: str, mend: str) -> None:
    finding = _only(check(_machine(tmp_path, {setting: found}), SERVER, 65536))
    assert (finding.what, finding.found, finding.mend) == (setting, found, mend)
    assert finding.wanted in mend


def test_that_queues_are_not_moved_is_a_hint(tmp_path: Path) -> None:
    machine = _machine(tmp_path, {"net.ipv4.tcp_migrate_req": "0"})
    finding = _only(check(machine, SERVER, 65536))
    assert finding.is_hint
    assert finding.mend == "sysctl -w net.ipv4.tcp_migrate_req=1"
    assert check(machine, CLIENT, 65536) == []
    assert check(machine, Needs(connections=10), 65536) == [], "one worker has no others"


def test_the_limit_on_open_files_is_of_one_process(tmp_path: Path) -> None:
    machine = _machine(tmp_path)
    assert check(machine, SERVER, 10_064) == []
    finding = _only(check(machine, SERVER, 10_063))
    assert finding.found == "10063"
    assert "LimitNOFILE=10064" in finding.mend
    assert check(machine, SERVER, -1) == [], "that is no limit"
    assert _only(check(machine, CLIENT, 10_064)).wanted == "20064"


def test_a_load_generator_needs_ports(tmp_path: Path) -> None:
    name = "net.ipv4.ip_local_port_range"
    machine = _machine(tmp_path, {name: "40000\t50000"})
    assert check(machine, SERVER, 65536) == [], "who only answers needs none"
    finding = _only(check(machine, CLIENT, 65536))
    assert finding.found == "40000 to 50000, 10001 ports"
    assert finding.mend == f'sysctl -w {name}="10240 65535"'
    more = attrs.evolve(CLIENT, outgoing=60_000)
    assert f'{name}="1024 65535"' in _only(check(machine, more, 65536)).mend
    most = attrs.evolve(CLIENT, outgoing=70_000)
    (_, ports) = check(machine, most, 65536)
    assert "64512: spread the rest over several addresses" in ports.mend


def test_cookies_are_for_production_and_not_for_measuring(tmp_path: Path) -> None:
    cookies = _only(check(_machine(tmp_path), BENCH, 65536))
    assert cookies.wanted == "0 while you measure"
    assert cookies.mend.endswith("# afterwards: net.ipv4.tcp_syncookies=1")
    assert check(_machine(tmp_path, {"net.ipv4.tcp_syncookies": "0"}), BENCH, 65536) == []


def test_the_syn_backlog_counts_only_without_cookies(tmp_path: Path) -> None:
    low = {"net.ipv4.tcp_max_syn_backlog": "256"}
    assert check(_machine(tmp_path, low), SERVER, 65536) == []
    off = _machine(tmp_path, low | {"net.ipv4.tcp_syncookies": "0"})
    assert _only(check(off, BENCH, 65536)).mend == "sysctl -w net.ipv4.tcp_max_syn_backlog=5461"


def test_few_connections_need_little(tmp_path: Path) -> None:
    small = _machine(tmp_path, {"net.core.somaxconn": "128", "fs.nr_open": "1024"}, 1 * GIGABYTE)
    assert check(small, Needs(connections=100), 1024) == []


def test_memory_is_said_roughly(tmp_path: Path) -> None:
    finding = _only(check(_machine(tmp_path, memory=1 * GIGABYTE), SERVER, 65536))
    assert (finding.what, finding.found) == ("memory", "1024 MB")
    assert finding.wanted.startswith("about ")


def test_what_the_machine_does_not_show_is_left_out(tmp_path: Path) -> None:
    assert check(tmp_path, BENCH, 65536) == []
    assert check(_machine(tmp_path, dict.fromkeys(HEALTHY)), SERVER, 65536) == []
    (tmp_path / "meminfo").write_text("nothing known\n")
    assert check(tmp_path, SERVER, 65536) == []


@given(
    needs=st.builds(
        Needs,
        connections=st.integers(0, 100_000),
        workers=st.integers(1, 64),
        outgoing=st.integers(0, 60_000),
        listens=st.booleans(),
    )
)
def test_what_it_prints_mends(needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A machine whose settings are what was asked for has nothing left to mend."""
    low = dict.fromkeys(HEALTHY, "1") | {
        "fs.file-nr": "1 0 1",
        "net.ipv4.ip_local_port_range": "60999 60999",
    }
    folder = tmp_path_factory.mktemp("machine")
    open_files = 1
    mended = dict(low)
    for finding in check(_machine(folder, low, 1 << 40), needs, open_files):
        if match := re.match(r'sysctl -w (\S+)="?([0-9 ]+)"?', finding.mend):
            mended[match[1]] = match[2]
        else:
            open_files = int(finding.wanted)
    assert check(_machine(folder, mended, 1 << 40), needs, open_files) == []


def _doctor(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = Path(sys.executable).parent / "ipquery"
    return subprocess.run(
        [command, "doctor", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_the_command_asks_for_what_is_configured(tmp_path: Path) -> None:
    config = tmp_path / "ipquery.toml"
    config.write_text("workers = 3\n[http]\nconnections = 1000000000\n")
    done = _doctor("--config", config)
    assert done.returncode == 1
    assert "LimitNOFILE=1000000064" in done.stdout
    assert "    sysctl -w fs.nr_open=1000000064\n" in done.stdout
    assert "to mend for workers = 3, http.connections = 1000000000." in done.stdout


def test_the_command_looks_at_this_machine(tmp_path: Path) -> None:
    config = tmp_path / "ipquery.toml"
    config.write_text("workers = 2\n[http]\nconnections = 10\n")
    findings = check(Path("/proc"), Needs(10, workers=2), open_files_limit())
    done = _doctor("--config", config)
    assert done.stderr == ""
    faults = [finding for finding in findings if not finding.is_hint]
    assert done.returncode == bool(faults)
    assert f"{len(faults) or 'Nothing'} to mend" in done.stdout
    for finding in findings:
        assert finding.mend in done.stdout


def test_the_command_refuses_a_bad_configuration_in_one_line(tmp_path: Path) -> None:
    done = _doctor("--config", tmp_path / "missing.toml")
    assert done.returncode == 1
    assert done.stderr.count(os.linesep) == 1
    assert "missing.toml" in done.stderr
