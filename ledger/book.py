"""The ledger as a whole: a table, in a folder or in object storage, for each kind of row that BOSS keeps for good."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from ledger.objects import ObjectPlace
from ledger.store import Store
from ledger.table import LedgerTable
from schemas.billing import INVOICES, LINES, OUTCOMES, RUNS, STATEMENT_LINES, STATEMENTS
from schemas.frames import FrameSchema
from schemas.ledger import POSITION_KEY, POSTINGS, SENT_NOTICES
from schemas.metrics import MOVEMENTS, SUMMARY
from schemas.usage import REJECTS


@dataclass(frozen=True)
class Ledger:
    """The tables of one ledger folder. A field's name is the table's folder and the name it is queried by."""

    postings: LedgerTable
    rejects: LedgerTable
    sent_notices: LedgerTable
    runs: LedgerTable
    lines: LedgerTable
    invoices: LedgerTable
    outcomes: LedgerTable
    statements: LedgerTable
    statement_lines: LedgerTable
    movements: LedgerTable
    summary: LedgerTable

    def tables(self) -> dict[str, LedgerTable]:
        """Every table by its name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


_TABLES: dict[str, tuple[FrameSchema, str | None, list[str]]] = {
    "postings": (POSTINGS, "usage_month", ["account_id", "subscription_id", "price_id"]),
    "rejects": (REJECTS, None, ["stream", "stream_partition", "stream_offset", "event_index"]),
    "sent_notices": (SENT_NOTICES, None, POSITION_KEY),
    "runs": (RUNS, None, ["period", "stream", "stream_partition"]),
    "lines": (LINES, None, ["period", "account_id", "line"]),
    "invoices": (INVOICES, None, ["period", "invoice_no", "account_id"]),
    "outcomes": (OUTCOMES, None, ["period", "account_id", "currency"]),
    "statements": (STATEMENTS, None, ["period", "partner_id", "currency"]),
    "statement_lines": (STATEMENT_LINES, None, ["period", "partner_id", "line"]),
    "movements": (MOVEMENTS, None, ["period", "account_id", "currency", "movement"]),
    "summary": (SUMMARY, None, ["period", "currency"]),
}
"""Table -> its columns, the column its folders are named by, and the order inside its files."""


def open_ledger(place: Path | ObjectPlace) -> Ledger:
    """The ledger in a folder or in object storage. Touches nothing: a table comes into being with its first append."""

    def store(name: str) -> Path | Store:
        return place / name if isinstance(place, Path) else place.table(name)

    return Ledger(**{name: LedgerTable(store(name), schema, by, order) for name, (schema, by, order) in _TABLES.items()})
