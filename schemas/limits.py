"""What looks at a whole usage period or contract: commitments, caps and pools of the book and the roster."""

from __future__ import annotations

from enum import StrEnum

import polars as pl

from schemas.frames import AMOUNT, INSTANT, FrameSchema


class LimitCharge(StrEnum):
    """What a row that a limit made is for; the order is the one in which limits apply (rating/limits/apply.py)."""

    POOL = "pool"  # what a pool covers, given back
    FLOOR = "floor"  # up to the least that a price costs
    COMMITMENT = "commitment"  # up to what was committed
    OVERAGE = "overage"  # what is beyond the commitment costs more, or less
    CAP = "cap"  # what is beyond the most that an account or subscription pays, given back


LIMITS = FrameSchema(
    "LIMITS",
    {
        "limit_id": pl.String,  # unique among the limits and prices of book and roster
        "kind": pl.String,  # commitment | cap | pool
        "plan_id": pl.String,  # of the book: for each subscription that holds this plan, while it does
        "account_id": pl.String,  # of the roster: for the account, over all its subscriptions,
        "subscription_id": pl.String,  # or for one subscription
        "over": pl.String,  # period: in each usage period | term: from valid_from to valid_to
        "covers": pl.List(pl.String),  # prices, of a pool in the order in which it covers them; null: all that the party has
        "fees": pl.Boolean,  # recurring fees count too
        "amount": AMOUNT,  # money; null for a pool of units
        "spent": AMOUNT,  # over a term: what counts of the time before billing began here; null: nothing
        "units": AMOUNT,  # a pool of units; null for money
        "per_licence": pl.Boolean,  # so much for each licence of the plan
        "prorated": pl.Boolean,  # by the days of the usage period on which it holds
        "true_up": pl.Boolean,  # commitment: what is missing is charged
        "overage_factor": AMOUNT,  # commitment: what is beyond costs so many times; null: once
        "priority": pl.Int32,  # pool: the lower is used first
        "roll_over_periods": pl.Int32,  # pool: for so many periods more what was not used is kept; 0: lost
        "roll_over_up_to": AMOUNT,  # pool: the most that is kept from one period to the next; null: all
        "tax_class": pl.String,  # of what a commitment or cap makes; a pool takes that of the price it covers
        "currency": pl.String,
        "name_en": pl.String,
        "name_zh": pl.String,
        "valid_from": INSTANT,
        "valid_to": INSTANT,  # excluded; null: open
    },
)
"""One row per commitment, cap or pool."""
