"""The `boss` command. Its commands live in `commands/`; this is the list of them.

A command's module is imported when the command is called, so that none waits for the libraries of the others, or keeps them
in memory.

Data goes to stdout, progress and messages to stderr. Exit codes: 0 done, 1 refused with a reason, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from schemas.errors import BossError

MODULES = {
    "commands.start": ("init", "demo", "dev"),
    "commands.prices": ("catalog",),
    "commands.stream": ("worker", "rekey"),
    "commands.usage": ("rate", "send", "rejects"),
    "commands.bills": ("bill", "settle", "metrics"),
    "commands.look": ("explain", "sql"),
    "commands.again": ("replay", "whatif", "rerate"),
    "commands.balances": ("balance",),
    "commands.books": ("ledger",),
    "commands.copies": ("sync",),
}
"""Module -> the commands that its `app` has, in the order in which `boss --help` lists them."""


class Commands(Mapping[str, Any]):
    """Name of a command -> the command."""

    def __init__(self) -> None:
        self._modules = {name: module for module, names in MODULES.items() for name in names}

    def __getitem__(self, name: str) -> Any:
        return get_group(import_module(self._modules[name]).app).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


class BossGroup(TyperGroup):
    """Prints a BossError as its sentence and exits with 1."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = Commands()  # type: ignore[assignment]  # nobody adds to them

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BossError as error:
            typer.echo(f"boss: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(cls=BossGroup, no_args_is_help=True, rich_markup_mode="markdown", pretty_exceptions_enable=False)


@app.callback()
def boss() -> None:
    """From usage events to exact invoices. Every command works on the workspace in `--workspace` (default: here)."""


if __name__ == "__main__":
    app()
