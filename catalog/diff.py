"""What changed between two versions of a price book or roster, one readable row per change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from catalog.row_text import described, readable
from schemas.book import BOOK_FRAMES, PRICES, Book
from schemas.frames import FrameSchema
from schemas.roster import ROSTER_FRAMES, Roster

CHANGES = FrameSchema(
    "CHANGES",
    {
        "what": pl.String,  # meter, calendar, plan, carrier, price, tier, filter, tax, agreement; account, subscription ...
        "id": pl.String,
        "version": pl.String,  # price version, or the day from which the row holds; null where there is none
        "change": pl.String,  # added | removed | changed
        "before": pl.String,  # 'unit price 0.05'; null when added
        "after": pl.String,  # null when removed
    },
)
"""One row per row that came or went, and per value that changed."""

CHANGED_PRICES = FrameSchema(
    "CHANGED_PRICES",
    {
        "price_id": pl.String,
        "price_version": pl.String,  # '2026-01-01' of the list, '2026-01-01/acme' of own terms
        "change": pl.String,  # added | removed | changed
    },
)
"""One row per price version of which a price, tier or filter row differs."""


class _Identity(NamedTuple):
    """How rows of a frame are told apart, and how they are called in a diff."""

    what: str
    key: Sequence[str]
    id: pl.Expr
    version: pl.Expr


def _since(column: str) -> pl.Expr:
    return pl.col(column).dt.strftime("%Y-%m-%dT%H:%M:%SZ")


_NO_VERSION = pl.lit(None, dtype=pl.String)
_CUSTOMER = pl.coalesce(pl.format("subscription {}", "subscription_id"), pl.format("account {}", "account_id"))
_PRICE_KEY = ["price_id", "price_version"]

_IDENTITIES = {
    "meters": _Identity("meter", ["meter_id"], pl.col("meter_id"), _NO_VERSION),
    "plans": _Identity("plan", ["plan_id"], pl.col("plan_id"), _NO_VERSION),
    "carriers": _Identity("carrier", ["carrier_id"], pl.col("carrier_id"), _NO_VERSION),
    "prices": _Identity("price", _PRICE_KEY, pl.col("price_id"), pl.col("price_version")),
    "tiers": _Identity("tier", [*_PRICE_KEY, "tier"], pl.format("{} tier {}", "price_id", "tier"), pl.col("price_version")),
    "filters": _Identity(
        "filter",
        [*_PRICE_KEY, "dimension", "excluded"],
        pl.format("{} by {}", "price_id", "dimension"),
        pl.col("price_version"),
    ),
    "taxes": _Identity(
        "tax", ["country", "tax_class", "valid_from"], pl.format("{} {}", "country", "tax_class"), _since("valid_from")
    ),
    "agreements": _Identity(
        "agreement", ["agreement_id", "price_id"], pl.format("{} for {}", "agreement_id", "price_id"), _NO_VERSION
    ),
    "agreement_tiers": _Identity(
        "agreement tier", ["agreement_id", "tier"], pl.format("{} tier {}", "agreement_id", "tier"), _NO_VERSION
    ),
    "calendars": _Identity("calendar", ["calendar_id"], pl.col("calendar_id"), _NO_VERSION),
    "calendar_windows": _Identity(
        "window",
        ["calendar_id", "begins", "name", "days", "holidays"],
        pl.format("{} of {}", "name", "calendar_id"),
        _NO_VERSION,
    ),
    "calendar_days": _Identity("day", ["calendar_id", "day"], pl.col("calendar_id"), pl.col("day").cast(pl.String)),
    "accounts": _Identity("account", ["account_id"], pl.col("account_id"), _NO_VERSION),
    "subscriptions": _Identity(
        "subscription",
        ["subscription_id", "plan_id", "active_from"],
        pl.format("{} with {}", "subscription_id", "plan_id"),
        _since("active_from"),
    ),
    "identifiers": _Identity(
        "identifier", ["identifier", "subscription_id", "valid_from"], pl.col("identifier"), _since("valid_from")
    ),
    "overrides": _Identity(
        "override",
        ["price_id", "account_id", "subscription_id", "valid_from"],
        pl.format("{} for {}", "price_id", _CUSTOMER),
        _since("valid_from"),
    ),
    "limits": _Identity("limit", ["limit_id"], pl.col("limit_id"), _NO_VERSION),
    "partners": _Identity("partner", ["partner_id"], pl.col("partner_id"), _NO_VERSION),
}


def diff_books(old: Book | None, new: Book) -> pl.DataFrame:
    """CHANGES from the old book (None: an empty one) to the new, in the order of frames and ids."""
    return _diff(BOOK_FRAMES, old, new)


def diff_rosters(old: Roster | None, new: Roster) -> pl.DataFrame:
    """CHANGES from the old roster (None: an empty one) to the new, in the order of frames and ids."""
    return _diff(ROSTER_FRAMES, old, new)


def changed_prices(old: tuple[Book | None, Roster | None], new: tuple[Book, Roster]) -> pl.DataFrame:
    """CHANGED_PRICES of list prices and own terms, by (price_id, price_version)."""
    before, after = _price_texts(old), _price_texts(new)
    both = before.join(after, on=_PRICE_KEY, how="full", coalesce=True, suffix="_after")
    kind = pl.when(pl.col("text").is_null()).then(pl.lit("added")).when(pl.col("text_after").is_null()).then(pl.lit("removed"))
    changed = both.filter(pl.col("text").ne_missing(pl.col("text_after"))).with_columns(
        change=kind.otherwise(pl.lit("changed"))
    )
    return CHANGED_PRICES.select(changed.sort(_PRICE_KEY))


def _price_texts(versions: tuple[Book | None, Roster | None]) -> pl.DataFrame:
    """`price_id`, `price_version` and all that is said of it as one `text`."""
    schemas = {name: BOOK_FRAMES[name] for name in ("prices", "tiers", "filters")}
    parts = [PRICES.empty().select(*_PRICE_KEY, text=pl.lit(""))]
    for version in versions:
        frames = [getattr(version, name) for name in schemas if hasattr(version, name)]
        parts += [frame.select(*_PRICE_KEY, text=described(frame, frame.columns)) for frame in frames]
    return pl.concat(parts).group_by(_PRICE_KEY).agg(pl.col("text").sort().str.join("; "))


def _diff(schemas: Mapping[str, FrameSchema], old: object, new: object) -> pl.DataFrame:
    parts = [
        _diff_frame(_IDENTITIES[name], schema.empty() if old is None else getattr(old, name), getattr(new, name))
        for name, schema in schemas.items()
    ]
    return CHANGES.select(pl.concat(parts))


def _diff_frame(identity: _Identity, old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    key = list(identity.key)
    gone = _named(identity, old.join(new, on=key, how="anti", nulls_equal=True), "removed", "before")
    came = _named(identity, new.join(old, on=key, how="anti", nulls_equal=True), "added", "after")
    changed = [_changed_column(identity, old, new, column) for column in new.columns if column not in key]
    return pl.concat([gone, came, *changed]).sort("id", "version", "change", maintain_order=True)


def _named(identity: _Identity, rows: pl.DataFrame, change: str, side: str) -> pl.DataFrame:
    """CHANGES of whole rows, described on one side."""
    return rows.select(
        what=pl.lit(identity.what),
        id=identity.id,
        version=identity.version,
        change=pl.lit(change),
        before=described(rows, rows.columns) if side == "before" else _NO_VERSION,
        after=described(rows, rows.columns) if side == "after" else _NO_VERSION,
    )


def _changed_column(identity: _Identity, old: pl.DataFrame, new: pl.DataFrame, column: str) -> pl.DataFrame:
    """CHANGES of one column in the rows that both have."""
    key = list(identity.key)
    left = old.select(*key, readable(old, column).alias("before"))
    right = new.select(*key, readable(new, column).alias("after"))
    label = column.replace("_", " ")
    both = left.join(right, on=key, nulls_equal=True).filter(pl.col("before").ne_missing(pl.col("after")))
    return both.select(
        what=pl.lit(identity.what),
        id=identity.id,
        version=identity.version,
        change=pl.lit("changed"),
        before=pl.format(f"{label} {{}}", pl.col("before").fill_null("none")),
        after=pl.format(f"{label} {{}}", pl.col("after").fill_null("none")),
    )
