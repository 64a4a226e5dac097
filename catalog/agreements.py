"""Reads what partners were promised: which prices an agreement covers, when, and what is due of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from catalog.book_checks import Span, check_mentions, check_spans
from catalog.entries import AgreementEntry, ShareTierEntry
from catalog.fields import decimals_of
from catalog.problems import Place, Problems

WAYS = ("share", "tiers", "per_unit")
TIER_DECIMALS = 12

Row = dict[str, object]


class CoveredPrice(NamedTuple):
    """What an agreement must know of a price."""

    meter: str | None  # None: a fee
    scale: int  # decimals of a quantity
    currency: str


@dataclass
class AgreementReader:
    """Collects rows of AGREEMENTS and AGREEMENT_TIERS, and notes what is wrong."""

    problems: Problems
    zone: str
    plans: Mapping[str, list[str]]  # prices by plan
    prices: set[str]  # of plans, also those with mistakes
    facts: Mapping[str, CoveredPrice]  # of prices without mistakes
    covered: dict[tuple[str, str], list[Span]] = field(default_factory=dict)
    agreements: list[Row] = field(default_factory=list)
    tiers: list[Row] = field(default_factory=list)

    def read(self, agreement: AgreementEntry, place: Place) -> None:
        check_mentions("plan", agreement.plans, self.plans, place.at("plans"), self.problems)
        check_mentions("price", agreement.prices, sorted(self.prices), place.at("prices"), self.problems)
        if not agreement.plans and not agreement.prices:
            self.problems.add(place, "covers nothing; list plans or prices")
        self.check_way(agreement, place)
        ((start, end),) = check_spans([(agreement.valid_from, agreement.valid_to, place)], self.zone, self.problems)
        wanted = sorted(set(agreement.prices).union(*(self.plans.get(plan, []) for plan in agreement.plans)) & self.prices)
        if agreement.per_unit is not None:
            self.check_units(agreement.per_unit, [name for name in wanted if name in self.facts], place)
        for price_id in wanted:
            others = self.covered.setdefault((agreement.partner, price_id), [])
            if any((end is None or s < end) and (e is None or start < e) for s, e in others):
                text = f"partner '{agreement.partner}' has another agreement for price '{price_id}' at that time"
                self.problems.add(place, text)
            others.append((start, end))
            row: Row = {"agreement_id": agreement.id, "partner_id": agreement.partner, "price_id": price_id}
            row |= {"share": agreement.share, "of": agreement.of, "per_unit": agreement.per_unit}
            self.agreements.append(row | {"valid_from": start, "valid_to": end})
        if wanted:
            self.tiers += self.read_tiers(agreement.id, agreement.tiers or [], place.at("tiers"))

    def check_way(self, agreement: AgreementEntry, place: Place) -> None:
        given = [way for way in WAYS if getattr(agreement, way) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "says nothing of what is due"
            self.problems.add(place, f"{found}; give exactly one of {', '.join(WAYS)}")
        elif agreement.of == "margin" and given != ["share"]:
            text = "is margin, which only a 'share' can be of: tiers of revenue and cost together would depend on their order"
            self.problems.add(place.at("of"), text)

    def check_units(self, amount: Decimal, prices: list[str], place: Place) -> None:
        """An amount per unit is for prices of one meter and currency, and multiplies with a quantity exactly."""
        for name in prices:
            fact = self.facts[name]
            if fact.meter is None:
                text = f"is for units, and '{name}' is a fee without any; list the prices of usage under 'prices'"
                self.problems.add(place.at("per_unit"), text)
            elif decimals_of(amount) > 18 - fact.scale:
                text = f"has {decimals_of(amount)} decimals; the meter of '{name}' counts {fact.scale}, so an amount at most"
                self.problems.add(place.at("per_unit"), f"{text} {18 - fact.scale}")
        for what in ("meter", "currency"):
            values = sorted({str(value) for name in prices if (value := getattr(self.facts[name], what)) is not None})
            if len(values) > 1:
                text = f"is for prices of one {what}, and these are of {' and '.join(values)}; make an agreement for each"
                self.problems.add(place.at("per_unit"), text)

    def read_tiers(self, agreement_id: str, tiers: list[ShareTierEntry], place: Place) -> list[Row]:
        """AGREEMENT_TIERS: upper bounds are inclusive and rise, the last tier has none."""
        rows: list[Row] = []
        reached = Decimal(0)
        for index, tier in enumerate(tiers):
            spot, last = place.at(index, "up_to"), index == len(tiers) - 1
            if tier.up_to is None and not last:
                self.problems.add(spot, "is missing; only the last tier is without an upper bound")
            elif tier.up_to is not None and last:
                self.problems.add(spot, "bounds the last tier; leave it out, so that all revenue has a share")
            elif tier.up_to is not None and tier.up_to <= reached:
                self.problems.add(spot, f"{tier.up_to} is not above {reached}, where the tier starts; order tiers by up_to")
            if tier.up_to is not None and decimals_of(tier.up_to) > TIER_DECIMALS:
                self.problems.add(spot, f"has {decimals_of(tier.up_to)} decimals; a bound takes at most {TIER_DECIMALS}")
            rows.append({"agreement_id": agreement_id, "tier": index, "revenue_from": reached, "revenue_to": tier.up_to})
            rows[-1]["share"] = tier.share
            reached = tier.up_to or reached
        return rows
