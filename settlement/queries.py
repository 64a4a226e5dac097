"""The texts that make partner statements out of the ledger: one SELECT per file in `sql/`, run by `pipelines/settle.py`."""

from __future__ import annotations

from importlib.resources import files


def read_query(name: str) -> str:
    """The SELECT of `settlement/sql/<name>.sql`; its header says what a row is and what it needs."""
    return files("settlement").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
