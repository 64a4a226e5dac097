"""The judge of the torture suite accepts a right ledger and finds what is wrong with one; a fault of the broker is mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest
from aiokafka.client import AIOKafkaClient

from examples.video_conference_events import generate_events
from pipelines.broker import embedded_broker
from pipelines.rate_file import now_ms, rate_chunks
from schemas.usage import RawBatch
from tests.torture_check import Verdict, check_ledger
from tests.torture_group import join, leave, mend_group
from tests.torture_messages import make_chunk
from tests.torture_prices import expected_rows
from tests.torture_world import PERIOD, World, with_our_customers


class Rated:
    """A ledger of 400 events with poison and top-ups among them, and the notes of what was sent: `frames`."""

    def __init__(self, folder: Path) -> None:
        workspace = World(folder / "workspace").workspace
        self._ledger = workspace.ledger_folder
        self._folder = folder
        made = generate_events(events=400, seed=1, month=PERIOD)
        chunk = make_chunk(pl.Series(with_our_customers(made, []), dtype=pl.Binary), 0)
        self.frames = {"sent": expected_rows(chunk.events, PERIOD), "poison": chunk.poison, "orders": chunk.orders}
        values = [value for _, value in chunk.messages]
        batch = RawBatch("kafka:usage@1", 0, list(range(len(values))), values, [now_ms()] * len(values))
        rate_chunks(workspace, [batch], lambda _: None)

    def judge(self, **other: pl.DataFrame) -> Verdict:
        """What the judge says when this had been sent instead."""
        for name, frame in (self.frames | other).items():
            (self._folder / name).mkdir(exist_ok=True)
            frame.write_parquet(self._folder / name / "0.parquet")
        return check_ledger(self._ledger, self._folder)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Rated:
    return Rated(tmp_path_factory.mktemp("rated"))


FIRST = pl.int_range(pl.len()) == 0


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("sent", pl.when(FIRST).then(pl.lit("other")).otherwise("event_id").alias("event_id"), {"lost", "wrong_events"}),
        ("sent", pl.when(FIRST).then(pl.col("quanta") + 1).otherwise("quanta").alias("quanta"), {"wrong_events"}),
        ("poison", pl.when(FIRST).then(pl.lit(b"x")).otherwise("message").alias("message"), {"rejects_lost", "wrong_rejects"}),
        ("poison", pl.when(FIRST).then(pl.lit("other")).otherwise("reason").alias("reason"), {"wrong_rejects"}),
        ("orders", pl.when(FIRST).then(pl.col("amount") * 2).otherwise("amount").alias("amount"), {"wrong_orders"}),
        ("orders", pl.when(FIRST).then(pl.lit("bonus")).otherwise("bucket").alias("bucket"), {"wrong_orders"}),
        ("orders", pl.when(FIRST).then(pl.lit("x")).otherwise("order_id").alias("order_id"), {"orders_lost", "wrong_orders"}),
    ],
)
def test_what_was_sent_and_is_not_in_the_ledger_as_it_was_is_found(
    rated: Rated, name: str, change: pl.Expr, found: set[str]
) -> None:
    assert rated.judge().faults() == {}
    assert set(rated.judge(**{name: rated.frames[name].with_columns(change)}).faults()) >= found


def test_money_in_a_balance_that_nobody_put_there_is_found(rated: Rated) -> None:
    assert rated.judge(orders=rated.frames["orders"].head(2)).faults() == {"wrong_orders": 1, "wrong_balances": 1}


def test_a_group_of_the_embedded_broker_that_lost_its_leader_gets_another_one(tmp_path: Path) -> None:
    async def lose_leader(kafka: str) -> str:
        client = AIOKafkaClient(bootstrap_servers=kafka)
        await client.bootstrap()
        await join(client, "boss")
        leader = str((await join(client, "boss")).leader_id)
        await leave(client, "boss", leader)
        assert (await join(client, "boss")).leader_id == leader, "the broker minds now, and the mending can go"
        await client.close()
        return leader

    async def next_leader(kafka: str) -> str:
        client = AIOKafkaClient(bootstrap_servers=kafka)
        await client.bootstrap()
        await asyncio.sleep(2.5)  # the session of those above
        leader = str((await join(client, "boss")).leader_id)
        await client.close()
        return leader

    with embedded_broker(tmp_path / "broker.log") as kafka:
        lost = asyncio.run(lose_leader(kafka))
        assert mend_group(kafka, "boss")
        assert asyncio.run(next_leader(kafka)) != lost
