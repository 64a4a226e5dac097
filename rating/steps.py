"""The words in which price models speak: what a price says (tiers), and what it becomes (steps). Integers only."""

from __future__ import annotations

from typing import NamedTuple


class Tier(NamedTuple):
    """One tier of the price book: units above `from_quanta` up to the next tier's."""

    tier: int
    from_quanta: int  # excluded
    unit_price: int  # scale 18: per quantum; per package for the package model
    flat: int  # scale 18: due once when the tier is reached


class PriceTerms(NamedTuple):
    """What one price version says. Tiers join without gap from 0."""

    tiers: list[Tier]
    last_quanta: int | None = None  # where the last tier ends, included; None is unbounded
    free_quanta: int = 0
    package_quanta: int | None = None


class Step(NamedTuple):
    """f(q) = base + unit_price x ceil((q - from_quanta) / package_quanta) for q above `from_quanta` up to the next step."""

    tier: int
    from_quanta: int
    base: int
    unit_price: int
    package_quanta: int = 1
