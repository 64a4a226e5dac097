"""A session is granted what can be paid for, and all sessions together never more than there is."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.balance.quote import Ask, Quotes
from rating.counters import Counters
from schemas.balance import OrderType
from schemas.ledger import POSITION_KEY
from tests.balance_world import buckets, order, prepaid, rebuilt, state, topup, used
from tests.examples import examples
from tests.rating_world import Desk, Row, World, event, instant, one_price, tiers

VECTORS = json.loads((Path(__file__).parent / "vectors" / "prepaid" / "cgrates_prepaid.json").read_text())
Case = dict[str, Any]


def ask(event_id: str, session: str, quantity: int | str, at: str = "2026-10-15", *, seconds: int = 600, **more: Any) -> Row:
    kind = more.pop("kind", OrderType.REQUEST)
    data = {"session": session, "meter": "usage", "quantity": str(quantity), "seconds": seconds} | more
    return order(kind, event_id, at, subject="acme-1", **data)


def update(event_id: str, session: str, quantity: int | str, at: str = "2026-10-15", **more: Any) -> Row:
    return ask(event_id, session, quantity, at, kind=OrderType.UPDATE, **more)


def release(event_id: str, session: str, at: str = "2026-10-15") -> Row:
    return order(OrderType.RELEASE, event_id, at, session=session)


def ended(event_id: str, session: str, quantity: str, at: str = "2026-10-15") -> Row:
    """The usage that ends a session."""
    return event(event_id, {"value": quantity, "session": session}, occurred_at=instant(at))


def answers(desk: Desk) -> dict[str, tuple[str, str | None]]:
    """Per event of a reservation what was granted, and why not more."""
    rows = desk.postings.filter(role="notice")
    facts = [(name, json.loads(text)) for name, text in rows.select("event_id", "dimensions").iter_rows()]
    return {name: (fact["granted"], fact.get("reason")) for name, fact in facts if "granted" in fact}


def held(desk: Desk) -> Decimal:
    return sum(desk.postings.filter(role="hold")["amount"].to_list(), Decimal(0))


def test_a_session_gets_what_is_left_when_others_have_what_they_were_granted() -> None:
    desk = Desk(prepaid("0.5").terms())
    desk.rate(topup("t", "10"), ask("a", "s1", 12), ask("b", "s2", 12), ask("c", "s3", 1))
    assert answers(desk) == {"a": ("12", None), "b": ("8", "INSUFFICIENT_CREDIT"), "c": ("0", "INSUFFICIENT_CREDIT")}
    assert held(desk) == 10


def test_usage_that_names_its_session_frees_what_it_had_and_is_paid() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", "10"), ask("a", "s1", 8), ended("u", "s1", "5"), ask("b", "s2", 9))
    assert answers(desk)["b"] == ("5", "INSUFFICIENT_CREDIT")
    assert buckets(desk) == {"main": "5"}
    assert held(desk) == 5


def test_a_session_that_is_over_no_longer_counts_and_time_is_that_of_events() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", "10"), ask("a", "s1", 10, "2026-10-15T10:00", seconds=60))
    desk.rate(ask("b", "s2", 5, "2026-10-15T10:00:59"), ask("c", "s3", 5, "2026-10-15T10:01:00"))
    assert answers(desk) == {"a": ("10", None), "b": ("0", "INSUFFICIENT_CREDIT"), "c": ("5", None)}
    assert desk.postings.filter(charge="expire")["price_id"].to_list() == ["s1"]
    desk.rate(release("d", "s1", "2026-10-15T10:02"))
    assert desk.reasons == ["unknown_reservation"]


def test_an_update_asks_for_all_that_has_not_come_as_usage_and_replaces_what_was_held() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", "10"), ask("a", "s", 4), update("b", "s", 7), update("c", "s", 99))
    assert answers(desk) == {"a": ("4", None), "b": ("7", None), "c": ("10", "INSUFFICIENT_CREDIT")}
    desk.rate(update("d", "s", 99, least="50"))
    assert answers(desk)["d"] == ("0", "INSUFFICIENT_CREDIT")
    assert held(desk) == 10, "what was granted before stays reserved"
    desk.rate(release("e", "s"), update("f", "s", 1), ask("g", "t", 1), ask("h", "t", 1))
    assert desk.reasons == ["unknown_reservation", "unknown_reservation"]
    assert held(desk) == 1


def test_units_are_granted_before_money_and_only_once() -> None:
    desk = Desk(prepaid("2").terms())
    desk.rate(topup("t", "10"), topup("p", bucket="pack", meter="usage", quantity="6"))
    desk.rate(ask("a", "s1", 5), ask("b", "s2", 5), ask("c", "s3", 5))
    assert [granted for granted, _ in answers(desk).values()] == ["5", "5", "1"]
    assert desk.postings.filter(role="hold")["quantity_quanta"].to_list() == [5, 1, 0]


def test_a_bucket_that_ends_before_the_session_is_no_credit() -> None:
    desk = Desk(prepaid().terms())
    desk.rate(topup("t", "10", bucket="week", valid_to="2026-10-15T01:00:00Z"))
    desk.rate(ask("a", "s1", 5, seconds=3600), ask("b", "s2", 5, seconds=3601))
    assert answers(desk) == {"a": ("5", None), "b": ("0", "INSUFFICIENT_CREDIT")}


def test_an_overdraft_is_credit_and_a_price_of_zero_needs_none() -> None:
    world = prepaid("1", overdraft="3").meter("free", event_type="free").price("free", tiers((None, "0")), meter_id="free")
    desk = Desk(world.terms())
    desk.rate(ask("a", "s1", 9), used("u", "8"), ask("b", "s2", 9), ask("c", "s3", 9, meter="free"))
    assert answers(desk) == {"a": ("3", "INSUFFICIENT_CREDIT"), "b": ("0", "INSUFFICIENT_CREDIT"), "c": ("9", None)}


def test_two_sessions_are_not_both_promised_the_cheap_tier() -> None:
    desk = Desk(prepaid(steps=tiers(("10", "1"), (None, "5")), model="graduated").terms())
    desk.rate(topup("t", "20"), ask("a", "s1", 10), ask("b", "s2", 10))
    assert answers(desk) == {"a": ("10", None), "b": ("2", "INSUFFICIENT_CREDIT")}
    desk.rate(ended("u2", "s2", "2"), ask("c", "s3", 10))
    assert answers(desk)["c"] == ("0", "INSUFFICIENT_CREDIT"), "s1 still has units coming, two of them in the dear tier"
    desk.rate(ended("u1", "s1", "10"))
    assert buckets(desk) == {"main": "0"}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (ask("x", "s", 0), "bad_balance"),
        (ask("x", "s", "NaN"), "bad_balance"),
        (ask("x", "s", 5, meter="other"), "bad_balance"),
        (ask("x", "s", 5, expires_at="2026-10-16T00:00:00Z"), "bad_balance"),
        (ask("x", "s", 5, dimensions={"region": ["cn"]}), "bad_balance"),
        (ask("x", "s", 5) | {"subject": "nobody"}, "unknown_subject"),
        (ask("x", "s", 5) | {"subject": "acme"}, "unknown_subject"),
        (ask("x", "s", 5, "2025-10-15"), "not_subscribed"),
        (ask("x", "s", 5, meter="bare"), "no_price"),
        (update("x", "s", 5), "unknown_reservation"),
        (release("x", "s"), "unknown_reservation"),
    ],
)
def test_a_reservation_that_cannot_be_understood_is_a_reject(wrong: Row, reason: str) -> None:
    desk = Desk(prepaid().meter("bare", event_type="bare").terms())
    desk.rate(topup("t", "5"))
    before = state(desk.balances)
    rejected = desk.rate(wrong)
    assert rejected.rejects["reason"].to_list() == [reason]
    assert state(desk.balances) == before


PRICES: list[dict[str, Any]] = [
    {"steps": tiers((None, "0.3"))},
    {"steps": tiers(("5", "1", "2"), ("20", "0.5"), (None, "3", "1")), "model": "graduated", "included_units": Decimal(4)},
    {"steps": tiers(("5", "2"), ("20", "1"), (None, "0.7")), "model": "volume"},
    {"steps": tiers((None, "4"), package_size="6"), "model": "package", "cap": Decimal(9)},
    {
        "steps": tiers((None, "0.07", "0.5")),
        "per": "event",
        "round_places": 1,
        "round_method": "half_up",
        "minimum": Decimal(1),
    },
    {"steps": tiers((None, "1")), "per": "event", "included_units": Decimal(7), "free_events": 2},
    {"steps": tiers((None, "1", "3")), "flat_at_zero": True},
]


@examples(15)
@given(
    price=st.sampled_from(PRICES),
    before=st.lists(st.integers(0, 30), max_size=4),
    coming=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    discount=st.sampled_from(["0", "0.15"]),
)
def test_a_quote_is_what_rating_then_charges(
    price: dict[str, Any], before: list[int], coming: list[int], discount: str
) -> None:
    world = one_price(**({"model": "per_unit"} | price))
    if discount != "0":
        world.discount("usage", discount)
    desk = Desk(world.terms())
    for number, quantity in enumerate(before):
        desk.rate(used(f"b{number}", str(quantity)))
    quotes = Quotes([Ask("s", "acme-1", 0, instant("2026-10-15"), 1, {})], desk.terms, desk.counters)
    quoted, _ = quotes.cost([(quotes.parts("s"), quantity) for quantity in coming])
    charged = desk.total()
    for number, quantity in enumerate(coming):
        desk.rate(used(f"c{number}", str(quantity)))
    assert Decimal(quoted).scaleb(-18) == desk.total() - charged


def test_a_quote_goes_by_dimensions_and_filters() -> None:
    world = World().meter(dimensions=["zone"]).price("near", tiers((None, "1"))).price("far", tiers((None, "5")))
    world.filter("near", "zone", "a").filter("far", "zone", "a", excluded=True).account(charging="prepaid").subscription()
    terms = world.terms()
    asks = [Ask(zone, "acme-1", 0, instant("2026-10-15"), 1, {"zone": zone}) for zone in ("a", "b")]
    quotes = Quotes(asks, terms, Counters())
    assert [quotes.cost([(quotes.parts(zone), 2)])[0] for zone in ("a", "b")] == [2 * 10**18, 10 * 10**18]


STEPS = st.one_of(
    st.tuples(st.just("topup"), st.integers(1, 40)),
    st.tuples(st.just("units"), st.integers(1, 10)),
    st.tuples(st.just("ask"), st.integers(1, 30), st.integers(1, 5)),
    st.tuples(st.just("update"), st.integers(0, 5), st.integers(1, 40), st.integers(1, 5)),
    st.tuples(st.just("end"), st.integers(0, 5), st.integers(0, 100)),
    st.tuples(st.just("release"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)
GROWING = [PRICES[0], PRICES[1], PRICES[3], PRICES[4], PRICES[5]]


class Phone:
    """Sessions that keep to what they were granted, or are silent until their time is over."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.rows: list[Row] = []
        self.minute = 0
        self._open: dict[str, tuple[int, int]] = {}  # session -> units granted, minute at which its time is over

    def live(self, nth: int) -> str | None:
        names = [name for name, (_, over) in self._open.items() if over > self.minute]
        return names[nth % len(names)] if names else None

    def do(self, number: int, step: tuple[Any, ...]) -> None:
        kind, *rest = step
        name, at = f"e{number}", f"2026-10-15T{10 + self.minute // 60:02d}:{self.minute % 60:02d}"
        if kind == "wait":
            self.minute += rest[0]
        elif kind == "topup":
            self._send(topup(name, str(rest[0]), at))
        elif kind == "units":
            self._send(topup(name, None, at, bucket="pack", meter="usage", quantity=str(rest[0])))
        elif kind == "ask":
            self._ask(name, name, ask(name, name, rest[0], at, seconds=60 * rest[1]), rest[1])
        elif (session := self.live(rest[0])) is None:
            return
        elif kind == "update":
            self._ask(name, session, update(name, session, rest[1], at, seconds=60 * rest[2]), rest[2])
        elif kind == "release":
            self._send(release(name, session, at))
            del self._open[session]
        else:
            granted, _ = self._open.pop(session)
            self._send(ended(name, session, str(granted * rest[1] // 100), at))

    def _ask(self, name: str, session: str, row: Row, minutes: int) -> None:
        self._send(row)
        granted = int(answers(self.desk)[name][0])
        if granted:
            self._open[session] = granted, self.minute + minutes

    def _send(self, row: Row) -> None:
        self.rows.append(row)
        self.desk.rate(row)


@examples(20)
@given(
    price=st.sampled_from(GROWING),
    steps=st.lists(STEPS, min_size=2, max_size=16),
    cuts=st.lists(st.integers(1, 15), max_size=3),
)
def test_sessions_that_keep_to_their_grants_never_spend_more_than_there_is(
    price: dict[str, Any], steps: list[tuple[Any, ...]], cuts: list[int]
) -> None:
    terms = prepaid(**({"model": "per_unit"} | price)).terms()
    phone = Phone(Desk(terms))
    for number, step in enumerate(steps):
        phone.do(number, step)
        assert all(bucket.left >= 0 for bucket in phone.desk.balances.account("acme").buckets.values())
    assert rebuilt(phone.desk.postings) == state(phone.desk.balances)
    open_sessions = phone.desk.balances.account("acme").sessions.values()
    assert held(phone.desk) == sum((Decimal(session.held_scaled) for session in open_sessions), Decimal(0)).scaleb(-18)
    cut = Desk(terms)
    places = sorted({0, len(phone.rows), *(place for place in cuts if place < len(phone.rows))})
    for start, end in pairwise(places):
        cut.rate(*phone.rows[start:end])
    assert cut.postings.sort(POSITION_KEY).equals(phone.desk.postings.sort(POSITION_KEY))


def call_world(case: Case) -> World:
    charge = case["charge"]
    rate = charge.get("rate_per_second") or charge["after_package"]["rate_per_second"]
    return prepaid(rate)


@pytest.mark.parametrize("case", VECTORS, ids=[case["id"] for case in VECTORS])
def test_prepaid_calls_as_cgrates_asserts_them(case: Case) -> None:
    charge, expected = case["charge"], case["expected"]
    desk = Desk(call_world(case).terms())
    if money := {"cgrates_prepaid-007": "11"}.get(case["id"], charge.get("money", "0")).strip("0"):
        desk.rate(topup("t", money))
    if case["id"] == "cgrates_prepaid-014":
        check_calls_in_order_of_time(desk, expected)
        return
    if "package" in charge:
        desk.rate(topup("p", bucket="pack", meter="usage", quantity=charge["package"]["seconds"]))
    more = {"max_cost": charge["max_cost"]} if "max_cost" in charge else {}
    if "error" in expected:
        more["least"] = "100"
    desk.rate(ask("a", "call", charge.get("asked_seconds", 100), seconds=86_400, **more))
    assert answers(desk)["a"] == (expected["amount"], expected.get("error") or answers(desk)["a"][1])


def check_calls_in_order_of_time(desk: Desk, expected: dict[str, Any]) -> None:
    """The package goes to the call that comes first. A call that comes late gets what is left of it: re-rating moves usage to
    another price version and leaves alone which call had the package; the two together cost the same in either order."""
    desk.rate(topup("p", bucket="pack", meter="usage", quantity="60"))
    desk.rate(used("first", "120", "2026-10-15T15:15"), used("second", "120", "2026-10-15T16:15"))
    amounts = dict(desk.postings.filter(role="revenue").select("event_id", "amount").iter_rows())
    assert (amounts["first"], amounts["second"]) == (Decimal(expected["first"]), Decimal(expected["second"]))
    assert desk.total() == Decimal(expected["amount"])
