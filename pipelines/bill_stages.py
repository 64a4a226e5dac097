"""What a bill run computes: from one snapshot of the ledger to lines, invoices and outcomes, in SQL, writing nothing.

sources -> reached -> cut, held_cut -> unbilled (view) -> charges -> failures -> net_lines -> invoice_taxes -> lines
                                                       -> balance_payments                         -> invoices -> outcomes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import polars as pl

from invoicing.queries import RUN_CHECKS, STAGES, load_check, load_query
from pipelines.warehouse import add_table, run_query
from schemas.billing import INVOICES, LINES, OUTCOMES, POSITIONS
from schemas.errors import BrokenPromise
from schemas.frames import FrameSchema
from schemas.ledger import POSTINGS
from schemas.money import AMOUNT_SCALE
from schemas.period import Period

TOTALS = FrameSchema(
    "TOTALS",
    {
        "currency": pl.String,
        "role": pl.String,
        "ledger_rows": pl.Int64,
        "ledger_amount": pl.Decimal(38, AMOUNT_SCALE),
        "later_amount": pl.Decimal(38, AMOUNT_SCALE),  # usage of later months
        "billed_amount": pl.Decimal(38, AMOUNT_SCALE),  # lines of finalised runs
        "failed_amount": pl.Decimal(38, AMOUNT_SCALE),  # left out by this run
        "run_amount": pl.Decimal(38, AMOUNT_SCALE),  # lines of this run
        "difference": pl.Decimal(38, AMOUNT_SCALE),  # what is left; null unless revenue
    },
)
"""One row per currency and role: the whole ledger up to the run's positions, and where it went."""

_QUANTITY_UNITS = pl.DataFrame(
    {"quantity_scale": list(range(10)), "unit": [Decimal(1).scaleb(-scale) for scale in range(10)]},
    schema={"quantity_scale": pl.Int8, "unit": pl.Decimal(10, 9)},
)


@dataclass(frozen=True)
class Computed:
    """The tables of one run."""

    postings: pl.DataFrame  # POSTINGS the run adds to the ledger
    positions: pl.DataFrame  # POSITIONS it looked at, its own among them
    lines: pl.DataFrame  # LINES
    invoices: pl.DataFrame  # INVOICES, without numbers
    outcomes: pl.DataFrame  # OUTCOMES
    totals: pl.DataFrame  # TOTALS


def run_stream(period: Period) -> str:
    """The stream name of the rows that a bill run posts, and of its transactions."""
    return f"run:{period}"


def read_reached(connection: duckdb.DuckDBPyConnection, period: Period) -> pl.DataFrame:
    """POSITIONS of the snapshot. Makes the table `sources`, which the totals of the run for `period` are read from too."""
    make_tables(connection, ["sources"], period)
    return POSITIONS.select(run_query(connection, load_query("reached")))


def read_run_rows(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """POSTINGS made by earlier bill runs: the snapshot's rows of streams `run:`, in order."""
    columns = ", ".join(POSTINGS.names())
    text = (
        f"select {columns} from postings where stream like 'run:%' order by stream, stream_partition, stream_offset, stream_row"
    )
    return POSTINGS.select(run_query(connection, text))


def read_used_keys(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """AGGREGATE_KEY of what has rows from events, for prices with a flat fee at zero usage; no others are asked for."""
    return run_query(connection, load_query("used_keys"))


def compute_run(
    connection: duckdb.DuckDBPyConnection, period: Period, added: pl.DataFrame, reached: pl.DataFrame, dates: pl.DataFrame
) -> Computed:
    """All tables of the run for `period`.

    Args:
        connection: A warehouse of one snapshot, with the table `sources`; gets the run's tables.
        added: POSTINGS of the run itself, at offsets 0, 1, 2 ... of its stream. Those of an account that fails are charged
            like the others and, like its usage, billed later.
        reached: POSITIONS of the snapshot without the run's own stream.
        dates: account_id, issue_date, due_date, taxed_at: one row per account of the roster.

    Raises:
        BrokenPromise: A check found a wrong row, or the totals differ from the ledger.
    """
    positions = with_own(reached, period, added)
    add_table(connection, "billing_dates", dates)
    prepare_cut(connection, period, added, positions, whole=True)
    make_tables(connection, STAGES[STAGES.index("charges") :], period)
    for check in RUN_CHECKS:
        require_none(connection, check, period)
    totals = TOTALS.select(run_query(connection, load_query("totals"), {"period": str(period)}))
    require_balance(totals)
    return Computed(
        postings=added,
        positions=positions,
        lines=LINES.select(_read(connection, "draft_lines", LINES, "account_id, line")),
        invoices=INVOICES.select(_read(connection, "draft_invoices", INVOICES, "account_id, currency")),
        outcomes=OUTCOMES.select(_read(connection, "draft_outcomes", OUTCOMES, "account_id")),
        totals=totals,
    )


def prepare_cut(
    connection: duckdb.DuckDBPyConnection, period: Period, added: pl.DataFrame, reached: pl.DataFrame, *, whole: bool = False
) -> None:
    """Make the view `unbilled`: the rows that the run for `period` bills, at or below the positions `reached`.

    Works the same for a run that is being computed (`added` are its rows) and for one that is final (`added` is empty, its
    rows are in the ledger).

    Args:
        whole: `reached` are the positions of the snapshot itself. Then rows of months that no run has looked at need not be
            compared with any position, which is quicker; the view is the same.
    """
    add_table(connection, "quantity_units", _QUANTITY_UNITS)
    add_table(connection, "run_postings", POSTINGS.select(added))
    add_table(connection, "reached", POSITIONS.select(reached))
    make_tables(connection, ["cut", "held_cut"], period)
    columns = ", ".join(POSTINGS.names())
    if not whole:
        connection.execute(f"create or replace view cut_postings as select {columns} from postings")
        connection.execute(f"create or replace view unbilled as {load_query('unbilled')}")
        return
    last_run = run_query(connection, "select max(after_month) as after_month from cut")["after_month"][0]
    months = {"after_month": str(Period.parse(last_run)) if last_run else "", "through_month": str(period)}
    connection.execute(f"create or replace view cut_postings as {_filled(load_query('older'), months)}")
    both = f"{_filled(load_query('fresh'), months)} union all select {columns}, late from ({load_query('unbilled')})"
    connection.execute(f"create or replace view unbilled as {both}")


def make_tables(connection: duckdb.DuckDBPyConnection, names: list[str], period: Period) -> None:
    """Run the stages of these names, each into the table of its name."""
    for name in names:
        text = load_query(name)
        add_table(connection, name, text, _params(text, period))


def require_none(connection: duckdb.DuckDBPyConnection, check: str, period: Period) -> None:
    """Raises BrokenPromise with the first wrong rows when the check finds any."""
    text = load_check(check)
    wrong = run_query(connection, text, _params(text, period))
    if wrong.height:
        rows = "\n".join(str(row) for row in wrong.head(3).to_dicts())
        raise BrokenPromise(f"check {check}: {wrong.height} rows are wrong; nothing was written. The first are\n{rows}")


def require_balance(totals: pl.DataFrame) -> None:
    """Raises BrokenPromise when any revenue of the ledger is neither billed, nor failed, nor of a later month."""
    for row in totals.filter(pl.col("difference") != 0).iter_rows(named=True):
        found = row["later_amount"] + row["billed_amount"] + row["failed_amount"] + row["run_amount"]
        raise BrokenPromise(
            f"the ledger holds {row['ledger_amount']} {row['currency']} of revenue, but lines, failed accounts and later "
            f"months make {found}; nothing was written"
        )


def with_own(reached: pl.DataFrame, period: Period, added: pl.DataFrame) -> pl.DataFrame:
    """POSITIONS with the run's own stream; its last offset is -1 when it posts nothing."""
    own = {"stream": run_stream(period), "stream_partition": 0, "through_offset": added.height - 1}
    others = reached.filter(pl.col("stream") != run_stream(period))
    return pl.concat([others, POSITIONS.build([own])]).sort("stream", "stream_partition")


def _filled(text: str, months: Mapping[str, str]) -> str:
    """The text with its `$named` months written into it: a view takes no parameters, and files of other months are skipped.

    Args:
        months: Each as a Period writes itself, or empty, so nothing else can come into the text.
    """
    for name, month in months.items():
        text = text.replace(f"${name}", f"'{month}'")
    return text


def _params(text: str, period: Period) -> Mapping[str, object] | None:
    return {"period": str(period)} if "$period" in text else None


def _read(connection: duckdb.DuckDBPyConnection, table: str, schema: FrameSchema, order: str) -> pl.DataFrame:
    return run_query(connection, f"select {', '.join(schema.names())} from {table} order by {order}")
