"""What the template's events must cost, worked out without the product: from the text of the events, in Decimal.

The prices stand here a second time on purpose. They are those of catalog/templates/video_conference; a change there is made
here by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal

import polars as pl

SUBSCRIPTIONS = {
    "conf-huaxing-bj": "sub-huaxing",
    "conf-huaxing-sh": "sub-huaxing",
}
"""Of all others it follows from the name: `conf-pine` is `sub-pine`, of the account `pine`."""
FAMILIES = {"sub-qingshan": "pro.year", "sub-nordlicht": "team.eur"}
"""How a subscription's prices begin; `pro.month` for all others."""

SCALES = {"meeting.ended": 3, "pstn.ended": 3, "traffic.metered": 9, "storage.sampled": 9, "ports.sampled": 0}
HIGHEST = ("storage.sampled", "ports.sampled")
"""Types of which a period's highest counts; of all others the sum."""

EXACT = Context(prec=60)
PLACES = Decimal("1e-18")
PARTNER_SHARE = Decimal("0.2")
PARTNERED = ("sub-lantian", "sub-qingshan")

Price = Callable[[Decimal], Decimal]


def account_of(subject: str) -> str:
    """Who pays for a subject, if it is a customer's."""
    return SUBSCRIPTIONS.get(subject, subject).removeprefix("conf-").removeprefix("sub-")


def expected_rows(values: pl.Series, month: str) -> pl.DataFrame:
    """One row per event: `event_source`, `event_id`, `subscription_id`, `price_id`, `usage_period`, `quanta`, `highest`."""
    text = values.cast(pl.String)
    events = pl.DataFrame({"text": text}).select(
        event_source=_found(r'"source":"([^"]+)"'),
        event_id=_found(r'"id":"([^"]+)"'),
        type=_found(r'"type":"([^"]+)"'),
        subscription_id=_found(r'"subject":"([^"]+)"').replace(SUBSCRIPTIONS).str.replace("^conf-", "sub-"),
        region=_found(r'"region":"([^"]+)"'),
        call_type=_found(r'"call_type":"([^"]+)"'),
        number=_found(r'"(?:minutes|gigabytes|ports)":"?([0-9.]+)').cast(pl.Decimal(38, 9)),
    )
    family = pl.col("subscription_id").replace_strict(FAMILIES, default="pro.month")
    scale = pl.col("type").replace_strict(SCALES, return_dtype=pl.Int64)
    nanos = pl.col("number").to_physical()
    return events.select(
        "event_source",
        "event_id",
        "subscription_id",
        price_id=pl.when(pl.col("call_type") == "webinar").then(pl.lit("webinar.minutes")).otherwise(family + _kind(family)),
        usage_period=pl.lit(f"{month}-01").str.to_date(),
        quanta=(nanos // pl.lit(10, pl.Int64).pow(9 - scale)).cast(pl.Int64),
        highest=pl.col("type").is_in(HIGHEST),
    )


def _found(pattern: str) -> pl.Expr:
    return pl.col("text").str.extract(pattern)


def _kind(family: pl.Expr) -> pl.Expr:
    """What follows the family in the name of the price."""
    region, home = pl.col("region"), pl.col("region").is_in(["cn", "hk"])
    abroad = pl.when(home | (family == "team.eur")).then(pl.lit("")).otherwise(pl.lit(".international"))
    call = pl.when(family == "team.eur").then(pl.lit("")).when(home).then("." + region).otherwise(pl.lit(".international"))
    return (
        pl.when(pl.col("type") == "meeting.ended")
        .then(".minutes" + abroad)
        .when(pl.col("type") == "traffic.metered")
        .then(".traffic" + abroad)
        .when(pl.col("type") == "pstn.ended")
        .then(".pstn" + call)
        .when(pl.col("type") == "ports.sampled")
        .then(pl.lit(".ports"))
        .otherwise(pl.lit(".storage"))
    )


def per_unit(price: str) -> Price:
    return lambda units: units * Decimal(price)


def graduated(*tiers: tuple[str, str]) -> Price:
    """Tiers as (from, unit price): each part of the units at its own tier's price."""

    def price(units: Decimal) -> Decimal:
        ends = [Decimal(begin) for begin, _ in tiers[1:]] + [units]
        parts = (
            max(Decimal(0), min(units, end) - Decimal(begin)) * Decimal(unit_price)
            for (begin, unit_price), end in zip(tiers, ends, strict=True)
        )
        return sum(parts, Decimal(0))

    return price


def volume(*tiers: tuple[str, str, str]) -> Price:
    """Tiers as (from, unit price, flat): all units at the price of the tier they reach."""

    def price(units: Decimal) -> Decimal:
        _, unit_price, flat = [tier for tier in tiers if units > Decimal(tier[0])][-1]
        return units * Decimal(unit_price) + Decimal(flat)

    return price


def package(included: int, size: int, fee: int) -> Price:
    def price(units: Decimal) -> Decimal:
        return ((max(units - included, Decimal(0))) / size).to_integral_value(ROUND_CEILING) * fee

    return price


PRICES: dict[str, Price] = {
    "webinar.minutes": per_unit("0.02"),
    "pro.month.minutes": graduated(("0", "0.05"), ("10000", "0.04"), ("100000", "0.032")),
    "pro.month.minutes.international": per_unit("0.12"),
    "pro.month.ports": volume(("0", "20", "0"), ("100", "18", "0"), ("500", "15", "200")),
    "pro.month.storage": package(10, 50, 25),
    "pro.month.traffic": per_unit("0.8"),
    "pro.month.traffic.international": per_unit("1.25"),
    "pro.month.pstn.cn": per_unit("0.12"),
    "pro.month.pstn.hk": per_unit("0.45"),
    "pro.month.pstn.international": per_unit("0.98"),
    "pro.year.minutes": graduated(("0", "0.045"), ("20000", "0.03")),
    "pro.year.minutes.international": per_unit("0.1"),
    "pro.year.ports": volume(("0", "18", "0"), ("200", "15", "0")),
    "pro.year.storage": package(10, 50, 20),
    "pro.year.traffic": per_unit("0.7"),
    "pro.year.traffic.international": per_unit("1.1"),
    "pro.year.pstn.cn": per_unit("0.1"),
    "pro.year.pstn.hk": per_unit("0.4"),
    "pro.year.pstn.international": per_unit("0.9"),
    "team.eur.ports": per_unit("2.50"),
    "team.eur.storage": per_unit("0.08"),
    "team.eur.traffic": per_unit("0.095"),
    "team.eur.pstn": per_unit("0.035"),
}
NEGOTIATED: dict[tuple[str, str], Price] = {
    ("sub-huaxing", "pro.month.minutes"): graduated(("0", "0.038"), ("50000", "0.03"), ("500000", "0.024")),
    ("sub-lantian", "pro.month.minutes"): lambda units: PRICES["pro.month.minutes"](units) * Decimal("0.85"),
    ("sub-nordlicht", "team.eur.minutes"): per_unit("0.0075"),
}


def amounts_of(subscription_id: str, price_id: str, quanta: int) -> dict[str, Decimal]:
    """What the whole of an aggregate must come to, by role."""
    scale = 3 if ".minutes" in price_id or ".pstn" in price_id else 0 if price_id.endswith(".ports") else 9
    price = NEGOTIATED.get((subscription_id, price_id)) or PRICES[price_id]
    revenue = _rounded(price(Decimal(quanta).scaleb(-scale, EXACT)))
    if subscription_id not in PARTNERED or not price_id.startswith("pro."):
        return {"revenue": revenue}
    return {"revenue": revenue, "share": _rounded(revenue * PARTNER_SHARE)}


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(PLACES, ROUND_HALF_UP, EXACT)
