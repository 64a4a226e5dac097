"""The SQL of a bill run: one SELECT per file, the stages in their order and the checks.

A stage's file name is the table it makes. A check returns the rows that are wrong, so an empty answer is a passed check.
"""

from __future__ import annotations

from importlib.resources import files

STAGES = [
    "cut",  # which positions of which source are still to be billed: everything else looks through it
    "held_cut",  # accounts that failed last time lag behind the others
    "charges",  # the only pass over all rows of the ledger; what follows is small
    "failures",  # before the lines, so that a failed account gets none
    "balance_payments",  # reads rows of balances only: of a ledger without them next to nothing
    "limit_names",  # what commitments, caps and pools are called
    "net_lines",  # rounding to money happens here, once per line
    "invoice_taxes",  # on rounded lines, per invoice and class
    "draft_lines",  # the tax spread over its lines
    "draft_invoices",  # sums of rounded lines
    "draft_outcomes",  # every account, whatever became of it
]
"""Tables made one after another. Between held_cut and charges stands the view `unbilled`, which charges, balance_payments and
explain read."""

RUN_CHECKS = [
    "charges_equal_lines",
    "lines_equal_invoices",
    "taxes_equal_lines",
    "invoices_take_off_payments",
    "accounts_have_one_outcome",
]
"""Cheap checks over the tables of one run."""

LEDGER_CHECKS = ["postings_are_billed_once", "deductions_are_paid_once", "numbers_are_gapless"]
"""Checks over all finalised runs and one that is about to become final."""


def load_query(name: str) -> str:
    """The text of `sql/<name>.sql`, without a final semicolon."""
    return files("invoicing").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8").rstrip().rstrip(";")


def load_check(name: str) -> str:
    """The text of `sql/checks/<name>.sql`."""
    return load_query(f"checks/{name}")
