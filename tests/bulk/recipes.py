"""Recipes: what docs/bulk.md has for each engine, run as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

from ipquery.cli import main
from tests.integration.source import REPOSITORY

PAGES = [(REPOSITORY / "docs" / name).read_text("utf-8") for name in ("bulk.md", "bulk.zh-CN.md")]
"""In each language."""


def blocks(text: str, title: str, language: str) -> list[str]:
    """The code in some language that a section has; ``sh`` is what is indented."""
    section = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    if language == "sh":
        return re.findall(r"^    (ipquery .*)$", section, re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def recipe(title: str, language: str) -> str:
    """The code of a section, the same on all pages."""
    (first,), *others = (blocks(page, title, language) for page in PAGES)
    assert others == [[first]]
    return first


def run_command(title: str) -> str:
    """Run a section's command in the folder that this process is in; what it prints."""
    words = recipe(title, "sh").partition(" > ")[0].split()
    done = CliRunner().invoke(main, words[1:])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def module(title: str, folder: Path) -> ModuleType:
    """The module that a section's Python is."""
    name = f"recipe_{title.lower()}"
    path = folder / f"{name}.py"
    path.write_text(recipe(title, "python"))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    # Where what it defines is looked for by its name.
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made
