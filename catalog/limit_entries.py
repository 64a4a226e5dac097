"""What may stand under `commitments`, `caps` and `pools`, in the price book for a plan and in the roster for a customer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from catalog.entries import Entry, Name
from catalog.fields import Count, Flag, Id, Moment, Price, Units, Values


class LimitEntry(Entry):
    """What all have: whose it is, which prices it covers and when."""

    id: Id
    name: Name
    plan: Id | None = None
    account: Id | None = None
    subscription: Id | None = None
    covers: Annotated[Values, Field(default_factory=list)]
    fees: Flag = False
    prorate: Flag | None = None
    valid_from: Moment
    valid_to: Moment | None = None


class CommitmentEntry(LimitEntry):
    amount: Price
    over: Literal["period", "term"] = "period"
    spent: Price | None = None
    true_up: Flag = True
    overage_factor: Price | None = None
    tax_class: Id = "standard"


class CapEntry(LimitEntry):
    amount: Price
    over: Literal["period", "term"] = "period"
    spent: Price | None = None
    tax_class: Id = "standard"


class RollOverEntry(Entry):
    """For how many periods more what was not used is kept, and how much of it at most."""

    periods: Annotated[Count, Field(ge=1, le=60)]
    up_to: Units | None = None


class PoolEntry(LimitEntry):
    amount: Price | None = None
    units: Units | None = None
    per: Literal["licence"] | None = None
    priority: Annotated[Count, Field(ge=1, le=1000)] | None = None
    roll_over: RollOverEntry | None = None


LIMIT_ENTRIES: dict[str, tuple[str, type[CommitmentEntry] | type[CapEntry] | type[PoolEntry]]] = {
    "commitments": ("commitment", CommitmentEntry),
    "caps": ("cap", CapEntry),
    "pools": ("pool", PoolEntry),
}
"""Section -> the kind of limit and its entry."""
