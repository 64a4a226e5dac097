"""How cases whose price looks at each event by itself are written as a price book. No tests in here."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.rating_world import World, one_price, tiers
from tests.vector_cases import Case
from tests.vector_prices import percent


def write_percentage(charge: Case, **more: Any) -> World:
    """Per event where the case has terms of an event; the allowance ends at the first of events and amount."""
    of_event = {"fixed_per_event", "free_events", "min_per_event", "max_per_event"} & set(charge)
    rows = tiers((None, percent(charge["rate_pct"]), charge.get("fixed_per_event", "0")))
    bounds: dict[str, Any] = {name: Decimal(charge[key]) for name, key in EVENT_BOUNDS.items() if key in charge}
    return one_price(
        "percentage",
        rows,
        per="event" if of_event else "period",
        free_events=charge.get("free_events"),
        included_units=Decimal(charge.get("free_amount", "0")),
        **bounds,
        **more,
    )


EVENT_BOUNDS = {"minimum": "min_per_event", "maximum": "max_per_event"}


def write_dynamic(charge: Case, **more: Any) -> World:
    """The amount comes with the event, beside its units."""
    world = one_price("dynamic", tiers((None, "0")), per="event", takes="amount", **more)
    world.meters[0]["money"] = "money"
    return world


def write_matrix(charge: Case, **more: Any) -> World:
    rows = tiers((None, charge["default_unit_price"]))
    for number, (value, price) in enumerate(charge["prices"].items(), start=1):
        rows.append(rows[0] | {"tier": number, "unit_price": Decimal(price), "values": [value]})
    world = one_price("matrix", rows, per="event", by=[charge["dimension"]], match="value", **more)
    world.meters[0]["dimensions"] = [charge["dimension"]]
    return world


def write_call(charge: Case, **more: Any) -> World:
    """Slots become tiers; a maximum that only disconnects is no matter of the price."""
    slots = charge["slots"]
    ends = [slot["from"] for slot in slots[1:]]
    rows = tiers(*((end, slot["rate"]) for end, slot in zip([*ends, None], slots, strict=True)))
    rows[0]["flat"] = Decimal(charge.get("connect_fee", "0"))
    for row, slot in zip(rows, slots, strict=True):
        row |= {"package_size": Decimal(slot["increment"]), "per_units": Decimal(slot["per"])}
    if charge.get("max_cost_strategy") == "free":
        more["maximum"] = Decimal(charge["max_cost"])
    if "rounding" in charge:
        more |= {"round_places": charge["rounding"]["decimals"], "round_method": charge["rounding"]["method"]}
    return one_price("rated_time", rows, per="event", **more)


def write_window(charge: Case, **more: Any) -> World:
    """A calendar whose night is the whole day, and a price that splits calls by it."""
    (window,) = charge["windows"]
    slot = {"from": "0", "rate": window["rate_per_second"], "per": "1", "increment": "1"}
    during = {"calendar_id": "clock", "windows": ["night"], "split": True}
    world = write_call({"connect_fee": charge["connect_fee"], "slots": [slot]}, **during, **more)
    world.meters[0]["lasts"] = "second"
    return world.calendar([("night", "00:00", "24:00", "mon tue wed thu fri sat sun", None)])


def write_bucket(_charge: Case, *, name: str, **more: Any) -> World:
    """A price for some hours of the day and one for the others, as the case says its name: `bucket 09-12 at 5 ..., else 1`."""
    found = re.fullmatch(r"bucket (\d\d)-(\d\d) at (\d+) \(commit 50, x1\), else (\d+)", name)
    assert found is not None, name
    begins, ends, price, other = found.groups()
    world = one_price("per_unit", tiers((None, price)), calendar_id="clock", windows=["bucket"], split=False, **more)
    world.price("else", tiers((None, other)), calendar_id="clock", windows=["rest"], split=False)
    return world.calendar([("bucket", f"{begins}:00", f"{ends}:00", "mon tue wed thu fri sat sun", None)])


EVENT_WRITERS: dict[str, tuple[Callable[..., World], set[str]]] = {
    "percentage": (write_percentage, {"rate_pct", "fixed_per_event", "free_events", "free_amount", *EVENT_BOUNDS.values()}),
    "per_unit_by_dimension": (write_matrix, {"dimension", "prices", "default_unit_price"}),
    "dynamic": (write_dynamic, set()),
    "rated_time": (write_call, {"connect_fee", "slots", "rounding", "max_cost", "max_cost_strategy"}),
    "rated_time_by_clock": (write_window, {"windows", "connect_fee"}),
    "window_commitment_by_clock": (write_bucket, set()),
}
"""Model -> how it is written as a price, and the parameters that this understands; any other fails the case."""
