"""Prepaid balances: the events that move them, what may stand in those events, and the rows they become in the ledger.

An account that pays in advance has buckets of money, or of units of a meter. Top-ups fill them, usage takes from them, and a
running session may keep a part reserved. All of it is events on the usage topic and rows of POSTINGS, of three roles:

role     charge     what the row is                                       amount                  quantity_quanta
balance  topup      a top-up                                              money added             units added
balance  adjust     a correction by hand                                  money added             units added
balance  deduct     what usage took (below 0), or gave back               money                   units
hold     request    what a session has reserved                           money held              units held
hold     update     the same, when the session asked again                by how much it changed  likewise
hold     release    the session ended: by its event or its usage          what is free again      likewise
hold     expire     the session ended: its time was over                  likewise                likewise
notice   low ...    what is told to others: a NoticeType                  0                       of a level its change

`price_id` names the bucket, the session or the notice, and `dimensions` holds the facts of the row as JSON. `after_quanta`
numbers the rows of an account, 1, 2, 3 ...: they tell their order, and that none is missing. Of a row that an event of this
module made, `value` is the digest of the event's content; of a deduction, `value` and `price_version` are the fee item paid.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

RESERVED = "boss."
"""How the event types begin that BOSS keeps for itself."""

MAIN = "main"
"""The bucket of a top-up that names none. It alone may fall below zero: usage that happened is never dropped."""

USUAL_PRIORITY = 100

SESSION = "session"
"""Property of `data` by which usage says that it ends a session."""


class OrderType(StrEnum):
    """Events about a balance."""

    TOPUP = "boss.balance.topup"
    ADJUST = "boss.balance.adjust"
    REQUEST = "boss.reservation.request"
    UPDATE = "boss.reservation.update"
    RELEASE = "boss.reservation.release"


class Move(StrEnum):
    """`charge` of rows of the roles balance and hold."""

    TOPUP = "topup"
    ADJUST = "adjust"
    DEDUCT = "deduct"
    REQUEST = "request"
    UPDATE = "update"
    RELEASE = "release"
    EXPIRE = "expire"


class NoticeType(StrEnum):
    """`charge` of rows of the role notice; what is sent is the CloudEvents type."""

    LOW = "low"
    EXHAUSTED = "exhausted"
    RESTORED = "restored"
    GRANTED = "granted"
    REFUSED = "refused"

    @property
    def event_type(self) -> str:
        about = "reservation" if self in (NoticeType.GRANTED, NoticeType.REFUSED) else "balance"
        return f"{RESERVED}{about}.{self.value}"


class Level(StrEnum):
    """How much is left."""

    OK = "ok"
    LOW = "low"
    EXHAUSTED = "exhausted"


LEVELS = list(Level)
"""A notice of a level has as its quantity by how many places of this list the level changed."""

_NUMBER = r"-?\d{1,15}(\.\d{1,18})?"


def _read_number(value: object) -> Decimal:
    """A decimal from text, or from a JSON number kept as text. Not NaN, Infinity, an exponent or a thousands separator."""
    if not isinstance(value, str) or not re.fullmatch(_NUMBER, value, re.ASCII):
        raise ValueError("is no plain decimal number below 10^15 with at most 18 decimals, such as '50' or '0.25'")
    return Decimal(value)


def _read_whole(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        raise ValueError("is no whole number")
    return int(value)


def _read_moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year <= 9000:
        raise ValueError("is no time with a zone, such as '2027-01-01T00:00:00Z'")
    return moment.astimezone(UTC)


def _read_dimensions(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or any(not isinstance(part, str) for part in value.values()):
        raise ValueError("is no object of texts")
    return value


Number = Annotated[Decimal, BeforeValidator(_read_number), WithJsonSchema({"type": "string", "pattern": f"^{_NUMBER}$"})]
Whole = Annotated[int, BeforeValidator(_read_whole), WithJsonSchema({"type": "integer"})]
Moment = Annotated[datetime, BeforeValidator(_read_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Dimensions = Annotated[dict[str, str], BeforeValidator(_read_dimensions)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class AdjustData(_Data):
    """`data` of boss.balance.adjust: a correction by hand, of either sign. Exactly one of amount and quantity."""

    amount: Number | None = None
    """Money, in the account's currency."""
    meter: Name | None = None
    """With a quantity: the meter whose units these are. It sums up or counts."""
    quantity: Number | None = None
    """Units of the meter."""
    bucket: Name = MAIN
    """The bucket. Units need one of their own; one that does not exist comes into being."""
    currency: Name | None = None
    """If it is given, it must be the account's."""
    note: Name | None = None
    """Why; kept on the row."""

    @model_validator(mode="after")
    def _is_money_or_units(self) -> Self:
        if (self.amount is None) == (self.quantity is None):
            raise ValueError("needs either an amount of money or a quantity of units")
        if (self.quantity is None) != (self.meter is None):
            raise ValueError("needs a meter for a quantity of units, and only for that")
        if self.meter is not None and self.bucket == MAIN:
            raise ValueError(f"needs the name of a bucket for units; '{MAIN}' holds money")
        if not (self.amount or self.quantity):
            raise ValueError("moves nothing: the amount or quantity is 0")
        return self


class TopupData(AdjustData):
    """`data` of boss.balance.topup. Exactly one of amount and quantity, above 0."""

    priority: Annotated[Whole, Field(ge=0, le=1_000_000)] | None = None
    """Lower ones are used first; 100 for a bucket that was given none. The newest top-up that says one counts."""
    valid_from: Moment | None = None
    """The bucket pays for usage from this time on; absent: it always did."""
    valid_to: Moment | None = None
    """The bucket pays for usage before this time; absent: for ever, or as it was."""

    @model_validator(mode="after")
    def _adds_something_valid(self) -> Self:
        if (self.amount or self.quantity or 0) < 0:
            raise ValueError("takes away instead of adding; send boss.balance.adjust for that")
        if self.bucket == MAIN and (self.valid_from or self.valid_to):
            raise ValueError(f"needs the name of a bucket for a validity; '{MAIN}' has none")
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError("ends before it begins: valid_to is not after valid_from")
        return self


class ReservationData(_Data):
    """`data` of boss.reservation.request and .update. Exactly one of expires_at and seconds."""

    session: Name
    """Names the session within the account: a call, a connection."""
    meter: Name
    """The meter of the usage to come."""
    quantity: Number
    """Units wanted, in an update all that have not come as usage yet. As many are granted as can be paid for."""
    least: Number | None = None
    """Fewer than these are no use: then nothing is granted."""
    max_cost: Number | None = None
    """The session may cost no more than this."""
    dimensions: Dimensions = {}
    """The dimensions of the usage to come, as its `data` will have them."""
    expires_at: Moment | None = None
    """When it ends by itself."""
    seconds: Annotated[Whole, Field(ge=1, le=31_536_000)] | None = None
    """So many seconds after the event's time it ends by itself."""

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if (self.expires_at is None) == (self.seconds is None):
            raise ValueError("needs either expires_at or seconds")
        if self.quantity <= 0 or (self.least or 0) < 0 or (self.max_cost or 0) < 0:
            raise ValueError("wants a quantity above 0, and no negative least or max_cost")
        return self


class ReleaseData(_Data):
    """`data` of boss.reservation.release."""

    session: Name
    """The session that ends without usage, or whose usage comes without its name."""


ORDER_DATA: dict[OrderType, type[_Data]] = {
    OrderType.TOPUP: TopupData,
    OrderType.ADJUST: AdjustData,
    OrderType.REQUEST: ReservationData,
    OrderType.UPDATE: ReservationData,
    OrderType.RELEASE: ReleaseData,
}
"""What stands in the `data` of each."""
