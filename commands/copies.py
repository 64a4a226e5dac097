"""A customer's rated rows to the customer's own server: signed bundles of files, or a topic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

import pipelines.signing
import pipelines.sync_bundles
import pipelines.sync_topic
from commands.terminal import HERE, Format, FormatOption, WorkspaceOption, messages, open_workspace, progress, show
from schemas.errors import Refused

app = typer.Typer()
sync_app = typer.Typer(no_args_is_help=True, help="A customer's rated rows to its own server: signed files or a topic.")
app.add_typer(sync_app, name="sync")

AccountArgument = Annotated[str, typer.Argument(help="The billing account; no other account's row is copied.")]
BundlesArgument = Annotated[Path, typer.Argument(help="The folder of the bundles, one for each account.")]


@sync_app.command()
def key(file: Annotated[Path, typer.Argument(help="Where to write the private key; FILE.pub gets the public one.")]) -> None:
    """Make the key that signs bundles. Give customers FILE.pub.

    Example: `boss sync key signing.pem`
    """
    public = pipelines.signing.make_key(file)
    messages.print(f"{file} signs; keep it secret. {public} is for whoever checks.")


@sync_app.command()
def bundles(
    account: AccountArgument,
    folder: BundlesArgument,
    key: Annotated[Path, typer.Option(help="The private key, from `boss sync key`.", envvar="BOSS_SYNC_KEY")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Write what is new of a customer's rated rows as signed Parquet bundles. Again: only what came since.

    Example: `boss sync bundles huaxing out/huaxing --key signing.pem`
    """
    with progress(f"copying rows of {account}"):
        written = pipelines.sync_bundles.write_bundles(
            open_workspace(workspace), account, folder, pipelines.signing.read_key(key)
        )
    rows = sum(bundle.rows for bundle in written)
    messages.print(
        f"{rows:,} rows in {len(written)} new bundles in {folder}." if written else "Nothing new; nothing was written."
    )


@sync_app.command()
def check(
    folder: BundlesArgument,
    public_key: Annotated[Path, typer.Option(help="The .pub file.")],
    format: FormatOption = Format.TABLE,
) -> None:
    """Check that bundles are whole, in order and signed by us. Needs no workspace.

    Example: `boss sync check out/huaxing --public-key signing.pem.pub`
    """
    found = pipelines.sync_bundles.check_bundles(folder, pipelines.signing.read_public_key(public_key))
    rows = [(bundle.number, bundle.account, bundle.rows, bundle.digest) for bundle in found]
    show(pl.DataFrame(rows, schema=["bundle", "account_id", "rows", "sha256"], orient="row"), format)


@sync_app.command()
def topic(
    account: AccountArgument,
    topic: Annotated[str, typer.Argument(help="The customer's topic; created with one partition when it is missing.")],
    kafka: Annotated[str, typer.Option(help="Brokers that have the topic; the workspace's own if left out.")] = "",
    workspace: WorkspaceOption = HERE,
) -> None:
    """Send what is new of a customer's rated rows to its topic, in order. Again: only what came since.

    Example: `boss sync topic huaxing rated.huaxing --kafka broker.huaxing.example:9092`
    """
    opened = open_workspace(workspace)
    brokers = kafka or opened.settings.kafka
    if not brokers:
        raise Refused("There is no Kafka to send to. Name it with --kafka or set BOSS_KAFKA; files: `boss sync bundles`.")
    with progress(f"sending rows of {account}") as status:
        sent = pipelines.sync_topic.send_rows(opened, account, topic, brokers, status.update)
    messages.print(f"{sent:,} rows sent to {topic}." if sent else "Nothing new; nothing was sent.")
