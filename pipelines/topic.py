"""The usage topic: reach it, create it when it is missing, and say what is wrong when it cannot be read on."""

from __future__ import annotations

import asyncio
import logging
import math

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnsupportedCodecError, for_code

from schemas.errors import BadWorkspace, Refused, StreamMoved

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
REMIND_SECONDS = 5.0
KNOCK_SECONDS = 5.0


def topic_moved(topic: str, stream: str, partition: int, position: int, why: str) -> StreamMoved:
    """The error for a topic that no longer has the offset the ledger continues from."""
    return StreamMoved(
        f"Topic '{topic}' is not the one the ledger knows as '{stream}': the ledger has partition {partition} up to offset "
        f"{position}, but {why}. If the topic was deleted, emptied or created again, set a new stream.epoch (any new name) and "
        "start again; events that were rated before are recognised by their ids. If old events were removed by retention "
        "before they were rated, send them again after that."
    )


def unreadable(topic: str, error: KafkaError) -> Refused:
    """The error for a poll that would fail again: a codec we lack, a damaged record, a topic we may not read."""
    hint = " Install the package `cramjam`, which has the codecs." if isinstance(error, UnsupportedCodecError) else ""
    return Refused(f"Topic '{topic}' cannot be read: {error}.{hint} Nothing is lost; a restart continues from the ledger.")


async def ensure_topic(bootstrap: str, topic: str, partitions: int, *, patience_seconds: float = math.inf) -> int:
    """Wait for the broker, then make sure the topic exists. Returns its number of partitions, which may be another one.

    A broker that is not up yet is waited for, with one line in the log every few seconds.

    Raises:
        Refused: No broker answered within `patience_seconds`.
        BadWorkspace: Kafka refuses to create the topic; says why.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + patience_seconds
    while True:
        admin = await _reach(bootstrap, deadline - now())
        try:
            found = await _declare(admin, topic, partitions)
            break
        except KafkaError as error:
            if not error.retriable:
                raise
            if now() >= deadline:
                raise Refused(f"Kafka at {bootstrap} does not answer ({type(error).__name__}). Is it running?") from None
            await asyncio.sleep(RETRY_SECONDS)  # it went away while we talked
        finally:
            await admin.close()
    if found != partitions:
        log.info(
            "Topic '%s' has %d partitions; the setting stream.partitions (%d) is for new topics.", topic, found, partitions
        )
    return found


async def _declare(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> int:
    """Create the topic when it is missing, and wait until it is known. Returns its number of partitions."""
    await _create(admin, topic, partitions)
    while True:
        described = (await admin.describe_topics([topic]))[0]
        if described["error_code"] == 0 and described["partitions"]:
            return len(described["partitions"])
        await asyncio.sleep(0.1)  # created, and not known everywhere yet


async def _reach(bootstrap: str, patience_seconds: float) -> AIOKafkaAdminClient:
    now = asyncio.get_running_loop().time
    reminded, deadline = -math.inf, now() + patience_seconds
    while True:
        try:
            await _knock(bootstrap)
            return await _connect(bootstrap)
        except (KafkaError, OSError) as error:
            if now() >= deadline:
                raise Refused(f"Kafka at {bootstrap} does not answer ({type(error).__name__}). Is it running?") from None
            if now() - reminded >= REMIND_SECONDS:
                reminded = now()
                log.warning("Waiting for Kafka at %s: no answer yet (%s).", bootstrap, type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)


async def _knock(bootstrap: str) -> None:
    """Open a connection to any of the servers; aiokafka would log an error line for each that does not answer."""
    problem: OSError = ConnectionError(f"'{bootstrap}' names no server")
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), KNOCK_SECONDS)
        except OSError as error:
            problem = error
        except ValueError:
            raise BadWorkspace(f"'{server}' is no Kafka server. Write BOSS_KAFKA as host:port, several with commas.") from None
        else:
            writer.close()
            return
    raise problem


async def _connect(bootstrap: str) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="boss", request_timeout_ms=10_000)
    try:
        await admin.start()
    except BaseException:
        await admin.close()
        raise
    return admin


async def _create(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    if topic in await admin.list_topics():
        return
    # The broker's clock says when a message was received; a producer's clock could say anything.
    wanted = NewTopic(topic, partitions, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})
    wanted.replication_factor = -1  # the cluster's own default; the constructor does not know this value
    response = await admin.create_topics([wanted])
    for _, code, *rest in response.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            why = rest[0] if rest and rest[0] else error.description
            raise BadWorkspace(
                f"Kafka refuses to create the topic '{topic}' ({why}). Create it yourself or change stream.topic."
            )
