"""Price models that look at more than one number, through the whole house: rated, taken back, replayed, re-rated, what-if."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest

from pipelines.explain import explain
from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.rerate import rerate
from pipelines.whatif import compare_draft
from schemas.usage import RawBatch
from tests.corrections_world import OCTOBER, RECEIVED_MS, Shop

Used = tuple[str, str, dict[str, object], int]
"""Id, type, data and day of October of an event."""


class Case(NamedTuple):
    """One price, events, and what they cost."""

    meters: str
    price: str  # meter and terms from January
    later: str  # terms from the 1st of October, published when October has been rated
    events: list[Used]
    total: Decimal
    taken_back: str  # the id of an event
    total_without: Decimal
    total_later: Decimal  # of what is left


CASES = {
    "dynamic": Case(
        "{id: jobs, event_type: job.done, aggregation: sum, property: hours, money: cost, unit: hour, scale: 2}",
        "meter: jobs, versions: [{valid_from: 2026-01-01, model: dynamic, takes: amount, maximum: 500}",
        "model: dynamic, takes: unit_price",
        [
            ("a", "job.done", {"hours": "2.5", "cost": "4.02"}, 3),
            ("b", "job.done", {"hours": "1", "cost": "1e-07"}, 5),
            ("c", "job.done", {"hours": "0", "cost": "40.2"}, 9),
            ("d", "job.done", {"hours": "4", "cost": "600"}, 9),
        ],
        Decimal("504.0200001"),
        "d",
        Decimal("4.0200001"),
        Decimal("10.0500001"),
    ),
}


CASES["capacity"] = Case(
    "{id: rooms, event_type: room.sampled, aggregation: max, property: n, unit: room}\n"
    "  - {id: seats, event_type: seat.sampled, aggregation: max, property: n, unit: seat}",
    "meters: [rooms, seats], versions: [{valid_from: 2026-01-01, model: capacity, tiers: ["
    "{limits: {rooms: 10, seats: 100}, flat: 1}, {limits: {rooms: 20, seats: 200}, flat: 10}, {flat: 100}]}",
    "model: capacity, tiers: [{limits: {rooms: 9, seats: 100}, flat: 3}, {flat: 30}]",
    [
        ("a", "room.sampled", {"n": 9}, 3),
        ("b", "seat.sampled", {"n": 150}, 5),
        ("c", "room.sampled", {"n": 21}, 9),
        ("d", "seat.sampled", {"n": 100}, 9),
    ],
    Decimal(100),
    "c",
    Decimal(10),
    Decimal(30),
)


CASES["level"] = Case(
    "{id: places, event_type: place.changed, aggregation: average_of_changes, property: n, unit: seat, scale: 6}",
    "meter: places, versions: [{valid_from: 2026-01-01, model: graduated, per: level, tiers: ["
    "{up_to: 2, unit_price: 31}, {unit_price: 15.5, flat: 100}]}",
    "model: volume, per: level, tiers: [{up_to: 2, unit_price: 31, flat: 1}, {unit_price: 15.5, flat: 200}]",
    [
        ("a", "place.changed", {"n": 2}, 11),  # at noon: 20.5 days are left
        ("b", "place.changed", {"n": 3}, 21),  # 10.5
        ("c", "place.changed", {"n": -1}, 22),  # 9.5
        ("d", "place.changed", {"n": -1}, 26),  # 5.5
    ],
    Decimal("41") + Decimal("100") + Decimal("15.75") - Decimal("4.75") - Decimal("2.75"),
    "b",
    Decimal("41") - Decimal("9.5") - Decimal("5.5"),
    Decimal("27"),
)


def message(name: str, kind: str, data: dict[str, object], day: int, **more: object) -> bytes:
    event: dict[str, object] = {"specversion": "1.0", "id": name, "source": "/extra", "type": kind, "subject": "lantian-extra"}
    return orjson.dumps(event | {"time": f"2026-10-{day:02}T12:00:00+08:00", "data": data} | more)


def opened(root: Path, case: Case) -> Shop:
    """The template with an add-on that has the price, held by lantian."""
    shop = Shop(root / "shop", publish=False)
    folder = shop.workspace.root
    write_catalog(shop, case)
    (folder / "roster" / "extra.yaml").write_text(
        "subscriptions:\n  - {id: lantian-extra, account: lantian, plan: extra, from: 2026-01-01}\n"
    )
    shop.workspace.publish()
    return shop


def write_catalog(shop: Shop, case: Case, *later: str) -> None:
    """The meters and the add-on, with these versions of the price behind the first."""
    versions = ", ".join([case.price, *later])
    plan = f"{{id: extra, kind: addon, name: Extra, currency: CNY, prices: [{{id: extra.price, name: Extra, {versions}]}}]}}"
    text = f"meters:\n  - {case.meters}\nplans:\n  - {plan}\n"
    (shop.workspace.root / "catalog" / "extra.yaml").write_text(text)


@pytest.mark.parametrize("name", CASES)
def test_a_model_keeps_every_promise_of_the_ledger(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    shop = opened(tmp_path, case)
    sent = [message(*used) for used in case.events]
    shop.rate(sent[:2])
    shop.rate(sent[2:])
    assert shop.total(price_id="extra.price", role="revenue") == case.total
    back = message("void", case.events[0][1], {}, 20, retracts=case.taken_back)
    assert (shop.rate([back]).postings, shop.rate([back, sent[0]]).duplicates) == (1, 2)
    assert shop.total(price_id="extra.price", role="revenue") == case.total_without
    for said_again in (
        replay_posted(shop.workspace, OCTOBER),
        replay_batches(shop.workspace, OCTOBER, [RawBatch("sent", 0, range(len(sent)), sent, [RECEIVED_MS] * len(sent))]),
    ):
        assert said_again.agrees, said_again.differences
    book, roster = shop.workspace.read_sources()
    assert compare_draft(shop.workspace, OCTOBER, book, roster).customers["difference"].sum() == 0

    write_catalog(shop, case, f"{{valid_from: 2026-10-01, {case.later}}}")
    shop.workspace.publish()
    draft = compare_draft(shop.workspace, OCTOBER, *shop.workspace.read_sources())
    assert round(case.total_later - case.total_without, 2) == draft.customers["difference"].sum()
    rerate(shop.workspace, "extra.price", date(2026, 10, 1), date(2026, 11, 1), post=True)
    assert shop.total(price_id="extra.price", role="revenue") == case.total_later
    assert not rerate(shop.workspace, "extra.price", date(2026, 10, 1), date(2026, 11, 1), post=True).rows
    assert replay_posted(shop.workspace, OCTOBER).agrees
    assert shop.disagreeing() == []

    shop.bill(OCTOBER)
    lines = shop.ledger.lines.scan().filter(account_id="lantian", price_id="extra.price").collect()
    assert lines["exact_amount"].sum() == case.total_later
    number = shop.ledger.invoices.scan().filter(account_id="lantian").collect()["invoice_no"][0]
    assert explain(shop.workspace, number, int(lines["line"][0])).postings.height > 0
