"""docs/LEDGER.md says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.book import open_ledger
from ledger.queries import names
from ledger.table import source_id
from schemas.ledger import POSTINGS

PAGE = (Path(__file__).parents[1] / "docs" / "LEDGER.md").read_text(encoding="utf-8")


def test_every_column_and_every_view_is_on_the_page() -> None:
    for name in [*POSTINGS.names(), *names()]:
        assert f"`{name}`" in PAGE or f"**{name}**" in PAGE, f"docs/LEDGER.md does not tell about {name}"


def test_every_table_is_in_the_picture() -> None:
    picture = PAGE.split("```")[1]
    for name in open_ledger(Path("nowhere")).tables():
        assert f"{name}/" in picture


def test_the_python_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = open_ledger(tmp_path / "ledger").postings
    rows = POSTINGS.build([{"usage_month": "2026-10", "account_id": "acme"}])
    table.append(rows, expected={}, reached={source_id("kafka:usage@1", 0): 0})
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, object] = {}
    exec(example, found)
    assert found["files"] == table.files()
