"""The stages of a bill run: which rows it looks at does not depend on how they are found."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.bill_stages import prepare_cut, read_reached
from pipelines.warehouse import open_warehouse, run_query
from schemas.ledger import POSITION_KEY, POSTINGS
from schemas.period import Period
from tests.billing_world import DECEMBER, NOVEMBER, OCTOBER, Office, minutes_world, used, with_fee


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """October is final: acme was billed, beta failed. Usage came late, for the month and for a later one."""
    world = with_fee(minutes_world())
    world.accounts[1]["country"] = "KW"
    office = Office(tmp_path / "acme", world)
    office.rate(used("a", "8"), used("b", "16", "beta-1"), used("c", "2", day="2026-11-02"))
    office.bill(OCTOBER)
    office.rate(
        *(used("d", "4"), used("e", "32", "beta-1"), used("f", "64", day="2026-11-05"), used("g", "1", day="2026-12-24")),
        used("h", "128", "beta-1", day="2026-11-07"),
    )
    return office


def unbilled(office: Office, period: Period, *, whole: bool) -> pl.DataFrame:
    book, roster = office.workspace.load()
    with open_warehouse(office.ledger, book, roster) as connection:
        prepare_cut(connection, period, POSTINGS.empty(), read_reached(connection, period), whole=whole)
        columns = ", ".join([*POSTINGS.names(), "late"])
        return run_query(connection, f"select {columns} from unbilled").sort(POSITION_KEY)


@pytest.mark.parametrize("period", [NOVEMBER, DECEMBER])
def test_a_whole_snapshot_is_cut_like_one_of_which_only_a_part_is_looked_at(office: Office, period: Period) -> None:
    rows = unbilled(office, period, whole=True)
    assert rows.equals(unbilled(office, period, whole=False))
    usage = rows.filter(charge="usage", role="revenue")
    found = {"c": False, "d": True, "e": False, "f": False, "b": False, "h": False}
    assert dict(usage.filter(pl.col("event_id") != "g").select("event_id", "late").iter_rows()) == found
    assert ("g" in usage["event_id"]) == (period == DECEMBER)
    assert rows.filter(charge="recurring")["account_id"].unique().to_list() == ["beta"]  # acme's are billed


def test_before_any_run_all_usage_up_to_the_month_is_to_be_billed(tmp_path: Path) -> None:
    office = Office(tmp_path / "new", minutes_world())
    office.rate(used("a", "8"), used("b", "16", "beta-1"), used("c", "2", day="2026-11-02"))
    rows = unbilled(office, OCTOBER, whole=True)
    assert rows.equals(unbilled(office, OCTOBER, whole=False))
    assert rows["event_id"].to_list() == ["a", "b"]
