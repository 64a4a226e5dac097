"""One customer's rows on the customer's own side: all of them, in order, once, and nobody else's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaConsumer
from typer.testing import CliRunner

import pipelines.sync_bundles
from cli import app
from pipelines.signing import make_key, read_key, read_public_key
from pipelines.sync_bundles import check_bundles, write_bundles
from pipelines.sync_topic import send_rows
from schemas.errors import BadFile, Refused
from schemas.ledger import POSITION_KEY
from tests.corrections_world import OCTOBER, Shop, usage

ACCOUNT = "beifang"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    shop.rate(usage(300), stream="kafka:usage@1")
    return shop


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


def owed(shop: Shop, account: str = ACCOUNT) -> pl.DataFrame:
    """What the ledger says the customer owes, by position."""
    return shop.postings().filter(account_id=account, role="revenue").sort(POSITION_KEY)


def copied(folder: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])


def account_with_rows(shop: Shop) -> str:
    """The customer that the template's usage gives most rows."""
    counts = shop.postings().filter(role="revenue")["account_id"].value_counts(sort=True)
    return str(counts["account_id"][0])


def test_bundles_hold_every_row_of_the_customer_once_and_go_on_where_they_ended(
    shop: Shop, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.sync_bundles, "BUNDLE_ROWS", 20)
    account, folder = account_with_rows(shop), tmp_path / "out"
    first = write_bundles(shop.workspace, account, folder, read_key(key))
    assert len(first) > 1
    assert copied(folder).equals(owed(shop, account).drop("role", "partner_id"))
    assert write_bundles(shop.workspace, account, folder, read_key(key)) == []
    shop.rate(usage(100, seed=2, month="2026-11"), stream="kafka:usage@1", first_offset=300)
    shop.bill(OCTOBER)  # fees: rows of another stream
    write_bundles(shop.workspace, account, folder, read_key(key))
    everything = copied(folder)
    assert everything.sort(POSITION_KEY).equals(owed(shop, account).drop("role", "partner_id"))
    assert set(everything["account_id"]) == {account}
    assert [b.rows for b in check_bundles(folder, read_public_key(Path(f"{key}.pub")))] == [
        pl.read_parquet(path).height for path in sorted(folder.glob("*.parquet"))
    ]


def test_a_bundle_that_was_not_finished_is_written_anew(shop: Shop, key: Path, tmp_path: Path) -> None:
    account, folder = account_with_rows(shop), tmp_path / "out"
    write_bundles(shop.workspace, account, folder, read_key(key))
    (folder / "000001.json").unlink()  # killed before the description was there
    assert len(write_bundles(shop.workspace, account, folder, read_key(key))) == 1
    assert copied(folder).equals(owed(shop, account).drop("role", "partner_id"))


def change(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change("000001.json", b'"rows": 20', b'"rows": 21'), "000001.json: does not carry our signature"),
        (change("000001.parquet", b"PAR1", b"PAR2"), "000001.parquet: is not the file that its description names"),
        (lambda folder: (folder / "000001.json").unlink(), "000001.json: is missing"),
        (lambda folder: (folder / "000002.sig").unlink(), "000002.json: does not carry our signature"),
        (
            lambda folder: [
                (folder / f"000002.{part}").write_bytes((folder / f"000001.{part}").read_bytes())
                for part in ("json", "sig", "parquet")
            ],
            "000002.json: does not follow the bundle before it",
        ),
    ],
)
def test_damage_is_found_and_named(
    damage: Callable[[Path], object], said: str, shop: Shop, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.sync_bundles, "BUNDLE_ROWS", 20)
    folder = tmp_path / "out"
    write_bundles(shop.workspace, account_with_rows(shop), folder, read_key(key))
    damage(folder)
    with pytest.raises(BadFile, match=said):
        list(check_bundles(folder, read_public_key(Path(f"{key}.pub"))))
    with pytest.raises(BadFile):
        write_bundles(shop.workspace, account_with_rows(shop), folder, read_key(key))


def test_another_key_another_account_and_an_unknown_account_are_refused(shop: Shop, key: Path, tmp_path: Path) -> None:
    account, folder = account_with_rows(shop), tmp_path / "out"
    write_bundles(shop.workspace, account, folder, read_key(key))
    other = next(name for name in shop.postings()["account_id"].unique() if name != account)
    with pytest.raises(BadFile, match="Give each account a folder of its own"):
        write_bundles(shop.workspace, other, folder, read_key(key))
    with pytest.raises(Refused, match="no account 'nobody'"):
        write_bundles(shop.workspace, "nobody", folder, read_key(key))
    public = make_key(tmp_path / "other.pem")
    with pytest.raises(BadFile, match="signed with another key"):
        list(check_bundles(folder, read_public_key(public)))
    with pytest.raises(Refused, match="is there already"):
        make_key(key)
    with pytest.raises(BadFile, match="no private Ed25519 key"):
        read_key(public)
    assert key.stat().st_mode & 0o077 == 0


def read_topic(bootstrap: str, topic: str, count: int) -> list[Any]:
    """The first `count` messages of a topic with one partition."""

    async def read() -> list[Any]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            return [await asyncio.wait_for(anext(consumer), 10) for _ in range(count)]
        finally:
            await consumer.stop()

    return asyncio.run(read())


def test_a_topic_gets_every_row_in_order_and_only_new_ones_the_next_time(shop: Shop, kafka: str, topic: str) -> None:
    account = account_with_rows(shop)
    sent = send_rows(shop.workspace, account, topic, kafka, lambda _: None)
    assert sent == owed(shop, account).height
    assert send_rows(shop.workspace, account, topic, kafka, lambda _: None) == 0
    shop.rate(usage(100, seed=2, month="2026-11"), stream="kafka:usage@1", first_offset=300)
    more = send_rows(shop.workspace, account, topic, kafka, lambda _: None)
    rows = owed(shop, account)
    assert sent + more == rows.height
    messages = read_topic(kafka, topic, rows.height)
    events = [json.loads(message.value) for message in messages]
    assert {message.key for message in messages} == {account.encode()}
    assert [event["id"] for event in events] == ["/".join(map(str, at)) for at in rows.select(POSITION_KEY).iter_rows()]
    total = pl.Series([event["data"]["amount"] for event in events]).str.to_decimal(scale=18).sum()
    assert total == rows["amount"].sum()
    assert not any({"role", "partner_id"} & set(event["data"]) for event in events)


def test_the_commands_make_a_key_write_and_check(shop: Shop, tmp_path: Path) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["sync", *words])

    account, key, out = account_with_rows(shop), str(tmp_path / "k.pem"), str(tmp_path / "out")
    assert run("key", key).exit_code == 0
    assert run("bundles", account, out, "--key", key, "--workspace", str(shop.workspace.root)).exit_code == 0
    checked = run("check", out, "--public-key", f"{key}.pub", "--format", "json")
    assert checked.exit_code == 0
    assert sum(row["rows"] for row in json.loads(checked.stdout)) == owed(shop, account).height
    refused = run("topic", account, "t", "--workspace", str(shop.workspace.root))
    assert refused.exit_code == 1
    assert "There is no Kafka to send to" in refused.output
