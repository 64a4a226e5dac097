"""Prepaid balances: look, top up, correct, and ask how much may be used."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

import pipelines.balances
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, messages, open_workspace, progress, show
from schemas.balance import OrderType

app = typer.Typer()
balance_app = typer.Typer(no_args_is_help=True, help="Prepaid accounts: what they have left, top-ups, reservations, notices.")
app.add_typer(balance_app, name="balance")

AccountArgument = Annotated[str, typer.Argument(help="The account, or one of its subscriptions or identifiers.")]
SubjectArgument = Annotated[str, typer.Argument(help="The subscription, or one of its identifiers.")]
AmountArgument = Annotated[
    str | None, typer.Argument(help="Money in the account's currency; left out for units of a meter.", show_default=False)
]
BucketOption = Annotated[str | None, typer.Option(help="The bucket; without one it is 'main'.")]
MeterOption = Annotated[str | None, typer.Option(help="With --quantity: the meter whose units these are.")]
QuantityOption = Annotated[str | None, typer.Option(help="Units of the meter instead of money.")]
NoteOption = Annotated[str | None, typer.Option(help="Why; kept on the row.")]
IdOption = Annotated[str | None, typer.Option("--id", help="Id of the event: the same id twice changes nothing.")]
UsedMeterOption = Annotated[str, typer.Option("--meter", help="The meter of the usage to come.")]
WantedOption = Annotated[str, typer.Option("--quantity", help="Units wanted.")]
DataOption = Annotated[list[str] | None, typer.Option("--data", help="A dimension of the usage, name=value; may be repeated.")]
LeastOption = Annotated[str | None, typer.Option(help="Fewer units than these are no use.")]
MaxCostOption = Annotated[str | None, typer.Option(help="It may cost no more than this.")]
SessionOption = Annotated[str, typer.Option("--session", help="Names the session within the account.")]


@balance_app.command("show")
def show_balance(
    account: Annotated[str, typer.Argument(help="The account.")],
    at: Annotated[datetime | None, typer.Option(help="The UTC time at which buckets are in force; default: now.")] = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what an account has left: its buckets, and what running sessions have reserved.

    Example: `boss balance show acme`
    """
    moment = None if at is None else at.replace(tzinfo=UTC)
    buckets, sessions, sentence = pipelines.balances.show_balance(open_workspace(workspace), account, moment)
    show(buckets, format)
    if sessions.height and format is Format.TABLE:
        typer.echo("\nRunning sessions")
        show(sessions, format)
    messages.print(sentence)


@balance_app.command()
def topup(
    account: AccountArgument,
    amount: AmountArgument = None,
    bucket: BucketOption = None,
    meter: MeterOption = None,
    quantity: QuantityOption = None,
    priority: Annotated[int | None, typer.Option(help="Lower ones are used first; usual is 100.")] = None,
    valid_from: Annotated[str | None, typer.Option(help="It pays for usage from this time on, with a zone.")] = None,
    valid_to: Annotated[str | None, typer.Option(help="It pays for usage before this time, with a zone.")] = None,
    note: NoteOption = None,
    id: IdOption = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Add money or units to a balance.

    Examples: `boss balance topup acme 50` and
    `boss balance topup acme --bucket gift --meter meeting.minutes --quantity 100 --valid-to 2027-01-01T00:00:00Z`
    """
    data = {"amount": amount, "bucket": bucket, "meter": meter, "quantity": quantity, "note": note}
    data |= {"priority": None if priority is None else str(priority), "valid_from": valid_from, "valid_to": valid_to}
    _place(workspace, OrderType.TOPUP, account, data, id)


@balance_app.command()
def adjust(
    account: AccountArgument,
    amount: Annotated[
        str | None, typer.Option(help="Money in the account's currency, below 0 to take away.", show_default=False)
    ] = None,
    bucket: BucketOption = None,
    meter: MeterOption = None,
    quantity: QuantityOption = None,
    note: NoteOption = None,
    id: IdOption = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Correct a balance by hand, up or down.

    Example: `boss balance adjust acme --amount -3.50 --note "charged back"`
    """
    data = {"amount": amount, "bucket": bucket, "meter": meter, "quantity": quantity, "note": note}
    _place(workspace, OrderType.ADJUST, account, data, id)


@balance_app.command()
def authorise(
    subject: SubjectArgument,
    meter: UsedMeterOption,
    quantity: WantedOption,
    data: DataOption = None,
    least: LeastOption = None,
    max_cost: MaxCostOption = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Say how much of a quantity could be paid for now. Writes nothing; exits with 1 when it is nothing.

    Example: `boss balance authorise acme-1 --meter meeting.minutes --quantity 60 --data region=cn`
    """
    wanted = _reservation("authorise", meter, quantity, data, least, max_cost) | {"seconds": "60"}
    order = pipelines.balances.make_order(OrderType.REQUEST, subject, wanted)
    answer = pipelines.balances.read_answer(pipelines.balances.try_order(open_workspace(workspace), order))
    show(answer, format)
    if not answer["granted"][0]:
        raise typer.Exit(1)


@balance_app.command()
def reserve(
    subject: SubjectArgument,
    session: SessionOption,
    meter: UsedMeterOption,
    quantity: WantedOption,
    seconds: Annotated[int, typer.Option(help="So long from now the reservation lasts.")] = 3600,
    update: Annotated[bool, typer.Option("--update", help="The session is running and asks again.")] = False,
    data: DataOption = None,
    least: LeastOption = None,
    max_cost: MaxCostOption = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """Reserve as much of a quantity as can be paid for. Exits with 1 when it is nothing.

    Example: `boss balance reserve acme-1 --session call-7 --meter meeting.minutes --quantity 60 --data region=cn`
    """
    wanted = _reservation(session, meter, quantity, data, least, max_cost) | {"seconds": str(seconds)}
    kind = OrderType.UPDATE if update else OrderType.REQUEST
    opened, order = open_workspace(workspace), pipelines.balances.make_order(kind, subject, wanted)
    with progress("reserving") as status:
        answer = pipelines.balances.read_answer(pipelines.balances.place_order(opened, order, status.update))
    show(answer, format)
    if not answer["granted"][0]:
        raise typer.Exit(1)


@balance_app.command()
def release(account: AccountArgument, session: SessionOption, workspace: WorkspaceOption = HERE) -> None:
    """End a session whose usage did not come, and free what it had reserved.

    Example: `boss balance release acme-1 --session call-7`
    """
    _place(workspace, OrderType.RELEASE, account, {"session": session}, None)


@balance_app.command()
def notices(
    account: Annotated[str | None, typer.Option(help="Only of this account.")] = None,
    workspace: WorkspaceOption = HERE,
    format: FormatOption = Format.TABLE,
) -> None:
    """List what was told about balances: low, exhausted, restored, and the answers to reservations.

    Example: `boss balance notices --account acme`
    """
    show(pipelines.balances.list_notices(open_workspace(workspace), account), format)


def _place(workspace: Path, kind: OrderType, subject: str, data: dict[str, str | None], event_id: str | None) -> None:
    """Bring an event into the ledger and say what has become of it."""
    opened = open_workspace(workspace)
    order = pipelines.balances.make_order(kind, subject, data, event_id)
    with progress("writing to the balance") as status:
        done = pipelines.balances.place_order(opened, order, status.update)
    if done.duplicates:
        messages.print("This event was taken before. Nothing was changed.")
    else:
        messages.print("Done. `boss balance show` tells what is left.")


def _reservation(
    session: str, meter: str, quantity: str, data: list[str] | None, least: str | None, max_cost: str | None
) -> dict[str, object]:
    dimensions: dict[str, str] = {}
    for text in data or []:
        name, separator, value = text.partition("=")
        if not separator:
            raise typer.BadParameter(f"'{text}' is no dimension; write it as name=value.", param_hint="--data")
        dimensions[name] = value
    wanted: dict[str, object] = {"session": session, "meter": meter, "quantity": quantity, "least": least}
    return wanted | {"max_cost": max_cost, "dimensions": dimensions}
