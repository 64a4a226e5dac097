"""How much a session may use: the most that can still be paid for when every other session uses all that it was granted.

A grant is not judged by sums of money set aside but by what all live sessions together would cost from where their aggregates
stand now. So two calls on one graduated price cannot both be promised the cheap tier, and a session that ended in another
order than it began leaves the others covered.

    budget  = money in force until the last session ends + overdraft
    granted = the largest q up to what is wanted with  cost(all live sessions, and q) <= budget

cost grows with q for all prices but volume tiers, so a search in halves finds the largest q; for volume tiers it finds one that
can be paid for. What costs nothing more is granted whatever the balance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from rating.balance.accounts import Account, Session
from rating.balance.orders import Order
from rating.balance.quote import Part, Quotes
from schemas.balance import ReservationData

INSUFFICIENT_CREDIT = "INSUFFICIENT_CREDIT"
MAX_COST = "MAX_COST"


class Grant(NamedTuple):
    """The answer to a reservation."""

    quanta: int  # 0: refused
    scaled: int  # what it would cost, at scale 18
    units: int  # quanta of it that buckets of units would cover
    remaining: int  # of the budget
    reason: str | None  # why it is less than was wanted


def grant(order: Order, account: Account, parts: dict[str, list[Part]], quotes: Quotes, overdraft: int) -> Grant:
    """How much of what is wanted can be granted. Changes nothing.

    Args:
        account: Without the sessions whose time is over.
        parts: The prices of each session of the account, by its name, this one among them.
    """
    data = order.data
    assert isinstance(data, ReservationData)
    assert order.expires_at is not None
    others = sorted(
        (session for session in account.sessions.values() if session.name != data.session),
        key=lambda session: (session.since, session.name),
    )
    end = max([order.expires_at, *(session.expires_at for session in others)])
    budget = account.money(order.occurred_at, end) + overdraft
    units = {
        meter_id: sum(max(bucket.left, 0) for bucket in account.paying(meter_id, order.occurred_at, end))
        for meter_id in {str(order.meter_id), *(session.meter_id for session in others)}
    }
    wanted = _uncovered(others, parts, units)
    mine, covered = parts.get(data.session, []), units[str(order.meter_id)]
    unpriced = sum(session.held_scaled for session in others if not parts.get(session.name))
    priced, moved = quotes.cost(wanted)
    base = priced + unpriced

    def more(quanta: int) -> int:
        """What it adds to the cost."""
        return quotes.cost([(mine, max(quanta - covered, 0))], moved)[0]

    most = None if data.max_cost is None else int(data.max_cost.scaleb(18))

    def problem(quanta: int) -> str | None:
        """Why so much cannot be granted; None if it can."""
        cost = more(quanta)
        if cost > max(budget - base, 0):
            return INSUFFICIENT_CREDIT
        return MAX_COST if most is not None and cost > most else None

    quanta, reason = _largest(min(order.quanta, max(quotes.room(mine), 0)), problem)
    least = 1 if data.least is None else int(data.least.scaleb(order.quantity_scale))
    if quanta < max(least, 1):
        return Grant(0, 0, 0, budget - base, reason or INSUFFICIENT_CREDIT)
    cost = more(quanta)
    return Grant(quanta, cost, min(quanta, covered), budget - base - cost, reason)


def _uncovered(others: list[Session], parts: dict[str, list[Part]], units: dict[str, int]) -> list[tuple[list[Part], int]]:
    """What each session would have to pay for: its grant less the units that are left for it. Takes those off `units`."""
    wanted = []
    for session in others:
        covered = min(session.quanta, units[session.meter_id])
        units[session.meter_id] -= covered
        wanted.append((parts.get(session.name, []), session.quanta - covered))
    return wanted


def _largest(most: int, problem: Callable[[int], str | None]) -> tuple[int, str | None]:
    """The largest quantity up to `most` without a problem, and the problem of one more."""
    if most <= 0:
        return 0, None
    reason = problem(most)
    if reason is None:
        return most, None
    good, bad = 0, most
    while bad - good > 1:
        middle = (good + bad) // 2
        found = problem(middle)
        if found is None:
            good = middle
        else:
            bad, reason = middle, found
    return good, reason
