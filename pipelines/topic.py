"""The usage topic: reach it, create it when it is missing, and say what is wrong when it cannot be read on."""

from __future__ import annotations

import asyncio
import logging
import math

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnsupportedCodecError, for_code

from pipelines.login import FINAL, OPEN, Login
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


async def ensure_topic(
    bootstrap: str, topic: str, partitions: int, *, login: Login = OPEN, patience_seconds: float = math.inf
) -> int:
    """Wait for the broker, then make sure the topic exists. Returns its number of partitions, which may be another one.

    A broker that is not up yet is waited for, with one line in the log every few seconds.

    Raises:
        Refused: No broker answered within `patience_seconds`.
        BadWorkspace: Kafka refuses the login, or to create the topic; says why.
    """
    now = asyncio.get_running_loop().time
    deadline = now() + patience_seconds
    while True:
        admin = await reach_kafka(bootstrap, login, deadline - now())
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


async def find_topic(bootstrap: str, topic: str, login: Login = OPEN) -> int:
    """Wait for the broker, and give the number of partitions of a topic that others have made.

    Raises:
        Refused: There is no such topic.
        BadWorkspace: Kafka refuses the login, or to show the topic.
    """
    while True:
        admin = await reach_kafka(bootstrap, login, math.inf)
        try:
            if topic in await admin.list_topics():
                return await _count_partitions(admin, topic)
            raise Refused(f"There is no topic '{topic}' in Kafka at {bootstrap}. Create it, or mend rekey.topic.")
        except KafkaError as error:
            if not error.retriable:
                raise
            await asyncio.sleep(RETRY_SECONDS)  # it went away while we talked
        finally:
            await admin.close()


async def _declare(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> int:
    """Create the topic when it is missing, and wait until it is known. Returns its number of partitions."""
    await _create(admin, topic, partitions)
    return await _count_partitions(admin, topic)


async def _count_partitions(admin: AIOKafkaAdminClient, topic: str) -> int:
    """Wait until a topic that exists is known."""
    while True:
        described = (await admin.describe_topics([topic]))[0]
        if described["error_code"] == 0 and described["partitions"]:
            return len(described["partitions"])
        error = for_code(described["error_code"])
        if described["error_code"] and not error.retriable:
            raise BadWorkspace(f"Kafka does not show the topic '{topic}' ({error.description}). Ask for the right to read it.")
        await asyncio.sleep(0.1)  # created, and not known everywhere yet


async def reach_kafka(bootstrap: str, login: Login, patience_seconds: float) -> AIOKafkaAdminClient:
    """A started admin client, once a broker answers.

    Raises:
        Refused: None did within the time.
        BadWorkspace: One did and refuses the login, which is not tried again.
    """
    now = asyncio.get_running_loop().time
    reminded, deadline = -math.inf, now() + patience_seconds
    while True:
        try:
            await _knock(bootstrap, login)
            return await _connect(bootstrap, login)
        except FINAL as error:
            raise login.refused(bootstrap, error) from None
        except (KafkaError, OSError) as error:
            hint = f" Does its listener speak {login.protocol} (kafka_security.protocol)?" if _hung_up(login, error) else ""
            if now() >= deadline:
                raise Refused(f"Kafka at {bootstrap} does not answer ({type(error).__name__}). Is it running?{hint}") from None
            if now() - reminded >= REMIND_SECONDS:
                reminded = now()
                log.warning("Waiting for Kafka at %s: no answer yet (%s).%s", bootstrap, type(error).__name__, hint)
            await asyncio.sleep(RETRY_SECONDS)


def _hung_up(login: Login, error: Exception) -> bool:
    """Whether somebody took the connection and did not talk: a broker that starts, stops, or expects another greeting."""
    return isinstance(error, KafkaError) or (login.tls is not None and isinstance(error, TimeoutError | ConnectionResetError))


async def _knock(bootstrap: str, login: Login) -> None:
    """Log in to any of the servers; aiokafka's clients would log an error line for each that does not answer, and hide why."""
    problem: Exception = ConnectionError(f"'{bootstrap}' names no server")
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            number = int(port)
        except ValueError:
            raise BadWorkspace(f"'{server}' is no Kafka server. Write BOSS_KAFKA as host:port, several with commas.") from None
        try:
            timeout = int(KNOCK_SECONDS * 1000)
            connection = await create_conn(host.strip("[]"), number, request_timeout_ms=timeout, **login.options())
        except FINAL:
            raise
        except (KafkaError, OSError) as error:
            problem = error
        else:
            connection.close()
            return
    raise problem


async def _connect(bootstrap: str, login: Login) -> AIOKafkaAdminClient:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, client_id="boss", request_timeout_ms=10_000, **login.options())
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
