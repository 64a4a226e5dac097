"""The canonical form of a book or roster: rows in one order, and a digest that depends on content only.

Two sources that say the same, in another order or in other files, give the same digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import polars as pl

from schemas.book import BOOK_FRAMES, Book
from schemas.frames import FrameSchema
from schemas.roster import ROSTER_FRAMES, Roster

ROW_KEYS = {
    "meters": ["meter_id"],
    "plans": ["plan_id"],
    "carriers": ["carrier_id"],
    "prices": ["price_id", "valid_from", "price_version"],
    "tiers": ["price_id", "price_version", "tier"],
    "filters": ["price_id", "price_version", "dimension", "excluded"],
    "taxes": ["country", "tax_class", "valid_from"],
    "agreements": ["agreement_id", "price_id"],
    "agreement_tiers": ["agreement_id", "tier"],
    "calendars": ["calendar_id"],
    "calendar_windows": ["calendar_id", "begins", "name", "days", "holidays"],
    "calendar_days": ["calendar_id", "day"],
    "accounts": ["account_id"],
    "subscriptions": ["subscription_id", "plan_id", "active_from"],
    "identifiers": ["identifier", "valid_from", "subscription_id"],
    "overrides": ["price_id", "account_id", "subscription_id", "valid_from"],
    "partners": ["partner_id"],
    "limits": ["limit_id"],
}
"""What makes a row of each frame unique, and the order of its rows."""


def seal_book(frames: Mapping[str, pl.DataFrame], version: int = 0) -> Book:
    """A Book of these frames in canonical order, with its digest."""
    ordered = arrange(frames, BOOK_FRAMES)
    return Book(version=version, digest=digest_of(ordered), **ordered)


def seal_roster(frames: Mapping[str, pl.DataFrame], version: int = 0) -> Roster:
    """A Roster of these frames in canonical order, with its digest."""
    ordered = arrange(frames, ROSTER_FRAMES)
    return Roster(version=version, digest=digest_of(ordered), **ordered)


def arrange(frames: Mapping[str, pl.DataFrame], schemas: Mapping[str, FrameSchema]) -> dict[str, pl.DataFrame]:
    """Every frame cut to its schema and sorted by its key; a missing frame is empty."""
    return {
        name: schema.select(frames[name] if name in frames else schema.empty()).sort(ROW_KEYS[name], nulls_last=False)
        for name, schema in schemas.items()
    }


def digest_of(frames: Mapping[str, pl.DataFrame]) -> str:
    """sha256 over the content as text: frame names, column names and every cell, none of which holds a separator."""
    digest = sha256()
    for name, frame in frames.items():
        digest.update("\x1f".join([name, *frame.columns]).encode() + b"\x1d")
        rows = frame.select(pl.concat_str([cell_text(*column) for column in frame.schema.items()], separator="\x1f"))
        for text in rows.to_series():
            digest.update(text.encode() + b"\x1d")
    return digest.hexdigest()


def cell_text(column: str, dtype: pl.DataType) -> pl.Expr:
    """A column of that type as exact text; a null is a byte no text holds."""
    cell = pl.col(column)
    if isinstance(dtype, pl.List):
        cell = cell.cast(pl.List(pl.String)).list.join("\x1e")
    elif isinstance(dtype, pl.Datetime):
        cell = cell.dt.epoch("us").cast(pl.String)
    else:
        cell = cell.cast(pl.String)
    return cell.fill_null("\x00")
