"""What limits make, from the ledger to the invoice: months in a row, late usage, documents, explanation, checks."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from pipelines.bill_run import finalize, preview, run
from pipelines.checks import run_checks
from pipelines.explain import explain
from tests.billing_world import DECEMBER, NOVEMBER, OCTOBER, Office, minutes_world, used
from tests.rating_world import World, instant

Line = tuple[str, str, str, bool, Decimal]


def lines(office: Office, period: object, account: str = "acme") -> list[Line]:
    """charge, name, usage period, late, net of the final lines."""
    rows = office.lines(period, account).select("charge", "name_en", "usage_period", "late", "net_amount").rows()  # type: ignore[arg-type]
    return [(charge, name, f"{day:%Y-%m}", late, net.normalize()) for charge, name, day, late, net in rows]


def assert_checked(office: Office) -> None:
    checked = run_checks(office.workspace)
    assert checked.filter(agrees=False).is_empty()


def floored_world() -> World:
    world = minutes_world()
    world.prices[0] |= {"floor": Decimal(100), "floor_prorated": True}
    return world


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path / "floor", floored_world())


def test_a_floor_is_a_line_of_its_own_and_late_usage_takes_it_back(office: Office) -> None:
    office.rate(used("a", "400"), used("b", "960", "beta-1"))
    office.bill(OCTOBER)
    assert lines(office, OCTOBER) == [
        ("usage", "Minutes", "2026-10", False, Decimal(50)),
        ("floor", "Minutes: minimum", "2026-10", False, Decimal(50)),
    ]
    assert [line[0] for line in lines(office, OCTOBER, "beta")] == ["usage"]
    office.rate(used("late", "80"))
    office.bill(NOVEMBER)
    assert lines(office, NOVEMBER) == [
        ("usage", "Minutes", "2026-10", True, Decimal(10)),
        ("floor", "Minutes: minimum", "2026-11", False, Decimal("1E+2")),
        ("floor", "Minutes: minimum", "2026-10", True, Decimal(-10)),
    ]
    office.bill(DECEMBER)
    assert_checked(office)


def test_running_and_finalising_again_adds_nothing(office: Office) -> None:
    office.rate(used("a", "400"))
    assert run(office.workspace, OCTOBER).changed
    assert not run(office.workspace, OCTOBER).changed
    finalize(office.workspace, OCTOBER)
    version = office.ledger.postings.version()
    assert not finalize(office.workspace, OCTOBER).changed
    assert office.ledger.postings.version() == version


def test_a_preview_shows_the_line_and_writes_nothing(office: Office) -> None:
    office.rate(used("a", "400"))
    told = preview(office.workspace, OCTOBER)
    assert told.lines.filter(charge="floor", account_id="acme")["net_amount"].to_list() == [Decimal(50)]
    assert office.files() == {}


def test_documents_name_the_line_in_the_language_of_the_account(office: Office) -> None:
    office.rate(used("a", "400"), used("b", "8", "beta-1"))
    office.bill(OCTOBER)
    folder = office.workspace.invoices_folder / "2026-10"
    names = [
        [line["name"] for line in json.loads((folder / f"INV-2026-00000{number}.json").read_text())["lines"]]
        for number in (1, 2)
    ]
    assert names == [["Minutes", "Minutes: minimum"], ["会议时长", "会议时长：最低消费补足"]]
    assert (folder / "INV-2026-000001.pdf").stat().st_size > 1000


def test_a_floor_is_explained_by_what_was_agreed_and_what_counted(office: Office) -> None:
    office.rate(used("a", "400"))
    office.bill(OCTOBER)
    office.rate(used("late", "80"))
    office.bill(NOVEMBER)
    first = explain(office.workspace, "INV-2026-000001", 2)
    assert first.limit.select("amount", "unit").rows() == [
        (Decimal(100), "CNY"),
        (Decimal(50), "CNY"),
        (Decimal(50), "CNY"),
        (Decimal(0), "CNY"),
        (Decimal(50), "CNY"),
    ]
    assert "What was agreed and what counted" in [title for title, _ in first.sections()]
    late = explain(office.workspace, "INV-2026-000003", 3)
    assert late.limit["amount"].to_list() == [Decimal(100), Decimal(60), Decimal(40), Decimal(50), Decimal(-10)]


def agreed(world: World) -> World:
    """Acme: 100 free minutes a month that are kept for one more, 60 committed over October and November, at most 80 a month."""
    world.account("cato").subscription("acme-2", "acme")
    pool = {"units": Decimal(100), "covers": ["usage"], "roll_over_periods": 1, "name_en": "Free", "name_zh": "赠送"}
    world.limit("pool", "free", account_id="acme", **pool)
    term = {"over": "term", "valid_from": instant("2026-10-01"), "valid_to": instant("2026-12-01")}
    names = {"name_en": "Contract", "name_zh": "合同"}
    world.limit("commitment", "contract", account_id="acme", amount=Decimal(60), **names, **term)
    return world.limit("cap", "most", account_id="acme", amount=Decimal(80), name_en="Spend limit", name_zh="上限")


def test_pool_contract_and_cap_of_an_account_over_three_months_with_late_usage(tmp_path: Path) -> None:
    office = Office(tmp_path / "agreed", agreed(minutes_world()))
    office.rate(used("a", "40"), used("b", "8", "beta-1"))
    office.bill(OCTOBER)
    assert lines(office, OCTOBER) == [
        ("usage", "Minutes", "2026-10", False, Decimal(5)),
        ("pool", "Free: Minutes", "2026-10", False, Decimal(-5)),
    ]
    office.rate(used("c", "200", day="2026-11-10"), used("d", "80", "acme-2", day="2026-11-10"))
    office.bill(NOVEMBER)
    assert lines(office, NOVEMBER) == [
        ("usage", "Minutes", "2026-11", False, Decimal(25)),
        ("usage", "Minutes", "2026-11", False, Decimal(10)),
        ("pool", "Free: Minutes", "2026-11", False, Decimal(-20)),  # 100 and the 60 that October left
        ("commitment", "Contract: not used", "2026-11", False, Decimal(45)),
    ]
    office.rate(used("late", "60"), used("e", "900", day="2026-12-10"))
    office.bill(DECEMBER)
    assert lines(office, DECEMBER) == [
        ("usage", "Minutes", "2026-12", False, Decimal("112.5")),
        ("usage", "Minutes", "2026-10", True, Decimal("7.5")),
        ("pool", "Free: Minutes", "2026-12", False, Decimal("-12.5")),
        ("pool", "Free: Minutes", "2026-10", True, Decimal("-7.5")),
        ("pool", "Free: Minutes", "2026-11", True, Decimal("7.5")),  # October used them, so they were not there any more
        ("commitment", "Contract: not used", "2026-11", True, Decimal("-7.5")),
        ("cap", "Spend limit: beyond the limit", "2026-12", False, Decimal(-20)),
    ]
    assert_checked(office)
    assert office.bill(DECEMBER.next()).lines.is_empty()


def test_pool_and_contract_are_explained_in_units_and_money(tmp_path: Path) -> None:
    office = Office(tmp_path / "agreed", agreed(minutes_world()))
    office.rate(used("a", "40"))
    office.bill(OCTOBER)
    office.rate(used("c", "200", day="2026-11-10"))
    office.bill(NOVEMBER)
    number = office.ledger.invoices.scan().filter(account_id="acme").collect().sort("period")["invoice_no"].to_list()
    pool, contract = (explain(office.workspace, number[-1], line).limit.rows() for line in (2, 3))
    assert pool == [
        ("in the pool, with what was kept from before", Decimal(160), "minutes"),
        ("covered of this price", Decimal(160), "minutes"),
        ("due for it now", Decimal(-20), "CNY"),
        ("posted by earlier runs", Decimal(0), "CNY"),
        ("this line", Decimal(-20), "CNY"),
    ]
    assert [amount for _, amount, _ in contract] == [Decimal(60), Decimal(5), Decimal(55), Decimal(0), Decimal(55)]


def test_what_a_limit_gave_is_taken_back_when_it_is_withdrawn_and_the_line_says_so(tmp_path: Path) -> None:
    office = Office(tmp_path / "agreed", minutes_world().limit("commitment", account_id="acme", amount=Decimal(60)))
    office.bill(OCTOBER)
    office.world.own_limits.clear()
    office.publish()
    billed = office.bill(NOVEMBER)
    assert [(charge, net) for charge, _, _, _, net in lines(office, NOVEMBER)] == [("commitment", Decimal(-60))]
    told = explain(office.workspace, str(billed.invoices["invoice_no"][0]), 1)
    assert told.limit["amount"].to_list() == [Decimal(0), Decimal(60), Decimal(-60)]
    assert_checked(office)


def test_a_customer_who_could_not_be_billed_gets_its_limits_with_the_next_run(tmp_path: Path) -> None:
    office = Office(tmp_path / "failed", floored_world())
    office.world.accounts[1]["country"] = "KW"
    office.publish()
    office.rate(used("b", "80", "beta-1"))
    assert office.bill(OCTOBER).outcomes.filter(account_id="beta")["outcome"].to_list() == ["failed"]
    office.rate(used("late", "80", "beta-1"))
    office.world.accounts[1]["country"] = "CN"
    office.publish()
    office.bill(NOVEMBER)
    found = [(charge, month, net) for charge, _, month, _, net in lines(office, NOVEMBER, "beta")]
    assert found == [
        ("usage", "2026-10", Decimal(20)),
        ("floor", "2026-10", Decimal(80)),
        ("floor", "2026-11", Decimal("1E+2")),
    ]
    assert_checked(office)


def test_partners_have_their_share_of_usage_only(tmp_path: Path) -> None:
    world = floored_world().share("usage", "0.5")
    world.accounts[0]["partner_id"] = "agent"
    office = Office(tmp_path / "shared", world)
    office.rate(used("a", "80"))
    office.bill(OCTOBER)
    shares = office.ledger.postings.scan().filter(role="share").collect()
    assert shares.select("charge", "amount").rows() == [("usage", Decimal(5))]
    assert_checked(office)
