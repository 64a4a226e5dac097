"""Whole bill runs in a folder: what is billed, when, once, and what happens when something goes wrong in between."""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import pipelines.bill_run
from ledger.table import LedgerTable, source_id
from pipelines.bill_draft import BillRun, read_draft
from pipelines.bill_run import finalize, preview, run
from schemas.errors import BrokenPromise, PeriodClosed, Refused
from schemas.ledger import POSTINGS
from tests.billing_world import DECEMBER, NOVEMBER, OCTOBER, Office, minutes_world, used, with_fee
from tests.rating_world import instant, tiers


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "acme", minutes_world())


def outcomes(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("account_id", "outcome").iter_rows())


def test_usage_becomes_a_line_an_invoice_and_a_number(office: Office) -> None:
    office.rate(used("a", "100"), used("b", "33"), used("c", "8", "beta-1"))
    billed = office.bill(OCTOBER)
    assert billed.invoices["invoice_no"].to_list() == ["INV-2026-000001", "INV-2026-000002"]
    first = billed.invoices.row(0, named=True)
    assert (first["net_amount"], first["tax_amount"], first["total_amount"]) == (
        Decimal("16.6300"),
        Decimal("1.0000"),
        Decimal("17.6300"),
    )
    line = office.lines(OCTOBER).row(0, named=True)
    assert (line["quantity"], line["events"], line["exact_amount"]) == (Decimal(133), 2, Decimal("16.625"))


def test_every_account_has_an_outcome(office: Office) -> None:
    office.rate(used("a", "100"))
    assert outcomes(preview(office.workspace, OCTOBER).outcomes) == {"acme": "invoiced", "beta": "nothing_due"}


def test_lines_of_zero_are_billed_without_an_invoice(tmp_path: Path) -> None:
    world = minutes_world()
    world.price_tiers[0]["unit_price"] = Decimal(0)
    office = Office(tmp_path / "free", world)
    office.rate(used("a", "100"))
    billed = office.bill(OCTOBER)
    assert outcomes(billed.outcomes)["acme"] == "nothing_due"
    assert billed.invoices.is_empty()
    assert office.lines(OCTOBER).height == 1
    assert office.bill(NOVEMBER).lines.is_empty()


def test_preview_writes_nothing(office: Office) -> None:
    office.rate(used("a", "100"))
    preview(office.workspace, OCTOBER)
    assert office.files() == {}


def test_running_twice_gives_the_same_bytes_and_says_so(office: Office) -> None:
    office.rate(used("a", "100"), used("b", "8", "beta-1"))
    assert run(office.workspace, OCTOBER).changed
    first = office.files()
    again = run(office.workspace, OCTOBER)
    assert not again.changed
    assert "the same already" in again.message
    assert office.files() == first


def test_finalising_twice_changes_nothing_and_says_so(office: Office) -> None:
    office.rate(used("a", "100"))
    office.bill(OCTOBER)
    files = office.files()
    versions = {name: table.version() for name, table in office.ledger.tables().items()}
    again = finalize(office.workspace, OCTOBER)
    assert not again.changed
    assert "nothing changed" in again.message
    assert again.invoices["invoice_no"].to_list() == ["INV-2026-000001"]
    assert {name: table.version() for name, table in office.ledger.tables().items()} == versions
    assert office.files() == files


def test_documents_that_were_lost_are_made_again_byte_for_byte(office: Office) -> None:
    office.rate(used("a", "100"))
    office.bill(OCTOBER)
    files = office.files()
    for path in office.workspace.invoices_folder.rglob("INV-*"):
        path.unlink()
    finalize(office.workspace, OCTOBER)
    assert office.files() == files


def test_usage_that_lands_between_run_and_finalize_goes_to_the_next_invoice(office: Office) -> None:
    office.rate(used("a", "100"))
    run(office.workspace, OCTOBER)
    office.rate(used("b", "1000"))
    finalize(office.workspace, OCTOBER)
    assert office.lines(OCTOBER)["quantity"].to_list() == [Decimal(100)]
    office.bill(NOVEMBER)
    assert office.lines(NOVEMBER)["quantity"].to_list() == [Decimal(1000)]


def test_late_usage_is_a_line_of_its_own_at_the_tiers_of_its_period(tmp_path: Path) -> None:
    world = minutes_world()
    world.prices[0]["model"] = "graduated"
    world.price_tiers = [
        row | {"price_id": "usage", "price_version": "2026-01-01"} for row in tiers(("100", "1"), (None, "0.5"))
    ]
    office = Office(tmp_path / "late", world)
    office.rate(used("a", "90"))
    office.bill(OCTOBER)
    office.rate(used("late", "20"), used("new", "10", day="2026-11-03"))
    office.bill(NOVEMBER)
    lines = office.lines(NOVEMBER).select("usage_period", "late", "quantity", "net_amount").rows()
    assert [(str(day), late, quantity, net) for day, late, quantity, net in lines] == [
        ("2026-11-01", False, Decimal(10), Decimal(10)),
        ("2026-10-01", True, Decimal(20), Decimal(15)),
    ]


def test_usage_of_a_later_month_waits_for_its_month(office: Office) -> None:
    office.rate(used("next", "8", day="2026-11-02"), used("now", "16"))
    october = office.bill(OCTOBER)
    assert october.lines["quantity"].to_list() == [Decimal(16)]
    assert october.totals["later_amount"].to_list() == [Decimal(1)]
    november = office.bill(NOVEMBER)
    assert november.lines.select("quantity", "late").rows() == [(Decimal(8), False)]


def test_a_subscription_that_ends_early_gets_its_fee_back(tmp_path: Path) -> None:
    office = Office(tmp_path / "early", with_fee(minutes_world()))
    first = office.bill(OCTOBER)
    acme = first.lines.filter(account_id="acme")
    assert acme["net_amount"].to_list() == [Decimal(310), Decimal(310)]
    office.world.subscriptions[0]["active_to"] = instant("2026-11-16")
    office.publish()
    second = office.bill(NOVEMBER)
    assert second.lines.filter(account_id="acme")["net_amount"].to_list() == [Decimal(-155)]
    credit = second.invoices.filter(account_id="acme").row(0, named=True)
    assert credit["total_amount"] == Decimal("-164.3000")
    assert outcomes(second.outcomes)["acme"] == "invoiced"


def test_a_fee_is_posted_once_however_often_the_run_is_repeated(tmp_path: Path) -> None:
    office = Office(tmp_path / "fees", with_fee(minutes_world()))
    for _ in range(2):
        run(office.workspace, OCTOBER)
    for _ in range(2):
        finalize(office.workspace, OCTOBER)
    assert office.ledger.postings.scan().collect().height == 4


def test_an_account_without_a_tax_rate_fails_and_is_billed_when_it_has_one(tmp_path: Path) -> None:
    office = Office(tmp_path / "failed", with_fee(minutes_world()))
    office.world.accounts[1]["country"] = "KW"
    office.publish()
    office.rate(used("a", "8"), used("b", "16", "beta-1"))
    first = office.bill(OCTOBER)
    failed = first.outcomes.filter(account_id="beta").row(0, named=True)
    assert (failed["outcome"], failed["reason"]) == ("failed", "no tax rate for country KW and class standard")
    assert first.invoices["account_id"].to_list() == ["acme"]
    office.rate(used("c", "24", "beta-1"), used("d", "32"))
    office.world.accounts[1]["country"] = "CN"
    office.publish()
    second = office.bill(NOVEMBER)
    beta = office.lines(NOVEMBER, "beta").select("charge", "usage_period", "late", "quantity", "net_amount").rows()
    assert [(charge, str(day), late, quantity, net) for charge, day, late, quantity, net in beta] == [
        ("recurring", "2026-10-01", False, Decimal(31), Decimal(310)),
        ("recurring", "2026-11-01", False, Decimal(30), Decimal(310)),
        ("recurring", "2026-12-01", False, Decimal(31), Decimal(310)),
        ("usage", "2026-10-01", False, Decimal(40), Decimal(5)),
    ]
    assert outcomes(second.outcomes) == {"acme": "invoiced", "beta": "invoiced"}
    assert office.bill(DECEMBER).lines.filter(charge="usage").is_empty()


def test_an_account_that_fails_twice_keeps_all_its_rows(office: Office) -> None:
    office.rate(used("a", "8"))
    office.bill(OCTOBER)
    office.world.accounts[0]["country"] = "KW"
    office.publish()
    office.rate(used("b", "16", day="2026-11-02"))
    assert outcomes(office.bill(NOVEMBER).outcomes)["acme"] == "failed"
    office.rate(used("c", "32", day="2026-12-02"), used("late", "64"))
    assert outcomes(office.bill(DECEMBER).outcomes)["acme"] == "failed"
    office.world.accounts[0]["country"] = "CN"
    office.publish()
    office.bill(DECEMBER.next())
    rows = office.lines(DECEMBER.next()).select("usage_period", "late", "quantity").rows()
    assert [(str(day), late, quantity) for day, late, quantity in rows] == [
        ("2026-11-01", False, Decimal(16)),
        ("2026-12-01", False, Decimal(32)),
        ("2026-10-01", True, Decimal(64)),
    ]


def test_an_account_that_left_the_roster_fails_by_name(office: Office) -> None:
    office.rate(used("a", "8"), used("b", "8", "beta-1"))
    del office.world.accounts[1], office.world.subscriptions[1]
    office.publish()
    computed = preview(office.workspace, OCTOBER)
    assert dict(computed.outcomes.select("account_id", "reason").iter_rows()) == {
        "acme": None,
        "beta": "the account is not in the roster",
    }


def test_two_currencies_on_one_account_fail(office: Office) -> None:
    posted = office.rate(used("a", "8"))
    row = posted.row(0, named=True) | {"currency": "EUR", "price_version": "2025-01-01"}
    office.post([{k: v for k, v in row.items() if not k.startswith("stream")}])
    reasons = preview(office.workspace, OCTOBER).outcomes["reason"].to_list()
    assert reasons == ["charged in two currencies, CNY and EUR", None]


@pytest.mark.parametrize(("currency", "net"), [("JPY", "17"), ("CNY", "16.63"), ("KWD", "16.625")])
def test_lines_are_rounded_to_the_minor_unit_of_their_currency(tmp_path: Path, currency: str, net: str) -> None:
    world = minutes_world()
    world.prices[0]["currency"] = currency
    for account in world.accounts:
        account["currency"] = currency
    office = Office(tmp_path / currency, world)
    office.rate(used("a", "133"))
    assert preview(office.workspace, OCTOBER).lines["net_amount"].to_list() == [Decimal(net)]


def test_totals_show_where_all_revenue_of_the_ledger_is(tmp_path: Path) -> None:
    office = Office(tmp_path / "totals", minutes_world())
    office.rate(used("a", "8"))
    office.bill(OCTOBER)
    office.world.accounts[1]["country"] = "KW"
    office.publish()
    office.rate(used("b", "16"), used("c", "32", "beta-1"), used("d", "64", day="2026-12-24"))
    totals = preview(office.workspace, NOVEMBER).totals.row(0, named=True)
    assert {name: int(totals[name]) for name in totals if name.endswith("_amount")} == {
        "ledger_amount": 15,
        "later_amount": 8,
        "billed_amount": 1,
        "failed_amount": 4,
        "run_amount": 2,
    }
    assert totals["difference"] == 0


def test_lines_that_do_not_agree_with_the_ledger_stop_finalising(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.rate(used("a", "8"))
    run(office.workspace, OCTOBER)

    def tampered(*args: Any) -> BillRun:
        draft = read_draft(*args)
        return replace(draft, lines=draft.lines.with_columns(exact_amount=pl.col("exact_amount") * 2))

    monkeypatch.setattr(pipelines.bill_run, "read_draft", tampered)
    with pytest.raises(BrokenPromise, match="postings_are_billed_once"):
        finalize(office.workspace, OCTOBER)
    assert office.ledger.lines.version() == -1


def test_a_final_period_cannot_be_billed_again_nor_an_earlier_one(office: Office) -> None:
    office.rate(used("a", "8"))
    office.bill(NOVEMBER)
    with pytest.raises(PeriodClosed):
        run(office.workspace, NOVEMBER)
    with pytest.raises(Refused, match="2026-11 is final"):
        preview(office.workspace, OCTOBER)


def test_documents_of_a_final_run_are_written_again_without_its_draft(office: Office) -> None:
    office.rate(used("a", "100"))
    first = office.bill(OCTOBER)
    document = office.workspace.invoices_folder / "2026-10" / "INV-2026-000001.pdf"
    printed = document.read_bytes()
    document.unlink()
    shutil.rmtree(office.workspace.runs_folder / "2026-10")
    again = finalize(office.workspace, OCTOBER)
    assert not again.changed
    assert again.invoices.equals(first.invoices)
    assert document.read_bytes() == printed


def test_finalising_needs_a_draft_that_follows_the_last_final_run(office: Office) -> None:
    with pytest.raises(Refused, match="no draft of period 2026-10"):
        finalize(office.workspace, OCTOBER)
    run(office.workspace, NOVEMBER)
    office.bill(OCTOBER)
    with pytest.raises(Refused, match="older than the final run of 2026-10"):
        finalize(office.workspace, NOVEMBER)


def test_a_damaged_draft_is_refused(office: Office) -> None:
    run(office.workspace, OCTOBER)
    (office.workspace.runs_folder / "2026-10" / "lines.parquet").write_bytes(b"")
    with pytest.raises(Refused, match="not the file the draft was made of"):
        finalize(office.workspace, OCTOBER)


def crash_after(monkeypatch: pytest.MonkeyPatch, survived: int, office: Office) -> None:
    """Finalise October and die at the append after `survived` ones."""
    append = LedgerTable.append
    appended: list[str] = []

    def crashing(table: LedgerTable, *args: Any, **kwargs: Any) -> None:
        if len(appended) == survived:
            raise KeyboardInterrupt
        appended.append(table.path.name)
        append(table, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(LedgerTable, "append", crashing)
        with pytest.raises(KeyboardInterrupt):
            finalize(office.workspace, OCTOBER)


@pytest.mark.parametrize("survived", range(5))
def test_finalising_goes_on_after_a_crash_at_any_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    office = Office(tmp_path / "crash", with_fee(minutes_world()))
    office.rate(used("a", "8"))
    run(office.workspace, OCTOBER)
    crash_after(monkeypatch, survived, office)
    office.rate(used("b", "16"))
    if survived:
        with pytest.raises(Refused, match="Finalising 2026-10 was interrupted"):
            run(office.workspace, OCTOBER)
        with pytest.raises(Refused, match="Finalising 2026-10 was interrupted"):
            run(office.workspace, NOVEMBER)
    assert finalize(office.workspace, OCTOBER).changed
    assert office.ledger.postings.scan().filter(pl.col("stream") == "run:2026-10").collect().height == 4
    assert office.lines(OCTOBER)["net_amount"].to_list() == [310, 310, 1]
    office.bill(NOVEMBER)
    numbers = office.ledger.invoices.scan().collect().sort("invoice_no")["invoice_no"].to_list()
    assert numbers == [f"INV-2026-{number:06d}" for number in range(1, 5)]


def test_another_draft_than_the_interrupted_one_is_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.rate(used("a", "8"))
    run(office.workspace, OCTOBER)
    crash_after(monkeypatch, 1, office)
    for path in (office.workspace.runs_folder / "2026-10").iterdir():
        path.unlink()
    office.rate(used("b", "16"))
    run(office.workspace, OCTOBER)
    with pytest.raises(Refused, match="an interrupted attempt with another draft"):
        finalize(office.workspace, OCTOBER)


def test_rows_of_a_lost_draft_are_noticed(office: Office) -> None:
    row = {"amount": Decimal(1), "usage_month": "2026-10", "charge": "recurring", "stream": "run:2026-10"}
    placed = {"stream_partition": 0, "stream_offset": 0, "stream_row": 0}
    source = source_id("run:2026-10", 0)
    office.ledger.postings.append(POSTINGS.build([row | placed]), expected={source: None}, reached={source: 0})
    with pytest.raises(Refused, match="its draft is gone"):
        run(office.workspace, OCTOBER)


def test_an_empty_ledger_can_be_billed_and_becomes_final(office: Office) -> None:
    billed = office.bill(OCTOBER)
    assert outcomes(billed.outcomes) == {"acme": "nothing_due", "beta": "nothing_due"}
    assert pipelines.bill_run.final_periods(office.ledger) == [OCTOBER]


def test_zero_usage_fees_are_billed_with_the_period(tmp_path: Path) -> None:
    world = minutes_world()
    world.prices[0] |= {"model": "graduated", "flat_at_zero": True}
    world.price_tiers = [row | {"price_id": "usage", "price_version": "2026-01-01"} for row in tiers((None, "0.5", "20"))]
    office = Office(tmp_path / "zero", world)
    office.rate(used("a", "10"))
    billed = office.bill(OCTOBER)
    assert dict(billed.lines.select("account_id", "net_amount").iter_rows()) == {"acme": Decimal(25), "beta": Decimal(20)}
