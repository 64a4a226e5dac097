"""The invoice of a customer who has paid in advance: what the balance has paid is taken off, once, whatever comes when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli import app
from invoicing.queries import load_check, load_query
from pipelines.bill_run import preview
from pipelines.rerate import rerate
from pipelines.warehouse import add_ledger_views, open_warehouse
from schemas.billing import INVOICES, OUTCOMES
from schemas.money import round_money
from schemas.period import Period
from tests.billing_world import DECEMBER, NOVEMBER, OCTOBER
from tests.examples import examples
from tests.prepaid_office import PrepaidOffice, prepaid_world, topup, usage
from tests.rating_world import instant, tiers

MONTHS = [OCTOBER, NOVEMBER, DECEMBER]


def test_what_the_balance_has_paid_is_taken_off_and_the_rest_is_due(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world("1", fee="10"), tax="0.06")
    office.send(topup("t", amount="500"), usage("a", 100), usage("b", 40, subject="beta-1"))
    billed = office.bill(OCTOBER)
    # 100 of usage, fees of October and November, and 6 % of all; the balance has paid the usage, before tax
    assert office.amounts(OCTOBER) == ("127.20", "100.00", "27.20")
    assert office.amounts(OCTOBER, "beta") == ("63.60", "0.00", "63.60")
    told = {row["account_id"]: row for row in billed.outcomes.iter_rows(named=True)}
    assert (told["acme"]["total_amount"], told["acme"]["due_amount"]) == (Decimal("127.20"), Decimal("27.20"))
    assert (told["acme"]["taken_amount"], told["beta"]["taken_amount"]) == (100, 0)
    assert office.disagreeing() == []


def test_an_invoice_that_the_balance_has_paid_in_full_is_there_and_says_nothing_is_due(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world())
    office.send(topup("t", amount="500"), usage("a", 100))
    office.bill(OCTOBER)
    assert office.amounts(OCTOBER) == ("100.00", "100.00", "0.00")
    assert (office.workspace.invoices_folder / "2026-10" / "INV-2026-000001.pdf").is_file()


def test_what_went_below_zero_is_paid_on_the_invoice_and_owed_by_the_balance(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world())
    office.send(topup("t", amount="30"), usage("a", 100))
    office.bill(OCTOBER)
    assert office.amounts(OCTOBER) == ("100.00", "100.00", "0.00")
    assert journal(office) == {"unbilled_receivable": Decimal(0), "customer_deposits": Decimal(70)}
    office.send(topup("u", "2026-11-02", amount="70"))
    assert journal(office)["customer_deposits"] == 0


def journal(office: PrepaidOffice) -> dict[str, Decimal]:
    """Debits less credits of the two accounts that settle prepaid usage."""
    book, roster = office.workspace.load()
    with open_warehouse(office.ledger, book, roster) as connection:
        add_ledger_views(connection)
        return {
            account: connection.sql(
                f"""select coalesce(sum(case when debit_account = '{account}' then amount else 0 end), 0)
                - coalesce(sum(case when credit_account = '{account}' then amount else 0 end), 0) as left_over
                from journal where account_id = 'acme'"""
            ).fetchall()[0][0]
            for account in ("unbilled_receivable", "customer_deposits")
        }


def test_what_is_receivable_in_the_journal_is_the_amount_due_before_tax(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world("1", fee="10"), tax="0.06")
    office.send(topup("t", amount="500"), usage("a", 100))
    office.bill(OCTOBER)
    row = office.invoice(OCTOBER)
    assert journal(office)["unbilled_receivable"] == row["due_amount"] - row["tax_amount"] == 20


def test_units_that_covered_usage_are_no_money(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world())
    office.send(
        topup("t", amount="500"),
        topup("u", bucket="gift", meter="usage", quantity=60, priority=1),
        usage("a", 100),
    )
    office.bill(OCTOBER)
    assert office.amounts(OCTOBER) == ("40.00", "40.00", "0.00")
    assert office.disagreeing() == []


def test_late_usage_and_retractions_are_taken_off_by_the_run_that_bills_them(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world())
    office.send(topup("t", amount="500"), usage("a", 100), usage("next", 7, "2026-11-02"))
    office.bill(OCTOBER)
    office.send(usage("late", 30))
    office.send(usage("void", 100, "2026-11-20", retracts="a"))
    assert office.disagreeing() == []
    office.bill(NOVEMBER)
    assert office.amounts(OCTOBER) == ("100.00", "100.00", "0.00")
    assert office.amounts(NOVEMBER) == ("-63.00", "-63.00", "0.00")  # 7 and 30 used, 100 given back
    assert office.disagreeing() == []


def test_a_rerating_gives_back_on_the_next_invoice(tmp_path: Path) -> None:
    world = prepaid_world()
    office = PrepaidOffice(tmp_path / "shop", world)
    office.send(topup("t", amount="500"), usage("a", 100))
    office.bill(OCTOBER)
    cheaper = {"price_version": "2026-10-10", "valid_from": instant("2026-10-10")}
    world.prices[0]["valid_to"] = instant("2026-10-10")
    world.price("usage", tiers((None, "0.75")), own=False, **cheaper)
    office.publish()
    rerate(office.workspace, "usage", date(2026, 10, 10), date(2026, 11, 1), post=True)
    office.bill(NOVEMBER)
    assert office.amounts(NOVEMBER) == ("-25.00", "-25.00", "0.00")
    assert office.disagreeing() == []


def test_deductions_of_a_failed_account_wait_for_the_run_that_bills_it(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world(tax_class="strange"))
    office.send(topup("t", amount="500"), usage("a", 100))
    failed = office.bill(OCTOBER).outcomes.filter(account_id="acme").row(0, named=True)
    assert (failed["outcome"], failed["due_amount"], failed["taken_amount"]) == ("failed", None, None)
    assert office.disagreeing() == []
    office.taxes["strange"] = "0"
    office.publish()
    office.send(usage("b", 5, "2026-11-05"))
    office.bill(NOVEMBER)
    assert office.amounts(NOVEMBER) == ("105.00", "105.00", "0.00")
    assert office.disagreeing() == []


def test_an_account_that_does_not_pay_in_advance_any_more_is_given_back_what_its_balance_paid(tmp_path: Path) -> None:
    world = prepaid_world()
    office = PrepaidOffice(tmp_path / "shop", world)
    office.send(topup("t", amount="500"), usage("a", 100))
    office.bill(OCTOBER)
    world.accounts[0]["charging"] = "postpaid"
    office.publish()
    office.send(usage("b", 30, "2026-11-05"), usage("void", 100, "2026-11-20", retracts="a"))
    office.bill(NOVEMBER)
    assert office.amounts(NOVEMBER) == ("-70.00", "-100.00", "30.00")
    assert office.disagreeing() == []


def test_cents_that_rounding_leaves_wait_for_the_next_invoice(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world("0.004"))
    office.send(topup("t", amount="5"), usage("a", 1), usage("b", 1, "2026-11-05"), usage("c", 1, "2026-12-05"))
    billed = [office.bill(month) for month in MONTHS]
    # 0.004 each month: nothing, then 0.008 in all, then 0.012; every line is 0.00
    assert [run.invoices.filter(account_id="acme").height for run in billed] == [0, 1, 0]
    assert office.amounts(NOVEMBER) == ("0.00", "0.01", "-0.01")
    assert office.disagreeing() == []


def test_a_deduction_that_a_run_did_not_take_off_is_found(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world())
    office.send(topup("t", amount="500"), usage("a", 100))
    office.bill(OCTOBER)
    ledger = office.ledger.postings
    odd = ledger.scan().filter(charge="deduct").collect()
    forged = odd.with_columns(stream_row=pl.lit(9, pl.Int32))
    ledger.append(forged, expected={}, reached={"file:forged/0": 0})
    assert "balances: taken by usage = taken off by runs + still to be billed" in office.disagreeing()
    assert "balances: taken by usage = taken off by the run, exact" in office.disagreeing()


def test_preview_and_explain_say_what_was_paid(tmp_path: Path) -> None:
    office = PrepaidOffice(tmp_path / "shop", prepaid_world(fee="10"))
    office.send(topup("t", amount="500"), usage("a", 100))
    assert preview(office.workspace, OCTOBER).invoices.filter(account_id="acme")["due_amount"].to_list() == [Decimal(20)]
    office.bill(OCTOBER)
    shown = CliRunner().invoke(app, ["explain", "INV-2026-000001"], env={"BOSS_WORKSPACE": str(office.workspace.root)})
    assert shown.exit_code == 0, shown.output
    steps = [line.split("  ")[0].strip() for line in shown.stdout.splitlines()]
    assert "paid from the balance" in steps
    assert "due" in steps


STORIES = st.lists(
    st.tuples(
        st.sampled_from(["use", "use", "use", "topup", "units", "void", "close"]),
        st.integers(1, 400),
        st.integers(0, 2),  # month
    ),
    min_size=2,
    max_size=12,
)


# Whole bill runs are slow, so a story that fails is told as it is and not shortened.
@examples(2, phases=[Phase.explicit, Phase.generate])
@given(story=STORIES, model=st.sampled_from(["graduated", "volume"]))
def test_the_invoices_of_any_story_say_what_was_taken_rounded_once(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, int, int]], model: str
) -> None:
    steps = tiers(("20", "0.0335"), ("200", "0.0051"), (None, "0.0007"))
    office = PrepaidOffice(tmp_path_factory.mktemp("story") / "shop", prepaid_world(steps=steps, model=model), tax="0.06")
    closed = 0
    open_uses: list[tuple[str, int, int]] = []
    for number, (what, size, month) in enumerate(story):
        day = f"2026-{10 + month}-15"
        if what == "use":
            open_uses.append((f"e{number}", size, month))
            office.send(usage(f"e{number}", size, day))
        elif what == "void" and open_uses:
            name, units, at = open_uses.pop(size % len(open_uses))
            office.send(usage(f"v{number}", units, f"2026-{10 + at}-20", retracts=name))
        elif what == "topup":
            office.send(topup(f"t{number}", day, amount=f"{size}.005"))
        elif what == "units":
            office.send(topup(f"u{number}", day, bucket="gift", meter="usage", quantity=size, priority=1))
        elif what == "close" and closed < len(MONTHS):
            office.bill(MONTHS[closed])
            closed += 1
    for period in [*MONTHS[closed:], Period(2027, 1)]:  # what came after the last close is billed in January
        office.bill(period)
    rows = office.ledger.invoices.scan().filter(account_id="acme").collect()
    assert all(row["due_amount"] + row["paid_amount"] == row["total_amount"] for row in rows.iter_rows(named=True))
    assert sum(rows["paid_amount"].to_list(), Decimal(0)) == round_money(office.taken(), "CNY")
    assert office.disagreeing() == []


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as opened:
        yield opened


def currencies(*names: str) -> pl.DataFrame:
    digits = {"CNY": 2, "JPY": 0, "KWD": 3}
    rows = [(name, Decimal(10 ** digits[name]), Decimal(1).scaleb(-digits[name])) for name in names]
    schema: dict[str, pl.DataType] = {"currency": pl.String(), "factor": pl.Decimal(5, 0), "unit": pl.Decimal(5, 4)}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("taken", "paid", "due", "wrong"),
    [
        ("0.004", "0.00", "10", False),  # with 0.40 JPY in the month before, which is no whole yen
        ("0.006", "0.01", "9.99", False),
        ("-0.006", "-0.01", "10.01", False),
        ("0.004", "0.01", "9.99", True),  # more than was taken
        ("0.006", "0.00", "10", True),  # less
        ("0.006", "0.01", "10", True),  # said and not taken off
    ],
)
def test_an_invoice_that_does_not_take_off_what_was_taken_is_found(
    connection: duckdb.DuckDBPyConnection, taken: str, paid: str, due: str, wrong: bool
) -> None:
    now: dict[str, Any] = {"account_id": "acme", "currency": "CNY", "outcome": "invoiced"}
    before = {"account_id": "acme", "currency": "JPY", "period": "2026-10", "outcome": "invoiced"}
    amounts = {"total_amount": Decimal(10), "paid_amount": Decimal(paid), "due_amount": Decimal(due)}
    payment = [("acme", "CNY", Decimal(taken), Decimal(paid))]
    columns: dict[str, pl.DataType] = {"account_id": pl.String(), "currency": pl.String()}
    columns |= {"taken_amount": pl.Decimal(38, 18), "paid_amount": pl.Decimal(38, 4)}
    connection.register("currencies", currencies("CNY", "JPY"))
    connection.register("runs", pl.DataFrame({"period": ["2026-10"]}))
    connection.register("outcomes", OUTCOMES.build([before | {"taken_amount": Decimal("0.4")}]))
    connection.register("invoices", INVOICES.build([before | {"paid_amount": Decimal(0)}]))
    connection.register("balance_payments", pl.DataFrame(payment, schema=columns, orient="row"))
    connection.register("draft_outcomes", OUTCOMES.build([now | {"taken_amount": Decimal(taken)}]))
    connection.register("draft_invoices", INVOICES.build([now | amounts]))
    found = connection.execute(load_check("invoices_take_off_payments"), {"period": "2026-11"}).fetchall()
    assert [row[0] for row in found] == (["acme"] if wrong else [])


RUNS = st.lists(st.decimals(min_value=-50, max_value=50, places=4), min_size=1, max_size=8)


@examples(20)
@given(taken=RUNS, currency=st.sampled_from(["CNY", "JPY", "KWD"]))
def test_over_any_runs_the_paid_amounts_add_up_to_the_rounded_sum(
    connection: duckdb.DuckDBPyConnection, taken: list[Decimal], currency: str
) -> None:
    connection.register("currencies", currencies(currency))
    connection.register("failures", pl.DataFrame(schema={"account_id": pl.String}))
    invoices: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for number, amount in enumerate(taken):
        period = str(Period(2026, 1).plus(number))
        named: dict[str, Any] = {"account_id": "acme", "currency": currency}
        row = named | {"role": "balance", "charge": "deduct", "amount": -amount}
        unbilled = pl.DataFrame([row], schema_overrides={"amount": pl.Decimal(38, 18)})
        connection.register("unbilled", unbilled)
        connection.register("runs", pl.DataFrame({"period": [row["period"] for row in outcomes]}, schema={"period": pl.String}))
        connection.register("outcomes", OUTCOMES.build(outcomes))
        connection.register("invoices", INVOICES.build(invoices))
        found = connection.execute(load_query("balance_payments"), {"period": period}).fetchall()
        assert [line[:3] for line in found] == [("acme", currency, amount)]
        outcomes.append(named | {"period": period, "outcome": "invoiced", "taken_amount": amount})
        invoices.append(named | {"period": period, "paid_amount": found[0][3]})
        assert sum(row["paid_amount"] for row in invoices) == round_money(sum(taken[: number + 1], Decimal(0)), currency)
