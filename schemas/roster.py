"""The roster: who is charged. Accounts, subscriptions, service identifiers and negotiated prices, one immutable version."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from schemas.book import PRICES, TIERS
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.limits import LIMITS

ACCOUNTS = FrameSchema(
    "ACCOUNTS",
    {
        "account_id": pl.String,
        "name": pl.String,
        "country": pl.String,  # ISO 3166 alpha-2; chooses the tax rate
        "currency": pl.String,  # ISO 4217; prices of its plans are in it
        "language": pl.String,  # en | zh: the language of its documents
        "zone": pl.String,  # IANA zone in which its days and periods begin
        "billing_day": pl.Int8,  # 1..28: the day of the month on which a usage period starts
        "payment_days": pl.Int16,  # days from issue to due date
        "tax_id": pl.String,  # may be null
        "address": pl.String,  # lines separated by \n; may be null
        "email": pl.String,  # may be null
        "partner_id": pl.String,  # the partner who brought the customer; may be null
        "charging": pl.String,  # prepaid: usage is taken from a balance; postpaid or null: it is invoiced
        "low_balance": AMOUNT,  # prepaid: a notice is given when less is left; null: none
        "overdraft": AMOUNT,  # prepaid: how far below zero reservations may count on; null: not at all
        "parent_id": pl.String,  # the account above it in its hierarchy; null: none
    },
)
"""One row per billing account."""

SUBSCRIPTIONS = FrameSchema(
    "SUBSCRIPTIONS",
    {
        "subscription_id": pl.String,
        "account_id": pl.String,
        "plan_id": pl.String,
        "licences": pl.Int32,  # how many of the plan; multiplies recurring fees
        "active_from": INSTANT,  # midnight in the account's zone
        "active_to": INSTANT,  # excluded; null: open
    },
)
"""One row per subscription and plan it holds: the version product and each add-on, with its own term."""

IDENTIFIERS = FrameSchema(
    "IDENTIFIERS",
    {
        "identifier": pl.String,  # what events may carry as `subject`; every subscription_id is one of its own
        "subscription_id": pl.String,
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    },
)
"""One row per identifier, subscription and time. At one time an identifier belongs to one subscription."""

OVERRIDES = FrameSchema(
    "OVERRIDES",
    {
        "account_id": pl.String,
        "subscription_id": pl.String,  # null: every subscription of the account; set: this one, and it wins
        "price_id": pl.String,
        "price_version": pl.String,  # own terms in Roster.prices/.tiers; null when it is a discount on the list price
        "discount": AMOUNT,  # 0.15 takes 15 % off the list price in force, at most 6 decimals; null with own terms
        "valid_from": INSTANT,
        "valid_to": INSTANT,
    },
)
"""One row per negotiated price of one fee item."""

PARTNERS = FrameSchema(
    "PARTNERS",
    {
        "partner_id": pl.String,
        "name": pl.String,
        "language": pl.String,
        "tax_id": pl.String,
        "address": pl.String,
        "email": pl.String,
    },
)
"""One row per partner."""


@dataclass(frozen=True)
class Roster:
    """One published version of the roster."""

    version: int
    digest: str
    accounts: pl.DataFrame
    subscriptions: pl.DataFrame
    identifiers: pl.DataFrame
    overrides: pl.DataFrame
    prices: pl.DataFrame  # PRICES of overrides with own terms
    tiers: pl.DataFrame  # TIERS of overrides with own terms
    partners: pl.DataFrame
    limits: pl.DataFrame


ROSTER_FRAMES = {
    "accounts": ACCOUNTS,
    "subscriptions": SUBSCRIPTIONS,
    "identifiers": IDENTIFIERS,
    "overrides": OVERRIDES,
    "prices": PRICES,
    "tiers": TIERS,
    "partners": PARTNERS,
    "limits": LIMITS,
}
"""Field of Roster -> its schema; also the names of the frozen files."""
