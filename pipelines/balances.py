"""`boss balance`: what a prepaid account has left, and the events that change it.

Every change is an event. With Kafka it goes to the usage topic and we wait until the ledger has passed it; without, this
process rates it itself, as the only writer. Either way it is tried first, so that what would be rejected is refused at once.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.state import Part, aggregate_totals, balance_moves, order_ids
from ledger.table import source_id
from pipelines.decode import decode_batches
from pipelines.posted_usage import position_text
from pipelines.rate_file import now_ms, rate_chunks
from pipelines.send import send_events, wait_for_ledger
from pipelines.workspace import Workspace
from rating.balance.accounts import Account, Balances, Bucket, Session, to_text
from rating.batch import Rated, rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import Terms, compile_terms
from schemas.balance import RESERVED, OrderType
from schemas.errors import Refused
from schemas.frames import AMOUNT, INSTANT, FrameSchema
from schemas.ledger import Role
from schemas.money import AMOUNT_SCALE
from schemas.usage import RawBatch

STREAM = "command:balance"
"""Names the position of events that these commands write to the ledger themselves."""

SOURCE = "/boss/balance"

BUCKETS = FrameSchema(
    "BUCKETS",
    {
        "account_id": pl.String,
        "bucket": pl.String,
        "holds": pl.String,  # a currency, or a meter whose units these are
        "priority": pl.Int64,
        "valid_from": INSTANT,
        "valid_to": INSTANT,
        "used": AMOUNT,
        "left": AMOUNT,
        "in_force": pl.Boolean,
    },
)
"""One row per bucket of an account, the first to be used first."""

SESSIONS = FrameSchema(
    "SESSIONS",
    {
        "account_id": pl.String,
        "session": pl.String,
        "meter_id": pl.String,
        "granted": AMOUNT,
        "held_money": AMOUNT,
        "held_units": AMOUNT,
        "expires_at": INSTANT,
    },
)
"""One row per running session of an account."""

NOTICES = FrameSchema(
    "NOTICES",
    {
        "notice_id": pl.String,
        "type": pl.String,
        "account_id": pl.String,
        "occurred_at": INSTANT,
        "data": pl.String,  # JSON
    },
)
"""One row per notice, in the order in which each account got them. The id is the position of its row in the ledger."""

ANSWER = FrameSchema(
    "ANSWER",
    {
        "wanted": AMOUNT,
        "granted": AMOUNT,
        "cost": AMOUNT,
        "covered_units": AMOUNT,
        "remaining": AMOUNT,
        "reason": pl.String,  # why it is less than was wanted; null if it is not
    },
)
"""One row: how much may be used."""


def show_balance(workspace: Workspace, account_id: str, at: datetime | None = None) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """BUCKETS, SESSIONS and a sentence about an account.

    Args:
        at: The time at which buckets are in force and sessions run; None is now.

    Raises:
        Refused: The roster has no such account, or it is not prepaid.
    """
    _, roster = workspace.load()
    found = roster.accounts.filter(pl.col("account_id") == account_id)
    if found.is_empty():
        raise Refused(f'There is no account {account_id}. `boss sql "select account_id from accounts"` lists them.')
    currency, charging = found.select("currency", "charging").row(0)
    account = read_balances(workspace, account_id).account(account_id)
    if charging != "prepaid" and not account.moves:
        raise Refused(f"Account {account_id} is invoiced and has no balance. Write 'charging: prepaid' in the roster.")
    moment = at or datetime.now(UTC)
    running = [session for session in account.sessions.values() if session.expires_at > moment]
    buckets = [_bucket_row(account_id, bucket, currency, moment) for bucket in _in_order(account)]
    sessions = [_session_row(account_id, session) for session in sorted(running, key=lambda session: session.name)]
    money, held = account.money(moment), sum(session.held_scaled for session in running)
    sentence = (
        f"{account_id}: {to_text(money, AMOUNT_SCALE)} {currency} left, {to_text(held, AMOUNT_SCALE)} of it reserved by "
        f"{len(running)} running sessions."
    )
    return BUCKETS.build(buckets), SESSIONS.build(sessions), sentence


def read_balances(workspace: Workspace, account_id: str | None = None) -> Balances:
    """Every balance, or one, from the ledger."""
    balances = Balances()
    moves = balance_moves(workspace.ledger().postings)
    balances.load(moves if account_id is None else moves.filter(pl.col("account_id") == account_id))
    return balances


def list_notices(workspace: Workspace, account_id: str | None = None) -> pl.DataFrame:
    """NOTICES of all accounts, or of one."""
    rows = workspace.ledger().postings.scan().filter(pl.col("role") == Role.NOTICE.value)
    mine = rows if account_id is None else rows.filter(pl.col("account_id") == account_id)
    told = mine.sort("account_id", "after_quanta").select(
        position_text().alias("notice_id"),
        pl.col("price_id").alias("type"),
        "account_id",
        "occurred_at",
        pl.col("dimensions").alias("data"),
    )
    return NOTICES.select(told.collect())


def make_order(kind: OrderType, subject: str, data: dict[str, Any], event_id: str | None = None) -> bytes:
    """An event about a balance, as it is sent."""
    event = {
        "specversion": "1.0",
        "id": event_id or str(uuid.uuid4()),
        "source": SOURCE,
        "type": kind.value,
        "subject": subject,
        "time": datetime.now(UTC).isoformat(),
        "data": {name: value for name, value in data.items() if value is not None},
    }
    return json.dumps(event, ensure_ascii=False).encode()


def place_order(workspace: Workspace, event: bytes, report: Callable[[str], None]) -> Rated:
    """Bring an event about a balance into the ledger, over the topic or directly; gives what it became when it was tried.

    Raises:
        Refused: It would be rejected; nothing was sent or written.
        LedgerBusy: Without Kafka: a worker or another command writes this ledger.
    """
    tried = try_order(workspace, event)
    if tried.duplicates:
        return tried
    if workspace.settings.kafka:
        sent = send_events(workspace, workspace.load()[1], [event], report)
        if sent.refused:
            raise Refused(sent.refused[0])
        wait_for_ledger(workspace, sent.reached, report)
    else:
        rate_chunks(workspace, _one_message(workspace, event), lambda _: None)
    return tried


def try_order(workspace: Workspace, event: bytes) -> Rated:
    """What an event about a balance would become now. Writes nothing.

    Raises:
        Refused: It would be rejected, with the reason.
    """
    book, roster = workspace.load()
    terms = compile_terms(book, roster)
    decoded = decode_batches([RawBatch("trial", 0, [0], [event], [now_ms()])], book)
    postings, balances, counters, seen = workspace.ledger().postings, read_balances(workspace), Counters(), SeenEvents()
    seen.add(order_ids(postings))
    counters.load(aggregate_totals(postings, Part(accounts=_accounts_of(decoded.events, terms))))
    rated = rate_batch(decoded.events, terms, counters, seen, balances=balances)
    rejects = pl.concat([decoded.rejects.select("detail"), rated.rejects.select("detail")])
    if rejects.height:
        raise Refused(f"Refused: {rejects['detail'][0]} Nothing was changed.")
    return rated


def read_answer(rated: Rated) -> pl.DataFrame:
    """ANSWER to a reservation."""
    answer = rated.postings.filter(pl.col("price_id").str.starts_with(f"{RESERVED}reservation."))
    facts = json.loads(answer["dimensions"][0])
    names = {"wanted": "wanted", "granted": "granted", "cost": "held", "covered_units": "held_units", "remaining": "remaining"}
    row: dict[str, object] = {name: Decimal(facts[key]) for name, key in names.items()}
    return ANSWER.build([row | {"reason": facts.get("reason")}])


def _one_message(workspace: Workspace, event: bytes) -> Iterator[RawBatch]:
    """The event behind what these commands wrote before. Asked for the position only when the ledger is ours alone."""
    have = workspace.ledger().postings.position(source_id(STREAM, 0))
    yield RawBatch(STREAM, 0, [0 if have is None else have + 1], [event], [now_ms()])


def _accounts_of(events: pl.DataFrame, terms: Terms) -> list[str]:
    """The accounts that events may concern: by their own name, or as a subscription or identifier."""
    subjects = events.select(identifier="subject")
    payers = subjects.join(terms.holders, on="identifier").join(terms.subscriptions, on="holder")["account_id"]
    return sorted({*subjects["identifier"], *payers})


def _in_order(account: Account) -> list[Bucket]:
    return sorted(account.buckets.values(), key=lambda bucket: bucket.order)


def _bucket_row(account_id: str, bucket: Bucket, currency: str, at: datetime) -> dict[str, object]:
    scale = bucket.quantity_scale if bucket.meter_id else AMOUNT_SCALE
    return {
        "account_id": account_id,
        "bucket": bucket.name,
        "holds": bucket.meter_id or currency,
        "priority": bucket.priority,
        "valid_from": bucket.valid_from,
        "valid_to": bucket.valid_to,
        "used": _decimal(bucket.used, scale),
        "left": _decimal(bucket.left, scale),
        "in_force": bucket.in_force(at),
    }


def _session_row(account_id: str, session: Session) -> dict[str, object]:
    return {
        "account_id": account_id,
        "session": session.name,
        "meter_id": session.meter_id,
        "granted": _decimal(session.quanta, session.quantity_scale),
        "held_money": _decimal(session.held_scaled, AMOUNT_SCALE),
        "held_units": _decimal(session.held_quanta, session.quantity_scale),
        "expires_at": session.expires_at,
    }


def _decimal(quanta: int, scale: int) -> Decimal:
    return Decimal(to_text(quanta, scale))
