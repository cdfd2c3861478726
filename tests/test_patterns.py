"""Regular expressions that every Python 3.11 understands alike."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser
from typing import Any

import pytest

import ipquery
import loadgen


def patterns() -> Iterator[Any]:
    """Those that the modules keep, each with its name."""
    for package in (ipquery, loadgen):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            # Commands and what has extras of its own aren't imported here.
            if found.name.endswith(".__main__") or found.name == "ipquery.spark":
                continue
            if found.name.startswith("loadgen."):
                continue
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield pytest.param(value, id=f"{found.name}.{name}")


def parts(parsed: Any) -> Iterator[tuple[Any, Any]]:
    """All operations of a parsed pattern, the ones inside others, too."""
    if isinstance(parsed, _parser.SubPattern):
        for operation in parsed:
            yield operation
            yield from parts(operation[1])
    elif isinstance(parsed, (tuple, list)):
        for part in parsed:
            yield from parts(part)


@pytest.mark.parametrize("pattern", list(patterns()))
def test_possessive_quantifiers_stand_behind_single_characters(pattern: re.Pattern[Any]) -> None:
    """Before 3.11.5, a possessive quantifier behind a group may match less than it should
    (CPython's issue 106052). Debian 12 has 3.11.2."""
    for operation, argument in parts(_parser.parse(pattern.pattern, pattern.flags)):
        assert operation is not _constants.ATOMIC_GROUP
        if operation is _constants.POSSESSIVE_REPEAT:
            repeated = argument[2]
            assert len(repeated) == 1
            assert repeated[0][0] in {_constants.LITERAL, _constants.NOT_LITERAL, _constants.IN}


@pytest.mark.parametrize("text", ["(?:ab|c)*+", "(?:ab?c)++", "(?>ab)", "(?:x(?:ab)*+)"])
def test_others_are_noticed(text: str) -> None:
    with pytest.raises(AssertionError):
        test_possessive_quantifiers_stand_behind_single_characters(re.compile(text))
