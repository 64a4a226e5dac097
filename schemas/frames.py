"""A declared schema for every frame that passes between stages.

Inside BOSS data travels as Polars frames, never as dicts. A stage ends with `SCHEMA.select(frame)`, so a missing or
mistyped column fails in the stage that made it and not three stages later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from schemas.errors import BrokenPromise

AMOUNT = pl.Decimal(38, 18)
"""Money and prices: exact decimals with 18 places, 128 bits wide."""

INSTANT = pl.Datetime("us", "UTC")
"""A moment in time, always UTC."""


@dataclass(frozen=True)
class FrameSchema:
    """The columns of one kind of frame, in order, with their types."""

    name: str
    columns: Mapping[str, pl.DataType | type[pl.DataType]]

    def names(self) -> list[str]:
        return list(self.columns)

    def empty(self) -> pl.DataFrame:
        """A frame of this schema without rows."""
        return pl.DataFrame(schema=dict(self.columns))

    def select(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame cut to exactly these columns, in this order.

        Raises:
            BrokenPromise: A column is missing or has another type. Nothing is cast: a stage that gets a type wrong is wrong.
        """
        found = frame.schema
        missing = [name for name in self.columns if name not in found]
        if missing:
            raise BrokenPromise(f"{self.name} lacks the columns {', '.join(missing)}")
        wrong = [f"{name} is {found[name]}, not {dtype}" for name, dtype in self.columns.items() if found[name] != dtype]
        if wrong:
            raise BrokenPromise(f"{self.name}: {'; '.join(wrong)}")
        return frame if list(found) == self.names() else frame.select(self.names())

    def build(self, rows: list[dict[str, object]]) -> pl.DataFrame:
        """A frame of this schema from plain rows; absent keys are null. For small tables and tests."""
        return pl.DataFrame(
            {name: [row.get(name) for row in rows] for name in self.columns}, schema=dict(self.columns), strict=True
        )
