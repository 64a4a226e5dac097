"""Prices that hold during windows of a calendar: whether they name them rightly, and leave no moment without a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from catalog.calendar_entries import CalendarEntry
from catalog.calendars import window_names
from catalog.entries import DuringEntry, MeterEntry
from catalog.problems import Place, Problems, did_you_mean

Row = dict[str, Any]
NEVER: Row = {"calendar_id": None, "windows": None, "split": None}
"""The columns of a price that looks at no calendar."""

SPLIT_PER_EVENT = ("per_unit", "package", "graduated", "rated_time", "matrix")
"""Models whose price of an event can be told apart into its parts."""

NOT_SPLIT = ("minimum", "maximum", "free_events", "included_units")
"""What a price of an event may not have when it is split: these are of the event as a whole."""


class Timed(NamedTuple):
    """A price version of a plan, as a row of PRICES, its rows of TIERS, and where it stands."""

    price: Row
    tiers: list[Row]
    place: Place


def lower_during(
    during: DuringEntry | None,
    meter: MeterEntry | None,
    calendars: Mapping[str, CalendarEntry | None],
    place: Place,
    problems: Problems,
) -> Row:
    """The columns of PRICES that say during which windows a price holds.

    `meter` is None for a recurring price and where it is unknown; a calendar with mistakes is None.
    """
    if during is None:
        return NEVER
    if during.calendar not in calendars:
        hint = did_you_mean(during.calendar, sorted(calendars))
        problems.add(place.at("calendar"), f"there is no calendar '{during.calendar}'{hint}")
    calendar = calendars.get(during.calendar)
    if calendar is not None:
        known = window_names(calendar)
        for index, name in enumerate(during.windows):
            if name not in known:
                text = f"calendar '{during.calendar}' has no window '{name}'{did_you_mean(name, known)}"
                problems.add(place.at("windows", index), text)
    if during.split and meter is not None and meter.lasts is None:
        problems.add(place.at("split"), "needs a meter whose quantity is a time; say there what it 'lasts:' in", key=True)
    return {"calendar_id": during.calendar, "windows": sorted(set(during.windows)), "split": during.split}


def check_split(columns: Row, place: Place, problems: Problems) -> None:
    """A price of an event that is split can be told apart into its parts."""
    if not columns["split"]:
        return
    by_event = columns["per"] == "event"
    if columns["model"] == "capacity" or (by_event and columns["model"] not in SPLIT_PER_EVENT):
        text = f"the model {columns['model']} takes events as a whole, so 'split' cannot be; remove one of them"
        problems.add(place, text)
    given = [name for name in NOT_SPLIT if columns[name] and by_event]
    if given:
        names = ", ".join(name.removesuffix("_units") for name in given)
        problems.add(place, f"{names} is of an event as a whole, but 'split' divides it; remove one of them")


def check_own_terms(listed: Timed, own: Timed, problems: Problems) -> None:
    """Negotiated terms of a price that splits events can be split too, and cut them where the list price does."""
    if not listed.price["split"]:
        return
    check_split(own.price, own.place, problems)
    scale = own.price["quantity_scale"]
    if increments_of(own.price, own.tiers, scale) != increments_of(listed.price, listed.tiers, scale):
        problems.add(own.place, "has other increments than the list price, which splits events with others; keep the same")


def check_windows(
    plan_kind: str, timed: Sequence[Timed], calendars: Mapping[str, CalendarEntry | None], problems: Problems
) -> None:
    """Over the versions of a plan's prices on one meter: increments are the same, and no window is left out.

    An add-on may have a price in some windows alone, because the plan beside it has the others.
    """
    for row in timed:
        together = [other for other in timed if other is row or _overlap(row.price, other.price)]
        _check_increments(row, together, problems)
        now = [other for other in together if other.price["valid_from"] <= row.price["valid_from"]]
        if plan_kind == "version" and all(other.price["calendar_id"] is not None for other in now):
            _check_covered(now, now[0].place, calendars, problems)


def increments_of(columns: Row, tiers: Sequence[Row], scale: int) -> list[tuple[Decimal, Decimal]]:
    """Where increments begin and how long they are, from there on; a period's price goes by the smallest quantity."""
    smallest = Decimal(1).scaleb(-scale)
    found = [(Decimal(0), smallest)]
    if columns["per"] != "event":
        return found
    listed = tiers[:1] if columns["model"] == "matrix" else tiers
    for tier in listed:
        start, size = tier["tier_from"], tier["package_size"] or smallest
        if start == 0:
            found = [(start, size)]
        elif size != found[-1][1] or (start - found[-1][0]) % size:
            found.append((start, size))
    least = columns["minimum_units"]
    return [(Decimal(0), Decimal(least)), *((max(start, least), size) for start, size in found)] if least else found


def _check_increments(row: Timed, together: Sequence[Timed], problems: Problems) -> None:
    """Prices that split an event between them cut it at the same places."""
    if not row.price["split"]:
        return
    mine = increments_of(row.price, row.tiers, row.price["quantity_scale"])
    for other in together:
        if other is row or not other.price["split"] or str(other.place) > str(row.place):
            continue
        if increments_of(other.price, other.tiers, other.price["quantity_scale"]) != mine:
            text = f"has other increments than price '{other.price['price_id']}' ({other.place}), which splits the same events"
            problems.add(row.place, f"{text}; give both the same")
            return


def _check_covered(
    now: Sequence[Timed], place: Place, calendars: Mapping[str, CalendarEntry | None], problems: Problems
) -> None:
    """One calendar's windows all have a price. Filters are not looked at; rating rejects what then remains."""
    left: list[str] = []
    for name in dict.fromkeys(row.price["calendar_id"] for row in now):
        calendar = calendars.get(name)
        if calendar is None:
            return
        priced = {window for row in now if row.price["calendar_id"] == name for window in row.price["windows"]}
        left = [window for window in window_names(calendar) if window not in priced]
        if not left:
            return
    text = f"there is no price of this meter in the window {' or '.join(left)}"
    problems.add(place, f"{text}; add one (with 0 where it costs nothing), or a price without 'during'")


def _overlap(one: Row, other: Row) -> bool:
    """Whether two price versions are in force at one moment."""
    return bool(
        (one["valid_to"] is None or other["valid_from"] < one["valid_to"])
        and (other["valid_to"] is None or one["valid_from"] < other["valid_to"])
    )
