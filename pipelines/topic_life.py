"""One life of a topic: what may not change while the ledger has positions in it.

Kafka gives every topic that is created an id of its own. The ledger keeps it, and the number of partitions, beside the
positions: a topic that was deleted and created again is recognised even when it has grown past the old positions, and one
that was given more partitions before a worker counts an account in the wrong place. A new `stream.epoch` is a new life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from ledger.table import LedgerTable, source_id
from schemas.errors import Fenced, StreamMoved

_TEXT = CompactString("utf-8")


@dataclass(frozen=True)
class TopicLife:
    """What a broker says of a topic."""

    partitions: int
    identity: int | None
    """63 bits of the topic's id; None: the broker knows no ids (before Kafka 2.8, or the embedded broker)."""


@dataclass(frozen=True)
class Topic:
    """A topic, what the ledger calls it, and the life it is in now."""

    name: str
    stream: str
    life: TopicLife


def keep_life(table: LedgerTable, topic: Topic) -> None:
    """Note the topic's life in the ledger when it has none of this stream, otherwise compare them.

    Raises:
        StreamMoved: The ledger's positions belong to another life.
    """
    stream, life = topic.stream, topic.life
    sources = {source_id(f"{stream}#partitions", 0): life.partitions}
    if life.identity is not None:
        sources[source_id(f"{stream}#topic", 0)] = life.identity
    while True:
        kept = table.positions(sources)
        new = {source: number for source, number in sources.items() if kept[source] is None}
        if not new:
            break
        try:
            table.append(table.schema.empty(), expected=dict.fromkeys(new), reached=new)
        except Fenced:  # another worker of ours noted it at the same moment
            continue
    check_life(Topic(topic.name, stream, _kept(kept, stream)), life)


def check_life(topic: Topic, now: TopicLife) -> None:
    """Raises StreamMoved when the topic is in another life now."""
    name, stream, kept = topic.name, topic.stream, topic.life
    advice = (
        "Stop all workers, set a new stream.epoch (any new name) and start them again: the topic is then read from its "
        "beginning, and events that were rated before are recognised by their ids."
    )
    if now.identity is not None and kept.identity is not None and now.identity != kept.identity:
        raise StreamMoved(
            f"Topic '{name}' is not the one the ledger knows as '{stream}': it was deleted and created again. {advice}"
        )
    if now.partitions != kept.partitions:
        raise StreamMoved(
            f"Topic '{name}' has {now.partitions} partitions, and the ledger knows it as '{stream}' with {kept.partitions}: "
            f"accounts are counted elsewhere now. {advice} What came by its old partition and was not rated yet becomes a "
            "reject (wrong_partition), which `boss rejects retry` sends to the new one."
        )


def _kept(positions: dict[str, int | None], stream: str) -> TopicLife:
    partitions = positions[source_id(f"{stream}#partitions", 0)]
    assert partitions is not None
    return TopicLife(partitions, positions.get(source_id(f"{stream}#topic", 0)))


async def read_life(client: Any, topic: str) -> TopicLife | None:
    """What a broker says of the topic now; None when it does not know the topic at this moment.

    Args:
        client: A started AIOKafkaClient.

    Raises:
        KafkaError: No broker answers.
    """
    try:
        response = await client.send(client.get_random_node(), _Describe(topic))
    except NotImplementedError:
        await client.force_metadata_update()
        partitions = client.cluster.partitions_for_topic(topic)
        return TopicLife(len(partitions), None) if partitions else None
    (error, _, identity, _, partitions, *_) = response.topics[0]
    if error:
        kind = for_code(error)
        if kind.retriable:
            return None
        raise kind(topic)
    return TopicLife(len(partitions), identity)


class _Id(AbstractType[int]):  # type: ignore[misc]
    """A UUID, as 63 of its bits: what fits into a position."""

    @classmethod
    def encode(cls, value: int) -> bytes:
        return bytes(16)  # we ask by name

    @classmethod
    def decode(cls, data: Any) -> int:
        return int.from_bytes(data.read(16), "big") >> 65


class _Described(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields))),
        ("cluster", _TEXT),
        ("controller", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("identity", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("in_sync", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("operations", Int32),
        ("tags", TaggedFields),
    )


class _DescribeV10(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Described
    SCHEMA = Schema(
        ("topics", CompactArray(("identity", _Id), ("name", _TEXT), ("tags", TaggedFields))),
        ("create", Boolean),
        ("cluster_operations", Boolean),
        ("topic_operations", Boolean),
        ("tags", TaggedFields),
    )


class _Describe(Request[_DescribeV10]):  # type: ignore[misc]
    """Metadata of one topic in the version that tells its id, which aiokafka itself does not ask for."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_DescribeV10]) -> _DescribeV10:
        return request_struct_class([(0, self._topic, {})], False, False, False, {})
