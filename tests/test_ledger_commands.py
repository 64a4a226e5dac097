"""`boss ledger verify` and `boss ledger vacuum`, as a person or a nightly job runs them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import ledger.maintain
from cli import app
from tests.billing_world import NOVEMBER, OCTOBER, Office, minutes_world, used
from tests.ledger_world import change_byte


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path / "acme", minutes_world())
    office.rate(used("a", "100"))
    return office


def run(office: Office, *words: str) -> Result:
    return CliRunner().invoke(app, ["ledger", *words, "--workspace", str(office.workspace.root)])


def test_verify_prints_heads_that_the_next_run_takes(office: Office) -> None:
    first = run(office, "verify", "--format", "json")
    assert first.exit_code == 0, first.output
    heads = [row["head"] for row in json.loads(first.stdout)]
    assert any(head.startswith("postings/1/") for head in heads)
    office.rate(used("b", "7"))
    again = run(office, "verify", *(word for head in heads for word in ("--head", head)))
    assert again.exit_code == 0, again.output
    assert "postings/2/" in again.stdout
    assert run(office, "verify", "--head", "postings/1/" + "0" * 64).exit_code == 1


def test_verify_names_the_changed_file_and_exits_with_1(office: Office) -> None:
    file = Path(office.ledger.postings.files()[0])
    change_byte(file, 40)
    shown = run(office, "verify")
    assert shown.exit_code == 1
    assert file.name in shown.stdout
    (finding,) = json.loads(run(office, "verify", "--format", "json").stdout)
    assert (finding["table"], Path(finding["file"]).name) == ("postings", file.name)


def test_vacuum_lists_and_says_what_it_needs_to_be_told(office: Office) -> None:
    assert run(office, "vacuum").exit_code == 0
    assert run(office, "vacuum", "--delete").exit_code == 0
    refused = run(office, "vacuum", "--keep-days", "30")
    assert refused.exit_code == 1
    assert "--below-audit-window" in refused.output
    assert run(office, "vacuum", "--keep-days", "30", "--below-audit-window").exit_code == 0


def test_compact_sorts_closed_months_once_and_joins_the_small_files_of_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger.maintain, "SMALL_FILES", 3)
    office.rate(used("b", "1", "beta-1"))
    office.bill(OCTOBER)
    for day in ("2026-11-01", "2026-11-02", "2026-11-03", "2026-12-01"):
        office.rate(used(day, "1", day=day))
    before = office.ledger.postings.scan().collect()
    compacted = json.loads(run(office, "compact", "--format", "json").stdout)
    assert compacted == [
        {"table": "postings", "month": "2026-10", "files": 2},
        {"table": "postings", "month": "2026-11", "files": 3},
    ]
    assert office.ledger.postings.scan().collect().sort(pl.all()).equals(before.sort(pl.all()))
    again = run(office, "compact")
    assert (again.exit_code, "Nothing to gain." in again.output) == (0, True)
    assert run(office, "verify").exit_code == 0
    office.bill(NOVEMBER)


def test_compact_of_a_period_rewrites_all_of_it(office: Office) -> None:
    office.rate(used("b", "1", "beta-1"))
    assert "Nothing to gain." in run(office, "compact").output, "two files of a month that is not closed"
    assert "2 files rewritten." in run(office, "compact", "--period", "2026-10").output
    assert "Nothing to gain." in run(office, "compact", "--period", "2026-10").output
