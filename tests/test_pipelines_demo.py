"""The whole way of the data, as `make demo` runs it: broker, worker, ledger, bills, statement, metrics, checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.checks import run_checks
from pipelines.demo import run_demo
from pipelines.workspace import Workspace
from schemas.errors import BadWorkspace


def test_the_demo_goes_from_events_to_documents_and_every_number_agrees(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "demo"
    result = run_demo(folder, said.append, events=5_000)
    workspace = Workspace.open(folder)
    rows = workspace.ledger().postings.scan().collect()
    usage = rows.filter(rows["event_id"].is_not_null() & (rows["role"] == "revenue"))
    assert usage.select("event_source", "event_id").n_unique() == 5_000
    assert set(rows["role"].unique()) == {"revenue", "share"}
    assert result.invoices.height == 5
    assert {path.suffix for path in workspace.invoices_folder.rglob("INV-*")} == {".pdf", ".csv", ".json"}
    assert all(path.read_bytes().startswith(b"%PDF") for path in workspace.invoices_folder.rglob("*.pdf"))
    assert run_checks(workspace)["agrees"].all()
    assert any("checks agree" in line for line in said)


def test_the_demo_puts_nothing_into_object_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOSS_LEDGER__LOCATION", "s3://acme/ledger")
    with pytest.raises(BadWorkspace, match="Unset BOSS_LEDGER__LOCATION"):
        run_demo(tmp_path / "demo", lambda _: None)
    assert not (tmp_path / "demo").exists()


def test_the_demo_touches_no_folder_but_its_own(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mum.txt").write_text("hello")
    with pytest.raises(BadWorkspace, match="not empty"):
        run_demo(tmp_path / "letters", lambda _: None)
    assert (tmp_path / "letters" / "to-mum.txt").read_text() == "hello"
