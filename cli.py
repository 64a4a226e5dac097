"""The `boss` command. Its commands live in `commands/`; this is the list of them.

Data goes to stdout, progress and messages to stderr. Exit codes: 0 done, 1 refused with a reason, 2 wrong usage.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from commands import again, balances, bills, books, copies, look, prices, start, usage
from schemas.errors import BossError


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
app.add_typer(start.app)
app.add_typer(prices.app, name="catalog")
app.add_typer(usage.app)
app.add_typer(bills.app)
app.add_typer(look.app)
app.add_typer(again.app)
app.add_typer(balances.app, name="balance")
app.add_typer(books.app, name="ledger")
app.add_typer(copies.app, name="sync")


if __name__ == "__main__":
    app()
