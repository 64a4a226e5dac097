"""The ledger as analysts see it: one SELECT per file in `sql/`, each meant to become a view of the file's name."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


def names() -> list[str]:
    """The views, in alphabetical order. Each reads the table `postings` and no other view."""
    return sorted(path.stem for path in _FOLDER.glob("*.sql"))


def text(name: str) -> str:
    """The SELECT of one view."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def check_text(name: str) -> str:
    """A query of `sql/checks/` that returns two numbers which must be equal, as `left` and `right`."""
    return (_FOLDER / "checks" / f"{name}.sql").read_text(encoding="utf-8")
