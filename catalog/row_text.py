"""Rows of a book or roster as text a person reads, for comparing versions."""

from __future__ import annotations

import polars as pl


def readable(frame: pl.DataFrame, column: str) -> pl.Expr:
    """A column as short text: numbers without trailing zeros, instants to the second, lists joined; null stays null."""
    cell, dtype = pl.col(column), frame.schema[column]
    if isinstance(dtype, pl.List):
        text = _inner_text(cell, dtype.inner).list.join(", ")
    elif isinstance(dtype, pl.Decimal):
        text = cell.cast(pl.String).str.replace(r"\.?0+$", "")
    elif isinstance(dtype, pl.Datetime):
        text = cell.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    else:
        text = cell.cast(pl.String)
    return text.alias(column)


def _inner_text(cell: pl.Expr, inner: object) -> pl.Expr:
    """The list with its numbers as short text."""
    if not isinstance(inner, pl.Decimal):
        return cell
    element = pl.element().cast(pl.String).str.replace(r"\.?0+$", "")
    return cell.list.eval(element)


def described(frame: pl.DataFrame, columns: list[str]) -> pl.Expr:
    """The columns that are not null as 'name value' pairs in one text."""
    pairs = [pl.format("{} {}", pl.lit(column.replace("_", " ")), readable(frame, column)) for column in columns]
    return pl.concat_str(pairs, separator=", ", ignore_nulls=True)
