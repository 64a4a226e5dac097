"""Collects every mistake found in catalog and roster files, each with the file, line and column where it stands.

Reading goes on after a mistake, so that a pricing owner sees all of them in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple, Protocol

from schemas.errors import BadCatalog

Step = str | int
"""One step of a path into a file: a key or a place in a list."""


class Source(Protocol):
    """A file that can say where in it something stands."""

    @property
    def path(self) -> Path: ...

    def locate(self, steps: Sequence[Step], *, key: bool) -> tuple[int, int]:
        """Line and column, from 1, of the value (or of its key) at these steps; of its nearest parent if it is absent."""
        ...

    def label(self, steps: Sequence[Step]) -> str:
        """The steps as a user writes them."""
        ...


class Place(NamedTuple):
    """A spot in a source."""

    source: Source
    steps: tuple[Step, ...] = ()

    def at(self, *more: Step) -> Place:
        return Place(self.source, self.steps + more)

    def entry(self) -> Place:
        """The entry of a list, or the row, in which it stands."""
        first = next((index for index, step in enumerate(self.steps) if isinstance(step, int)), len(self.steps))
        return Place(self.source, self.steps[: first + 1])

    def __str__(self) -> str:
        line, column = self.source.locate(self.steps, key=False)
        return f"{self.source.path}:{line}:{column}"


@dataclass
class Problems:
    """The mistakes found so far."""

    found: set[tuple[str, int, int, str]] = field(default_factory=set)

    def add(self, place: Place, message: str, *, key: bool = False) -> None:
        """Notes a mistake at a place; `key` points at the key and not at its value."""
        line, column = place.source.locate(place.steps, key=key)
        label = place.source.label(place.steps)
        self.add_at(place.source.path, (line, column), f"{label}: {message}" if label else message)

    def add_at(self, path: Path, position: tuple[int, int], message: str) -> None:
        self.found.add((str(path), *position, message))

    def raise_if_any(self) -> None:
        """Raises BadCatalog with all mistakes, in the order in which they stand in the files."""
        if self.found:
            raise BadCatalog([f"{path}:{line}:{column}: {message}" for path, line, column, message in sorted(self.found)])


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """', did you mean 'x'?' for the nearest known word, or the list of them when it is short, or nothing."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    if 0 < len(known) <= 12:
        return f"; known are {', '.join(sorted(known))}"
    return ""
