"""The glossary names every frame of `schemas/`, in English, TM Forum's words and Chinese."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from schemas.frames import FrameSchema
from schemas.ledger import Role

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in GLOSSARY.splitlines() if line.startswith("| ")]


def frame_names() -> list[str]:
    modules = [importlib.import_module(f"schemas.{path.stem}") for path in sorted((ROOT / "schemas").glob("[a-z]*.py"))]
    return sorted({value.name for module in modules for value in vars(module).values() if isinstance(value, FrameSchema)})


@pytest.mark.parametrize("name", frame_names())
def test_every_frame_is_in_the_glossary(name: str) -> None:
    assert name in {row[0] for row in ROWS}


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_in_the_glossary(role: Role) -> None:
    assert role.value in {row[0] for row in ROWS}


def test_every_row_is_whole() -> None:
    for row in ROWS:
        assert len(row) == 4, row
        assert all(row), row
        assert re.search(r"[一-鿿]", row[2]), row


def test_a_word_stands_once_and_in_order() -> None:
    terms = [row[0] for row in ROWS if not row[0].startswith(("Our word", "Frame"))]
    assert len(terms) == len(set(terms))
    words = [term.lower() for term in terms if not term.isupper() or term in {"ARPA", "MRR"}]
    assert words == sorted(words, key=lambda word: word.replace("_", " "))
