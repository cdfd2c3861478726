"""Imports between the rooms of loadgen point one way."""

import ast
from pathlib import Path

import pytest

import loadgen

FOLDER = Path(loadgen.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "send": set(),
    "peers": set(),
    "report": {"send"},
    "measure": {"send", "peers", "report"},
    "cli": {"send", "peers", "report", "measure"},
    "tools": {"send", "peers", "report"},
    "bench": {"send", "peers", "report", "tools", "cli"},
}


def _imported(room: str) -> set[str]:
    """The rooms that the modules of a room import from."""
    names: list[str] = []
    for path in (FOLDER / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "loadgen"} - {room}


def test_every_room_is_known() -> None:
    rooms = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_from_those_below_only(room: str) -> None:
    assert _imported(room) <= MAY_IMPORT[room]
