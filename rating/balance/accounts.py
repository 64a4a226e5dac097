"""What every prepaid account has left, in memory. Rebuilt from the ledger when a worker starts, never stored on its own.

Rows of the ledger are the only way in which a balance changes: the same `apply` that follows a batch rebuilds the state, so
what a restart finds is what was there. Few accounts of a batch pay in advance, so this is plain Python, row by row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from schemas.balance import USUAL_PRIORITY, Move
from schemas.ledger import BALANCE_ROLES, MOVE_COLUMNS, Role
from schemas.money import AMOUNT_SCALE

FAR = datetime(9999, 12, 31, tzinfo=UTC)
_STARTS = (Move.REQUEST, Move.UPDATE)


class Moved(NamedTuple):
    """One change of an account: a row of the ledger, or one to be."""

    role: str
    charge: str
    name: str  # of the bucket, session or notice
    meter_id: str | None
    quantity_scale: int
    quanta: int
    scaled: int  # money at scale 18
    facts: dict[str, Any]
    occurred_at: datetime


@dataclass
class Bucket:
    """A part of a balance: money, or units of one meter."""

    name: str
    meter_id: str | None = None  # None: money
    quantity_scale: int = 0
    priority: int = USUAL_PRIORITY
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    left: int = 0  # money at scale 18, or quanta
    used: int = 0  # what usage has taken, and not given back

    @property
    def order(self) -> tuple[int, datetime, str]:
        """Lower ones are used first."""
        return self.priority, self.valid_to or FAR, self.name

    def in_force(self, start: datetime, end: datetime | None = None) -> bool:
        """Whether it pays for usage at `start`, and until `end`."""
        lasts = self.valid_to is None or (start < self.valid_to if end is None else end <= self.valid_to)
        return lasts and (self.valid_from is None or self.valid_from <= start)


@dataclass(frozen=True)
class Session:
    """What a running session has reserved."""

    name: str
    subject: str
    meter_id: str
    quantity_scale: int
    dimensions: dict[str, str]
    since: datetime  # of its last request: the prices in force then
    expires_at: datetime
    quanta: int  # granted
    held_scaled: int  # money that was reserved for them
    held_quanta: int  # units of buckets that were


@dataclass
class Account:
    """One account's buckets and sessions."""

    moves: int = 0  # rows so far
    level: int = 0  # place in LEVELS
    latest: datetime | None = None  # the latest time of all its rows; nothing else tells the time
    buckets: dict[str, Bucket] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    def copy(self) -> Account:
        buckets = {name: replace(bucket) for name, bucket in self.buckets.items()}
        return replace(self, buckets=buckets, sessions=dict(self.sessions))

    def paying(self, meter_id: str | None, start: datetime, end: datetime | None = None) -> list[Bucket]:
        """The buckets of money (None) or of units of a meter that are in force, the first to be used first."""
        mine = [bucket for bucket in self.buckets.values() if bucket.meter_id == meter_id and bucket.in_force(start, end)]
        return sorted(mine, key=lambda bucket: bucket.order)

    def money(self, start: datetime, end: datetime | None = None) -> int:
        """Money left, at scale 18."""
        return sum(bucket.left for bucket in self.paying(None, start, end))

    def bucket(self, name: str, meter_id: str | None, quantity_scale: int) -> Bucket:
        """The bucket of that name; an empty one if there is none yet."""
        return self.buckets.setdefault(name, Bucket(name, meter_id, quantity_scale))

    def apply(self, moved: Moved) -> None:
        """Take over one change."""
        self.latest = moved.occurred_at if self.latest is None else max(self.latest, moved.occurred_at)
        if moved.role == Role.NOTICE:
            self.level += moved.quanta
        elif moved.role == Role.HOLD:
            self._hold(moved)
        else:
            self._fill(moved)

    def _fill(self, moved: Moved) -> None:
        counts_units = moved.quanta != 0
        bucket = self.bucket(moved.name, moved.meter_id if counts_units else None, moved.quantity_scale)
        step = moved.quanta if counts_units else moved.scaled
        bucket.left += step
        if moved.charge == Move.DEDUCT:
            bucket.used -= step
            return
        bucket.priority = moved.facts.get("priority", bucket.priority)
        for end in ("valid_from", "valid_to"):
            if end in moved.facts:
                setattr(bucket, end, datetime.fromisoformat(moved.facts[end]))

    def _hold(self, moved: Moved) -> None:
        if moved.charge not in _STARTS:
            self.sessions.pop(moved.name, None)
            return
        facts = moved.facts
        self.sessions[moved.name] = Session(
            name=moved.name,
            subject=facts["subject"],
            meter_id=moved.meter_id or "",
            quantity_scale=moved.quantity_scale,
            dimensions=facts["dimensions"],
            since=moved.occurred_at,
            expires_at=datetime.fromisoformat(facts["expires_at"]),
            quanta=to_quanta(facts["granted"], moved.quantity_scale),
            held_scaled=to_quanta(facts["held"], AMOUNT_SCALE),
            held_quanta=to_quanta(facts["held_units"], moved.quantity_scale),
        )


class Balances:
    """The accounts that have rows of a balance."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def load(self, moves: pl.DataFrame) -> None:
        """Replace everything.

        Args:
            moves: MOVE_COLUMNS; rows of one kind may be added up to one, which then has the number of the last of them.
        """
        self._accounts = {}
        self._take(moves)

    def account(self, account_id: str) -> Account:
        """A copy of what an account has; an empty one for an account without rows."""
        known = self._accounts.get(account_id)
        return known.copy() if known else Account()

    def with_units(self) -> set[str]:
        """The accounts that have buckets of units."""
        return {name for name, account in self._accounts.items() if any(b.meter_id for b in account.buckets.values())}

    def names(self) -> list[str]:
        return sorted(self._accounts)

    def advance(self, postings: pl.DataFrame) -> None:
        """Take over the rows of these POSTINGS, once they are in the ledger."""
        self._take(postings.filter(pl.col("role").is_in(BALANCE_ROLES)).select(MOVE_COLUMNS))

    def _take(self, moves: pl.DataFrame) -> None:
        ordered = moves.sort("account_id", "after_quanta").with_columns(pl.col("amount").to_physical())
        for name, role, charge, *rest, number in ordered.select(MOVE_COLUMNS).iter_rows():
            account = self._accounts.setdefault(name, Account())
            bucket, meter_id, scale, quanta, scaled, facts, at = rest
            account.apply(Moved(role, charge, bucket, meter_id, scale, quanta, scaled, json.loads(facts or "{}"), at))
            account.moves = max(account.moves, number)


def to_quanta(text: str, scale: int) -> int:
    """'1.5' at scale 3 is 1500."""
    return int(Decimal(text).scaleb(scale))


def to_text(quanta: int, scale: int) -> str:
    """1500 at scale 3 is '1.5'. Digits are moved, not divided: exact whatever the size."""
    digits = str(abs(quanta)).rjust(scale + 1, "0")
    whole, part = digits[: len(digits) - scale], digits[len(digits) - scale :].rstrip("0")
    return ("-" if quanta < 0 else "") + whole + (f".{part}" if part else "")
