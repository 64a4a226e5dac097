"""Reads one CSV file as text cells and can say on which line and column each cell stands."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from catalog.problems import Problems, Step, did_you_mean
from catalog.yaml_source import read_text


@dataclass
class CsvSource:
    """A CSV file: rows as dicts of the cells that are not empty, and the line on which each row starts."""

    path: Path
    header: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)
    first_lines: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def locate(self, steps: Sequence[Step], *, key: bool) -> tuple[int, int]:
        """Steps are the row and the column's name."""
        if not steps:
            return 1, 1
        line = self.first_lines[int(steps[0])]
        if len(steps) > 1 and steps[1] in self.header:
            return self.cell_position(line, self.header.index(str(steps[1])))
        return line, 1

    def cell_position(self, line: int, cell: int) -> tuple[int, int]:
        column, quoted = 1, False
        while cell:
            for mark in self.lines[line - 1][column - 1 :]:
                column += 1
                quoted ^= mark == '"'
                cell -= mark == "," and not quoted
                if not cell:
                    return line, column
            line, column = line + 1, 1
        return line, column

    def label(self, steps: Sequence[Step]) -> str:
        return ".".join(str(step) for step in steps[1:])


def read_csv(path: Path, columns: Sequence[str], problems: Problems) -> CsvSource | None:
    """The file's rows; mistakes in its shape are noted and the rows concerned left out.

    `columns` are the names that the header may have. The first line is the header; separators are commas.
    """
    text = read_text(path, problems)
    if text is None:
        return None
    source = CsvSource(path, lines=StringIO(text, newline="").readlines() or [""])
    reader = csv.reader(source.lines, strict=True)
    line = 1
    try:
        source.header = [name.strip() for name in next(reader, [])]
        if not _check_header(source, columns, problems):
            return None
        line = reader.line_num + 1
        for cells in reader:
            if any(cells):
                _take_row(source, cells, line, problems)
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add_at(path, (line, 1), f"not valid CSV: {error}; put cells with commas or line breaks in double quotes")
    return source


def _check_header(source: CsvSource, columns: Sequence[str], problems: Problems) -> bool:
    """Whether every column's name is known and stands once."""
    right = True
    if not any(source.header):
        problems.add_at(source.path, (1, 1), f"has no header; the first line names the columns: {','.join(columns)}")
        return False
    for index, name in enumerate(source.header):
        position = source.cell_position(1, index)
        if name not in columns:
            hint = "; separate columns by commas" if ";" in name else did_you_mean(name, list(columns))
            problems.add_at(source.path, position, f"'{name}' is no known column{hint}")
            right = False
        elif name in source.header[:index]:
            problems.add_at(source.path, position, f"column '{name}' stands here twice; keep one")
            right = False
    return right


def _take_row(source: CsvSource, cells: list[str], line: int, problems: Problems) -> None:
    if len(cells) != len(source.header):
        text = f"has {len(cells)} cells, but the header has {len(source.header)}; check commas and quotes"
        problems.add_at(source.path, (line, 1), text)
        return
    source.first_lines.append(line)
    source.rows.append({name: cell for name, cell in zip(source.header, cells, strict=True) if cell})
