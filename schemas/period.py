"""The billing month: `2026-10` means the usage periods that start in October 2026.

Periods are half-open. A usage period starts on the account's billing day at midnight in the account's zone and ends where
the next one starts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from schemas.errors import BadPeriod


@dataclass(frozen=True, order=True)
class Period:
    """One calendar month, named as `YYYY-MM`."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> Period:
        """Raises BadPeriod when the text is no month between 2000-01 and 2099-12."""
        match = re.fullmatch(r"(20\d\d)-(0[1-9]|1[0-2])", text)
        if match is None:
            raise BadPeriod(text)
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Period:
        return cls(day.year, day.month)

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    def next(self) -> Period:
        return self.plus(1)

    def previous(self) -> Period:
        return self.plus(-1)

    def plus(self, months: int) -> Period:
        index = self.year * 12 + self.month - 1 + months
        return Period(index // 12, index % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"
