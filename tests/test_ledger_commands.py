"""`boss ledger verify` and `boss ledger vacuum`, as a person or a nightly job runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import app
from tests.billing_world import Office, minutes_world, used
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
