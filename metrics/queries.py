"""The texts that make revenue metrics: one SELECT per file in `sql/`, run by `pipelines/measure_revenue.py`."""

from __future__ import annotations

from importlib.resources import files


def read_query(name: str) -> str:
    """The SELECT of `metrics/sql/<name>.sql`; its header says what a row is and what it needs."""
    return files("metrics").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
