"""The ledger knows the topic its positions are of: another topic of the same name, or with more partitions, is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ledger.table import LedgerTable, source_id
from pipelines.topic_life import Topic, TopicLife, keep_life
from schemas.errors import StreamMoved
from tests.stream_fakes import HEARD

STREAM = "kafka:usage@1"


def topic(partitions: int = 4, identity: int | None = 7, stream: str = STREAM) -> Topic:
    return Topic("usage", stream, TopicLife(partitions, identity))


@pytest.fixture
def table(tmp_path: Path) -> LedgerTable:
    return LedgerTable(tmp_path / "table", HEARD)


def test_a_life_is_noted_once_and_recognised(table: LedgerTable) -> None:
    keep_life(table, topic())
    version = table.version()
    keep_life(table, topic())
    assert table.version() == version
    assert table.scan().collect().is_empty()


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (topic(identity=8), r"it was deleted and created again\. Stop all workers, set a new stream\.epoch"),
        (topic(partitions=8), r"has 8 partitions, and the ledger knows it as 'kafka:usage@1' with 4.*stream\.epoch"),
        (topic(partitions=8, identity=8), "deleted and created again"),
        (topic(partitions=2, identity=None), "has 2 partitions"),
    ],
)
def test_another_life_is_refused_until_the_epoch_is_new(now: Topic, why: str, table: LedgerTable) -> None:
    keep_life(table, topic())
    for _ in range(2):
        with pytest.raises(StreamMoved, match=why):
            keep_life(table, now)
    keep_life(table, topic(now.life.partitions, now.life.identity, stream="kafka:usage@2"))
    keep_life(table, topic())


def test_a_broker_that_knows_no_ids_is_believed_and_an_id_is_noted_when_one_comes(table: LedgerTable) -> None:
    keep_life(table, topic(identity=None))
    keep_life(table, topic(identity=7))
    keep_life(table, topic(identity=None))
    with pytest.raises(StreamMoved):
        keep_life(table, topic(identity=8))


def test_a_ledger_of_an_earlier_version_takes_the_topic_as_it_is(table: LedgerTable) -> None:
    table.append(HEARD.empty(), expected={}, reached={source_id(STREAM, 0): 41})
    keep_life(table, topic())
    assert table.position(source_id(STREAM, 0)) == 41


def test_workers_that_start_at_one_moment_note_it_together(tmp_path: Path) -> None:
    problems: list[BaseException] = []

    def start() -> None:
        try:
            keep_life(LedgerTable(tmp_path / "table", HEARD), topic())
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
