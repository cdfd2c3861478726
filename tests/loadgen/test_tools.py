"""The files and commands for other load tools."""

import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import loadgen.tools
from loadgen.tools.__main__ import read_tsung
from loadgen.tools.s_time import read_s_time

FOLDER = Path(loadgen.tools.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_the_documented_command_fills_in_the_whole_tsung_file() -> None:
    (command,) = re.findall(r"\| tsung \| `(sed [^|]*tsung\.xml)", README)
    done = subprocess.run(
        ["sh", "-c", command], cwd=FOLDER, capture_output=True, text=True, check=True
    )
    # Its comment, where they are explained, isn't an element.
    found = ET.tostring(ET.fromstring(done.stdout), encoding="unicode")
    assert "@" not in found
    assert 'maxnumber="64"' in found


def test_the_jmeter_file_takes_what_its_command_gives() -> None:
    (command,) = re.findall(r"`(jmeter [^`]*)`", README)
    plan = (FOLDER / "look_up.jmx").read_text()
    ET.fromstring(plan)
    given = set(re.findall(r"-J(\w+)=", command))
    assert given == set(re.findall(r"\$\{__P\((\w+),", plan))


def test_every_tool_of_the_table_has_its_file() -> None:
    files = set(re.findall(r"\b\w+\.(?:lua|json|jmx|py|xml)\b", README))
    assert len(files) >= 4
    assert all((FOLDER / name).exists() for name in files)


def test_errors_of_tsung_are_counted() -> None:
    log = """# stats: dump at 1795486925
stats: users 59 59
stats: request 107759 0.9158 0.6067 4.972 0.069 0 0
stats: 200 107700 107700
stats: 501 59 59
# stats: dump at 1795486928
stats: request 37286 1.0098 0.6715 4.972 0.069 0.9158 107759
stats: 200 37000 144700
stats: 503 200 200
stats: error_connect_econnrefused 3 3
stats: error_abort 1 1
"""
    found = read_tsung(log, 12)
    assert found.rate == (144700 + 59 + 200) / 12
    assert found.errors == 200 + 3


def test_connections_of_s_time_are_counted_if_all_had_an_answer() -> None:
    line = "1567 connections in 3 real seconds, 143 bytes read per connection\n"
    before = "1567 connections in 1.25s; 1253.60 connections/user sec, bytes read 224081\n"
    assert read_s_time(before + line) == 1567
    assert read_s_time(before + line.replace("143", "0")) is None
    assert read_s_time("Collecting connection statistics for 3 seconds\nERROR\n") is None
