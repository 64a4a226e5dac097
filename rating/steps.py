"""The words in which price models speak: what a price says (tiers), and what it becomes (steps). Integers only."""

from __future__ import annotations

from typing import NamedTuple


class Tier(NamedTuple):
    """One tier of the price book: units above `from_quanta` up to the next tier's."""

    tier: int
    from_quanta: int  # excluded
    unit_price: int  # scale 18: per quantum, or per package
    flat: int  # scale 18: due once when the tier is reached
    package_quanta: int = 1  # quanta in a package, each begun one due whole


class PriceTerms(NamedTuple):
    """What one price version says. Tiers join without gap from 0."""

    tiers: list[Tier]
    last_quanta: int | None = None  # where the last tier ends, included; None is unbounded
    divisor: int = 1  # prices and fees are so many times what they are, to keep thirds and sixtieths whole


class Step(NamedTuple):
    """f(q) = base + unit_price x ceil((q - from_quanta) / package_quanta) for q above `from_quanta` up to the next step."""

    tier: int
    from_quanta: int
    base: int
    unit_price: int
    package_quanta: int = 1

    def amount_at(self, quanta: int) -> int:
        """f of a quantity in this step."""
        return self.base + self.unit_price * packages_begun(quanta - self.from_quanta, self.package_quanta)


def packages_begun(quanta: int, package_quanta: int) -> int:
    """Packages that so many quanta need; one begun counts whole."""
    return -(-quanta // package_quanta)
