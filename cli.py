"""The `boss` command: each command parses, calls one function of pipelines/, and prints.

Data goes to stdout, progress and messages to stderr. Exit codes: 0 done, 1 refused with a reason, 2 wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

import catalog.diff
import catalog.templates
import catalog.versions
import pipelines.bill_run
import pipelines.catalog_test
import pipelines.checks
import pipelines.demo
import pipelines.dev
import pipelines.explain
import pipelines.measure_revenue
import pipelines.rate_file
import pipelines.rejected
import pipelines.replay
import pipelines.replay_messages
import pipelines.rerate
import pipelines.send
import pipelines.settle
import pipelines.sql_access
import pipelines.whatif
from pipelines.checks import AUDIT_DAYS
from pipelines.rater import RateResult
from pipelines.workspace import Workspace
from schemas.errors import BossError
from schemas.period import Period


class BossGroup(TyperGroup):
    """Prints a BossError as its sentence and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BossError as error:
            typer.echo(f"boss: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=BossGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="From usage events to exact invoices. Every command works on the workspace in `--workspace` (default: here).",
)
catalog_app = typer.Typer(no_args_is_help=True, help="The price book and the roster: check, compare, publish.")
rejects_app = typer.Typer(no_args_is_help=True, help="Events that could not be charged: list them, send them again.")
bill_app = typer.Typer(no_args_is_help=True, help="The bill run: preview, draft, finalize.")
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger: check and verify it, compact closed months, clean up.")
app.add_typer(catalog_app, name="catalog")
app.add_typer(rejects_app, name="rejects")
app.add_typer(bill_app, name="bill")
app.add_typer(ledger_app, name="ledger")

messages = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


WorkspaceOption = Annotated[Path, typer.Option("--workspace", "-w", envvar="BOSS_WORKSPACE", help="The workspace folder.")]
PeriodOption = Annotated[str, typer.Option("--period", help="The billing month, YYYY-MM.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How data is printed; parquet writes bytes to stdout.")]
FileArgument = Annotated[Path, typer.Argument(help="NDJSON, JSON array, CSV or Parquet with CloudEvents.")]

HERE = Path()

UPRIGHT_COLUMNS = 9
"""A single row with more columns than these is printed upright, a line each."""


def open_workspace(path: Path) -> Workspace:
    return pipelines.dev.workspace_of(path)


# ---------------------------------------------------------------------------------------------------- start


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the workspace is made.")],
    template: Annotated[str, typer.Option(help="Industry template.")] = "video-conference",
    starts: Annotated[str, typer.Option(help="First period to bill recurring fees for; default: this month.")] = "",
) -> None:
    """Make a workspace from an industry template.

    Example: `boss init acme --template video-conference`
    """
    workspace = Workspace.create(folder, template, str(Period.parse(starts)) if starts else str(Period.of(date.today())))
    messages.print(f"Workspace made in {workspace.root}. Next: edit catalog/ and roster/, then `boss catalog publish`.")


@app.command()
def demo(folder: Annotated[Path, typer.Argument(help="Folder of the demo; an earlier demo there is replaced.")]) -> None:
    """Run one month of a video-conference company: events, broker, worker, bills, settlement, metrics.

    Example: `boss demo demo`
    """
    result = pipelines.demo.run_demo(folder, messages.print)
    show(result.invoices.select(INVOICE_COLUMNS), Format.TABLE)
    for line in result.closing_lines:
        typer.echo(line)


@app.command()
def dev(workspace: WorkspaceOption = HERE) -> None:
    """Run an embedded broker and a worker until Ctrl-C. For development: the broker keeps its topics in memory.

    Example: `boss dev`, and in another terminal `boss send usage.ndjson`
    """
    raise typer.Exit(pipelines.dev.run_dev(Workspace.open(workspace), messages.print))


@app.command()
def worker(workspace: WorkspaceOption = HERE) -> None:
    """Rate the usage topic into the ledger until stopped. Run as many as the topic has partitions.

    Example: `BOSS_KAFKA=127.0.0.1:9092 boss worker`
    """
    from pipelines.stream import run_worker  # Faust takes a second to import

    raise typer.Exit(run_worker(open_workspace(workspace)))


# ---------------------------------------------------------------------------------------------------- catalog


@catalog_app.command()
def check(workspace: WorkspaceOption = HERE) -> None:
    """Read catalog/ and roster/ and report every mistake with its place. Changes nothing."""
    book, roster, examples = pipelines.catalog_test.read_workspace_examples(Workspace.open(workspace))
    messages.print(
        f"Good: {book.meters.height} meters, {book.plans.height} plans, {book.prices.height} price versions, "
        f"{roster.accounts.height} accounts, {roster.subscriptions.height} subscriptions, {len(examples)} examples."
    )


@catalog_app.command()
def diff(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show what publishing would change. Changes nothing."""
    opened = Workspace.open(workspace)
    book, roster = opened.read_sources()
    published = opened.published()
    changes = [catalog.diff.diff_books(published[0], book), catalog.diff.diff_rosters(published[1], roster)]
    show(pl.concat(changes), format)


@catalog_app.command()
def publish(workspace: WorkspaceOption = HERE) -> None:
    """Freeze catalog/ and roster/ as new versions. Workers take them with their next batch."""
    book, roster = Workspace.open(workspace).publish()
    messages.print(f"Price book version {book.version}, roster version {roster.version}.")


@catalog_app.command("test")
def run_examples(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Rate the examples written in catalog/ and compare with what they expect. Changes nothing; exits with 1 when one fails."""
    tested = pipelines.catalog_test.run_workspace_examples(Workspace.open(workspace))
    show(tested.results, format)
    messages.print(tested.message)
    if tested.failed:
        raise typer.Exit(1)


# ---------------------------------------------------------------------------------------------------- usage


@app.command()
def rate(file: FileArgument, workspace: WorkspaceOption = HERE) -> None:
    """Rate a usage file into the ledger. The same file twice changes nothing.

    Example: `boss rate usage.ndjson`
    """
    opened = open_workspace(workspace)
    if opened.settings.kafka:
        return send(file, workspace, wait=True)
    with progress(f"rating {file.name}") as status:
        done = pipelines.rate_file.rate_file(opened, file, lambda so_far: status.update(sentence(so_far)))
    messages.print(sentence(done))
    return None


@app.command()
def send(
    file: FileArgument,
    workspace: WorkspaceOption = HERE,
    wait: Annotated[bool, typer.Option(help="Wait until the ledger has passed the events.")] = False,
) -> None:
    """Send a usage file to the usage topic, keyed by billing account.

    Example: `boss send usage.ndjson --wait`
    """
    opened = open_workspace(workspace)
    with progress(f"sending {file.name}") as status:
        sent = pipelines.send.send_file(opened, file, status.update)
        messages.print(f"{sent.events:,} events sent to {opened.settings.stream.topic}.")
        for problem in sent.refused:
            messages.print(problem)
        if wait:
            pipelines.send.wait_for_ledger(opened, sent.reached, status.update)
            messages.print("The ledger has passed all of them.")
    if sent.refused:
        raise typer.Exit(1)


@rejects_app.command("list")
def list_rejects(
    workspace: WorkspaceOption = HERE,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the open rejects: events that nobody has been charged for.

    Example: `boss rejects list --reason unknown_subject`
    """
    rejects = pipelines.rejected.open_rejects(open_workspace(workspace).ledger(), reason or [])
    show(rejects.with_columns(message=pl.col("message").cast(pl.String, strict=False)), format)


@rejects_app.command("retry")
def retry_rejects(
    workspace: WorkspaceOption = HERE,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason; may be repeated.")] = None,
) -> None:
    """Rate the open rejects again, after the catalog, the roster or the sender was mended.

    Example: `boss rejects retry --reason no_price`
    """
    opened = open_workspace(workspace)
    with progress("retrying rejects") as status:
        if opened.settings.kafka:
            sent = pipelines.send.send_rejects(opened, reason or [], status.update)
            pipelines.send.wait_for_ledger(opened, sent.reached, status.update)
            messages.print(
                f"{sent.events:,} rejected events sent again and passed by the ledger. `boss rejects list` shows what is left."
            )
            return
        done = pipelines.rejected.retry_rejects(opened, reason or [], lambda so_far: status.update(sentence(so_far)))
    messages.print(sentence(done))


@app.command()
def rerate(
    price: Annotated[str, typer.Option(help="The fee item, as in the price book.")],
    first_day: Annotated[str, typer.Option("--from", help="First day of the usage, YYYY-MM-DD, in each account's zone.")],
    end_day: Annotated[str, typer.Option("--to", help="Day after the last one.")],
    post: Annotated[bool, typer.Option("--post/--dry-run", help="Append the rows; without it nothing is written.")] = False,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Post the differences that a price published late makes for usage rated before. The second time there are none.

    Example: `boss rerate --price pro.month.minutes --from 2026-10-01 --to 2026-11-01 --post`
    """
    days = read_day(first_day, "--from"), read_day(end_day, "--to")
    with progress(f"rating {price} anew"):
        rerating = pipelines.rerate.rerate(open_workspace(workspace), price, *days, post=post)
    if rerating.rows or format is not Format.TABLE:
        show(rerating.changes, format)
    messages.print(rerating.message)


# ---------------------------------------------------------------------------------------------------- bills


@bill_app.command("preview")
def preview_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compute the invoices of a period from the ledger as it is now. Writes nothing.

    Example: `boss bill preview --period 2026-10`
    """
    with progress("bill run") as status:
        bill_run = pipelines.bill_run.preview(open_workspace(workspace), Period.parse(period), status.update)
    show_bill_run(bill_run, format)
    messages.print(bill_run.message)


@bill_app.command("run")
def run_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compute the invoices of a period and keep them as the draft that `finalize` takes.

    Example: `boss bill run --period 2026-10`
    """
    with progress("bill run") as status:
        bill_run = pipelines.bill_run.run(open_workspace(workspace), Period.parse(period), status.update)
    show_bill_run(bill_run, format)
    messages.print(bill_run.message)


@bill_app.command("finalize")
def finalize_bill(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Make the draft final: numbers, postings, documents. The second time changes nothing.

    Example: `boss bill finalize --period 2026-10`
    """
    with progress("bill run") as status:
        final = pipelines.bill_run.finalize(open_workspace(workspace), Period.parse(period), status.update)
    show(final.invoices.select(INVOICE_COLUMNS) if format is Format.TABLE else final.invoices, format)
    messages.print(final.message)


@app.command()
def settle(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Make the partners' statements of a finalised period.

    Example: `boss settle --period 2026-10`
    """
    settlement = pipelines.settle.settle(open_workspace(workspace), Period.parse(period))
    show(settlement.statements, format)
    for path in settlement.files:
        messages.print(str(path))


@app.command()
def metrics(period: PeriodOption, workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show MRR and its five movements, ARPA and usage revenue of a period.

    Example: `boss metrics --period 2026-10`
    """
    measured = pipelines.measure_revenue.measure_revenue(open_workspace(workspace), Period.parse(period))
    if format is Format.TABLE:
        show(measured.movements, format)
    show(measured.summary, format)


# ---------------------------------------------------------------------------------------------------- look


@app.command()
def explain(
    invoice: Annotated[str, typer.Argument(help="Invoice number.")],
    line: Annotated[int | None, typer.Argument(help="Line of the invoice; without it the lines are listed.")] = None,
    workspace: WorkspaceOption = HERE,
    limit: Annotated[int, typer.Option(help="Rows of the ledger shown.")] = 20,
    format: FormatOption = Format.TABLE,
) -> None:
    """Explain an invoice line: price version, tiers, and each event with its aggregate before and after.

    Example: `boss explain INV-2026-000001 1`
    """
    opened = open_workspace(workspace)
    if line is None:
        return show(pipelines.explain.explained_lines(opened.ledger(), invoice), format)
    explanation = pipelines.explain.explain(opened, invoice, line, limit=limit)
    if format is not Format.TABLE:
        return show(explanation.postings, format)
    for title, frame in explanation.sections():
        typer.echo(f"\n{title}")
        show(frame, format)
    typer.echo(f"\n{explanation.conclusion}")
    return None


@app.command()
def sql(
    text: Annotated[str, typer.Argument(help="One SELECT.")],
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Query the ledger, read-only: postings, journal, margin, rejects, invoices, lines, statements, accounts, prices ...

    Example: `boss sql "select price_id, sum(amount) from postings group by all"`
    """
    if format is Format.TABLE:
        return show(pipelines.sql_access.query_workspace(open_workspace(workspace), text), format)
    return pipelines.sql_access.write_query(open_workspace(workspace), text, format.value, sys.stdout.buffer)


@app.command()
def replay(
    period: PeriodOption,
    files: Annotated[
        list[Path] | None, typer.Argument(help="The events as they were sent; without files the ledger's own rows tell them.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Rate the period again and compare every aggregate.")] = False,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Rate a period again and compare every aggregate with the ledger, to the last digit. Writes nothing.

    Exits with 1 when something differs. Example: `boss replay --check --period 2026-10 usage.ndjson`
    """
    if not check:
        raise typer.BadParameter("replay only compares; say so with --check.", param_hint="--check")
    opened, month = open_workspace(workspace), Period.parse(period)
    with progress(f"replaying {month}"):
        replayed = (
            pipelines.replay_messages.replay_files(opened, month, files, pipelines.rate_file.now_ms())
            if files
            else pipelines.replay.replay_posted(opened, month)
        )
    messages.print(replayed.message)
    if format is not Format.TABLE or not replayed.agrees:
        show(replayed.differences, format)
    if not replayed.agrees:
        raise typer.Exit(1)


@app.command()
def whatif(
    period: PeriodOption,
    book: Annotated[Path | None, typer.Option(help="Folder of the draft catalog; default: the published book.")] = None,
    roster: Annotated[Path | None, typer.Option(help="Folder of the draft roster; default: the published roster.")] = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what a period's real usage and fees would have cost under a draft, per customer. Writes nothing.

    Example: `boss whatif --book draft --period 2026-10`
    """
    if book is None and roster is None:
        raise typer.BadParameter("name a draft with --book, --roster or both.", param_hint="--book")
    opened = open_workspace(workspace)
    draft = pipelines.whatif.read_draft(opened, book, roster)
    with progress("rating with the draft"):
        compared = pipelines.whatif.compare_draft(opened, Period.parse(period), *draft)
    show(compared.customers, format)
    if format is Format.TABLE:
        for title, frame in (("Totals", compared.totals), ("No price in the draft", compared.unpriced)):
            if frame.height:
                typer.echo(f"\n{title}")
                show(frame, format)
    messages.print(compared.message)


@ledger_app.command("check")
def check_ledger(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Compare what must agree: ledger and lines, lines and invoices, statements and shares, journal debits and credits.

    Exits with 1 when something differs. Example: `boss ledger check`
    """
    results = pipelines.checks.run_checks(open_workspace(workspace))
    show(results, format)
    if not results["agrees"].all():
        raise typer.Exit(1)


@ledger_app.command("stats")
def ledger_stats(workspace: WorkspaceOption = HERE, format: FormatOption = Format.TABLE) -> None:
    """Show rows, files and bytes of the ledger per month."""
    show(pipelines.checks.ledger_stats(open_workspace(workspace)), format)


@ledger_app.command("compact")
def compact_ledger(period: PeriodOption, workspace: WorkspaceOption = HERE) -> None:
    """Rewrite a month of the ledger as few sorted files. Amounts and positions stay as they are."""
    with progress("compacting"):
        files = pipelines.checks.compact_month(open_workspace(workspace), Period.parse(period))
    messages.print(f"{files} files of {period} rewritten." if files else f"Nothing to gain in {period}.")


@ledger_app.command("verify")
def verify_ledger(
    workspace: WorkspaceOption = HERE,
    head: Annotated[list[str] | None, typer.Option(help="A head printed earlier; must still be in the chain.")] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Compare every file, position and commit with the chain of digests, and print where each table's chain stands.

    Note the heads down elsewhere: with them a later run shows that nothing before them was rewritten. Exits with 1 when
    something was changed, and then prints what. Example: `boss ledger verify --head postings/1234/9f86d0...`
    """
    with progress("verifying") as status:
        verified = pipelines.checks.verify_ledger(open_workspace(workspace), head or [], status.update)
    if format is Format.TABLE or verified.findings.is_empty():
        show(verified.heads, format)
    if not verified.findings.is_empty():
        messages.print(f"{verified.findings.height} findings: the ledger is not what was committed.")
        show(verified.findings, format)
        raise typer.Exit(1)


@ledger_app.command("vacuum")
def vacuum_ledger(
    workspace: WorkspaceOption = HERE,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the files; without it they are only listed.")] = False,
    keep_days: Annotated[int, typer.Option(help="Days to keep files that a compaction replaced.")] = AUDIT_DAYS,
    below_audit_window: Annotated[bool, typer.Option("--below-audit-window", help="Yes, fewer days than that.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """List files that the ledger needs no more: of commits that did not happen, and replaced before the audit window.

    Example: `boss ledger vacuum`, then `boss ledger vacuum --delete`
    """
    with progress("looking at files"):
        removals = pipelines.checks.vacuum_ledger(
            open_workspace(workspace), keep_days, delete=delete, below_audit_window=below_audit_window
        )
    show(removals, format)
    messages.print(f"{removals.height} files, {removals['bytes'].sum():,} bytes {'deleted' if delete else 'could be deleted'}.")


# ---------------------------------------------------------------------------------------------------- print


@contextmanager
def progress(what: str) -> Iterator[Any]:
    """A spinner on stderr with the latest word; plain silence when stderr is no terminal."""
    with messages.status(what) as status:
        yield status


def read_day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no day; write it as YYYY-MM-DD.", param_hint=option) from None


def sentence(done: RateResult) -> str:
    rejected = sum(done.rejects.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.rejects.items()))
    return (
        f"{done.events:,} events: {done.postings:,} postings, {done.duplicates:,} duplicates, {rejected:,} rejects"
        + (f" ({reasons})" if reasons else "")
        + "."
    )


INVOICE_COLUMNS = ["invoice_no", "account_id", "currency", "due_date", "lines", "net_amount", "tax_amount", "total_amount"]


def show_bill_run(bill_run: pipelines.bill_run.BillRun, format: Format) -> None:
    """Invoices for programs; for people also what became of every account and the totals beside the ledger's."""
    if format is not Format.TABLE:
        return show(bill_run.invoices, format)
    show(bill_run.outcomes, format)
    typer.echo("\nInvoices")
    show(bill_run.invoices.select(INVOICE_COLUMNS), format)
    typer.echo("\nThe ledger up to the run's positions, and where its amounts went")
    show(bill_run.totals, format)
    return None


def show(frame: pl.DataFrame, format: Format) -> None:
    """Print a frame to stdout in the wanted format."""
    if format is not Format.TABLE:
        pipelines.sql_access.write_frame(frame, format.value, sys.stdout.buffer)
        return
    rows = pipelines.sql_access.table_rows(frame)
    table = Table(show_edge=False, pad_edge=False)
    if len(rows) == 1 and frame.width > UPRIGHT_COLUMNS:
        table.show_header = False
        for name, cell in zip(frame.columns, rows[0], strict=True):
            if cell:
                table.add_row(name.replace("_", " "), cell)
    else:
        for name, dtype in frame.schema.items():
            table.add_column(name.replace("_", " "), justify="right" if dtype.is_numeric() else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
    # A pipe has no width of its own: nothing is folded there.
    Console(highlight=False, width=None if sys.stdout.isatty() else 400).print(table, crop=False)


if __name__ == "__main__":
    app()
