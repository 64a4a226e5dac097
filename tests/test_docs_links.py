"""The documents lead somewhere: links resolve, and every `boss` and `make` command that is named exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def commands() -> set[str]:
    """Every command as it is typed: 'rate', 'bill run'."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    found = set(group.commands)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found |= {f"{name} {inner}" for inner in command.commands}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (document.parent / target).exists(), target


def headings(page: Path) -> set[str]:
    """What a link may name behind the #: each heading of a page, as Git hosts write it."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_to_headings_that_exist(document: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#([^)]+)\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            page = document.parent / target if target else document
            assert heading in headings(page), f"{target}#{heading}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_commands_that_are_named_exist(document: Path) -> None:
    known = commands()
    for line in re.findall(r"`boss ([a-z]+(?: [a-z]+)?)", document.read_text(encoding="utf-8")):
        assert line in known or line.split()[0] in known, f"boss {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_tests_that_are_named_exist(document: Path) -> None:
    for name in re.findall(r"`(tests/[\w/]+\.py)", document.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


def test_the_readmes_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) <= set(targets)
    assert set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)) == {"demo", "test"}
