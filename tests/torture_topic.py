"""Another topic in the place of the old one while workers are killed: deleted and created again, or with more partitions.

What must come of it: every worker refuses and says what to do, also one that is started again; then we do what it says. Stop
all workers, set a new epoch, start them again, and send rejects of the reason wrong_partition once more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.torture_commands import Commands
from tests.torture_crew import Crew
from tests.torture_deeds import STANDSTILL
from tests.torture_feed import KEPT_CHUNKS, Feed

LATEST_SECONDS = 120
"""Until when all must have refused. A running worker looks at its topic every 15 seconds."""
REFUSALS = 2
"""How many more times than there are workers one must have refused: those that were started again."""
MORE_PARTITIONS = 2

EPOCH = "BOSS_STREAM__EPOCH"
Positions = Callable[[], dict[int, int]]


class TopicLives:
    """Changes the topic.

    Args:
        settings: The workers' environment; the epoch in it is changed.
        positions: Partition -> last offset in the ledger, of the topic's life at present.
        look_after: Called again and again: workers that ended are replaced, and some kill themselves.
        hidden: A topic that was created again cannot be told from the old one once it is longer: the broker knows no ids.
    """

    def __init__(
        self,
        kafka: str,
        topic: str,
        settings: MutableMapping[str, str],
        crew: Crew,
        feed: Feed,
        commands: Commands,
        *,
        positions: Positions,
        look_after: Callable[[], None],
        hidden: bool,
    ) -> None:
        self._kafka, self._topic, self._settings = kafka, topic, settings
        self._crew, self._feed, self._commands = crew, feed, commands
        self._positions, self._look_after, self._hidden = positions, look_after, hidden
        self.can_grow = not hidden  # a broker without ids cannot add partitions either

    def create_again(self) -> None:
        """Delete the topic while it has messages that nobody has rated; its producers send those again."""
        self._commands.finish(self._look_after)
        self._feed.pause()
        self._crew.topic_changed = True
        self._wait(lambda: self._feed.lag(self._positions()) < KEPT_CHUNKS // 2, "the ledger is far behind the topic")
        self._administer(self._delete)
        if not self._hidden:
            self._feed.lose_topic(self._positions())
            self._feed.resume()
        self._await_refusals()
        if self._hidden:
            self._feed.lose_topic(self._positions())
            self._feed.resume()
        self._begin_epoch()

    def add_partitions(self) -> None:
        """More partitions: many accounts are counted elsewhere from now on. What the topic holds stays where it is."""
        self._commands.finish(self._look_after)
        self._feed.pause()
        self._crew.topic_changed = True
        self._administer(self._grow)
        self._feed.resume()
        self._await_refusals()
        self._begin_epoch()
        # What came by its old partition and was not rated is a reject once the topic has been read.
        self._feed.pause()
        self._wait(lambda: self._feed.lag(self._positions()) == 0, "the topic is not read again")
        self._feed.resume()
        self._commands.begin("rejects", "retry", "--reason", "wrong_partition", until_done=True)
        self._commands.excuse(STANDSTILL)
        self._commands.finish(self._look_after)

    def _await_refusals(self) -> None:
        """Every worker refuses, and so do some that are started again."""
        wanted = self._crew.refused + self._crew.wanted + REFUSALS
        self._wait(lambda: self._crew.refused >= wanted, "workers go on with a topic that is another one")

    def _begin_epoch(self) -> None:
        self._crew.stop(30)
        self._settings[EPOCH] = str(int(self._settings[EPOCH]) + 1)
        self._crew.topic_changed = False

    def _wait(self, reached: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + LATEST_SECONDS
        while not reached():
            self._look_after()
            if time.monotonic() > until:
                self._crew.unexplained.append(f"{complaint}: {self._positions()} of {self._feed.reached}")
                return
            time.sleep(0.05)

    async def _delete(self, admin: AIOKafkaAdminClient) -> None:
        await admin.delete_topics([self._topic])
        until = time.monotonic() + 3
        while self._topic in await admin.list_topics() and time.monotonic() < until:  # or a worker has created it again
            await asyncio.sleep(0.05)

    async def _grow(self, admin: AIOKafkaAdminClient) -> None:
        described = (await admin.describe_topics([self._topic]))[0]
        await admin.create_partitions({self._topic: NewPartitions(len(described["partitions"]) + MORE_PARTITIONS)})

    def _administer(self, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> None:
        async def run() -> None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka)
            await admin.start()
            try:
                await work(admin)
            finally:
                await admin.close()

        asyncio.run(run())
