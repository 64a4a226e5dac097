"""Calls that are split by the clock, through the whole house: rated, taken back, replayed, re-rated, billed, explained."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import orjson

from pipelines.explain import explain
from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.rerate import rerate
from pipelines.whatif import compare_draft
from schemas.usage import RawBatch
from tests.corrections_world import OCTOBER, RECEIVED_MS, Shop

BOOK = """\
meters:
  - {id: talk, event_type: talk.ended, aggregation: sum, property: seconds, unit: second, lasts: second, dimensions: [to]}
calendars:
  - id: office
    windows:
      - {name: peak, days: mon-fri, from: "08:00", to: "20:00", holidays: exclude}
    otherwise: off
    holidays: {country: CN, years: 2026, working_days: true}
plans:
  - id: talk
    kind: addon
    name: Talk
    currency: CNY
    prices:
      - id: talk.peak
        name: Peak
        meter: talk
        during: {calendar: office, windows: peak, split: true}
        versions:
          - {valid_from: 2026-01-01, model: rated_time, connect_fee: 5, tiers: [{unit_price: 2, per: 60, increment: 60}]}
      - id: talk.off
        name: Off
        meter: talk
        during: {calendar: office, windows: off, split: true}
        versions:
          - {valid_from: 2026-01-01, model: rated_time, connect_fee: 3, tiers: [{unit_price: 1, per: 60, increment: 60}]}
"""
LATER = """
          - {valid_from: 2026-10-01, model: rated_time, connect_fee: 5, tiers: [{unit_price: 4, per: 60, increment: 60}]}
"""
ROSTER = "subscriptions:\n  - {id: lantian-talk, account: lantian, plan: talk, from: 2026-01-01}\n"


def call(name: str, time: str, seconds: int, **more: object) -> bytes:
    event: dict[str, object] = {"specversion": "1.0", "id": name, "source": "/talk", "type": "talk.ended"}
    data = {"seconds": seconds, "to": "86,10=x"}
    return orjson.dumps(event | {"subject": "lantian-talk", "time": f"2026-10-{time}+08:00", "data": data} | more)


CALLS = [
    call("before", "15T07:58:30", 200),  # off 7:58:30, 7:59:30; peak from 8:00:30: 2 minutes begun
    call("holiday", "01T09:00:00", 60),
    call("worked", "10T09:00:00", 61),
    call("long", "16T19:00:00", 2 * 86_400),  # a Friday evening: 1 hour of peak, then the weekend
]
COSTS = {"before": (4, 5), "holiday": (0, 4), "worked": (9, 0), "long": (125, 47 * 60)}
"""What each costs at peak and off it."""


def opened(root: Path) -> Shop:
    shop = Shop(root / "shop", publish=False)
    (shop.workspace.root / "catalog" / "talk.yaml").write_text(BOOK)
    (shop.workspace.root / "roster" / "talk.yaml").write_text(ROSTER)
    shop.workspace.publish()
    return shop


def costs(shop: Shop) -> tuple[Decimal, Decimal]:
    return shop.total(price_id="talk.peak", role="revenue"), shop.total(price_id="talk.off", role="revenue")


def test_calls_split_by_the_clock_keep_every_promise_of_the_ledger(tmp_path: Path) -> None:
    shop = opened(tmp_path)
    shop.rate(CALLS[:2])
    shop.rate(CALLS[2:])
    assert [*costs(shop)] == [sum(cost[side] for cost in COSTS.values()) for side in (0, 1)]
    assert shop.rate(CALLS).duplicates == len(CALLS)
    back = call("void", "20T12:00:00", 0, retracts="before")
    assert (shop.rate([back]).postings, shop.rate([back, CALLS[0]]).duplicates) == (2, 2)
    left = (Decimal(134), Decimal(2824))
    assert costs(shop) == left
    raw = RawBatch("sent", 0, range(len(CALLS)), CALLS, [RECEIVED_MS] * len(CALLS))
    for again in (replay_posted(shop.workspace, OCTOBER), replay_batches(shop.workspace, OCTOBER, [raw])):
        assert again.agrees, again.differences
    assert compare_draft(shop.workspace, OCTOBER, *shop.workspace.read_sources()).customers["difference"].sum() == 0

    peak = "connect_fee: 5, tiers: [{unit_price: 2, per: 60, increment: 60}]}\n"
    shop.edit("catalog/talk.yaml", peak, peak + LATER.lstrip("\n"))
    draft = compare_draft(shop.workspace, OCTOBER, *shop.workspace.read_sources())
    assert draft.customers["difference"].sum() == Decimal(124)  # 62 minutes of peak cost 2 more
    rerate(shop.workspace, "talk.peak", date(2026, 10, 1), date(2026, 11, 1), post=True)
    assert costs(shop) == (left[0] + 124, left[1])
    assert not rerate(shop.workspace, "talk.peak", date(2026, 10, 1), date(2026, 11, 1), post=True).rows
    assert replay_posted(shop.workspace, OCTOBER).agrees
    assert shop.disagreeing() == []

    shop.bill(OCTOBER)
    lines = shop.ledger.lines.scan().filter(account_id="lantian", price_id="talk.peak").collect()
    assert lines["exact_amount"].sum() == left[0] + 124
    number = shop.ledger.invoices.scan().filter(account_id="lantian").collect()["invoice_no"][0]
    told = explain(shop.workspace, number, int(lines.filter(price_version="2026-10-01")["line"][0]))
    rows = told.postings.select("event_id", "windows", "quantity", "reported", "amount").rows()
    assert rows == [("worked", "peak", 61, None, 13), ("long", "peak", 3600, 172_800, 245)]
    assert told.terms.select("calendar_id", "windows", "split").rows() == [("office", ["peak"], True)]


def test_a_draft_that_leaves_a_window_out_lists_what_it_cannot_charge(tmp_path: Path) -> None:
    shop = opened(tmp_path)
    shop.rate(CALLS)
    path = shop.workspace.root / "catalog" / "talk.yaml"
    path.write_text(BOOK[: BOOK.index("      - id: talk.off")])
    draft = compare_draft(shop.workspace, OCTOBER, *shop.workspace.read_sources())
    assert draft.unpriced.select("reason", "events").rows() == [("no_price", 3)]


def test_a_draft_without_the_calendar_rates_whole_calls(tmp_path: Path) -> None:
    shop = opened(tmp_path)
    shop.rate(CALLS)
    path = shop.workspace.root / "catalog" / "talk.yaml"
    peak = BOOK[: BOOK.index("      - id: talk.off")]
    whole = peak.replace("        during: {calendar: office, windows: peak, split: true}\n", "")
    path.write_text(whole)
    draft = compare_draft(shop.workspace, OCTOBER, *shop.workspace.read_sources())
    after = sum(5 + 2 * minutes for minutes in (4, 1, 2, 2880))
    before = sum(sum(cost) for cost in COSTS.values())
    assert draft.customers["difference"].sum() == after - before
