"""One run of the torture suite: events are sent and workers tormented, and when both are done everything must come to rest."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random

from ledger.table import source_id
from tests.kafka import KafkaNode
from tests.torture_check import missing
from tests.torture_clock import build_library
from tests.torture_commands import Commands
from tests.torture_crew import Crew, Program, Worker
from tests.torture_deeds import BROKER_DEED, SESSION_SECONDS, Deeds
from tests.torture_disk import Disk
from tests.torture_feed import CODECS, Feed
from tests.torture_group import mend_group
from tests.torture_topic import EPOCH, TopicLives
from tests.torture_world import World

TOPIC = "usage"
UNKEYED_TOPIC = "raw"
REKEY = Program("tests.rekey_killed", "rekey", ("keyed", "partly sent", "sent", "committed"), "REKEY_POINT")
SETTLE_SECONDS = 180
STOP_SECONDS = 30
GROUP = "boss"
STILL_SECONDS = 12.0
"""How long nothing moves though messages wait, until the embedded broker is asked whether its group is in order."""
RUTHLESS = 0.01
"""How likely it is, twenty times a second, that the next blow falls before the workers have got over the last kill."""

ARMED = 0.75
"""Part of the workers that will kill themselves at a point."""


@dataclass(frozen=True)
class Plan:
    """How much of what."""

    events: int
    kills: int
    seed: int = 1
    most_workers: int = 3
    flush_events: int = 2_000
    lives: int = 0
    """How often the topic is created again or given more partitions, spread over the run."""
    minutes: float = math.inf
    """When so long has passed it is ended in order, however far it came: what was sent is rated and judged."""
    rekey: bool = False
    """Messages have no key and go through `boss rekey`, which is killed too."""
    points_only: bool = False
    """Every worker kills itself at a point, one point after the other; every other deed that is short is done once."""
    brokers_only: bool = False
    """`kills` are those of brokers, one after the other, and nothing else is done."""


@dataclass
class Wound:
    """A kill after which some partitions with messages waiting have not moved on yet: partition -> position then."""

    at: float
    waiting: dict[int, int]


class Diary(Counter[str]):
    """Counts deeds, and writes each with its time into a file."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def __setitem__(self, deed: str, times: int) -> None:
        if times:
            with self._file.open("a") as out:
                out.write(f"{datetime.now(UTC):%H:%M:%S} {deed} {times}\n")
        super().__setitem__(deed, times)


class Torture:
    """Feeds a workspace's topic and torments its workers. What it counted is read from its fields afterwards."""

    def __init__(
        self, plan: Plan, world: World, kafka: str, nodes: Sequence[KafkaNode], folder: Path, disk: Disk | None = None
    ) -> None:
        self.plan = plan
        self.deeds = Diary(folder / "diary.log")
        self.unexplained: list[str] = []
        self.recoveries: list[float] = []
        """Seconds from each kill to the moment when every partition with messages waiting had moved on."""
        self._random = Random(plan.seed)
        self._ledger = world.workspace.ledger().postings
        logs = folder / "logs"
        logs.mkdir()
        self._settings = {
            "BOSS_KAFKA": kafka,
            "BOSS_STREAM__TOPIC": TOPIC,
            "BOSS_STREAM__GROUP": GROUP,
            "BOSS_STREAM__SESSION_SECONDS": str(SESSION_SECONDS),
            "BOSS_STREAM__FLUSH_EVENTS": str(plan.flush_events),
            "BOSS_STREAM__PORT": "0",
            "BOSS_REKEY__TOPIC": UNKEYED_TOPIC,
            "BOSS_REKEY__PORT": "0",
            EPOCH: "1",
        }
        root = world.workspace.root
        self.crew = Crew(root, self._settings, logs, self._random, build_library(folder))
        self.rekeyers = Crew(root, self._settings, logs, self._random, None, REKEY)
        self.rekeyers.wanted = 2 if plan.rekey else 0
        if plan.points_only:
            self.crew.most_passes = 1  # events wait for kills, so a second batch might not come
        self.commands = Commands(root, self._settings, logs, self.deeds)
        codecs = CODECS if nodes else (None,)
        self.feed = Feed(
            kafka,
            UNKEYED_TOPIC if plan.rekey else TOPIC,
            folder,
            world,
            events=plan.events,
            seed=plan.seed,
            allowed=self._allowed_events,
            codecs=codecs,
            keyed=not plan.rekey,
        )
        self._missing = partial(missing, world.workspace.ledger_folder, folder)
        self._deeds = Deeds(
            self.crew, self.commands, self.feed, world, nodes, disk, self._random, self.deeds, self._look_after, self.rekeyers
        )
        self._deeds.most_workers = plan.most_workers
        self._errands = deque(self._deeds.each_once() if plan.points_only else [])
        self._lives = TopicLives(
            kafka,
            TOPIC,
            self._settings,
            self.crew,
            self.feed,
            self.commands,
            positions=self._positions,
            look_after=self._look_after,
            hidden=not nodes,
        )
        self._lived = 0
        self._wounds: list[Wound] = []
        self._embedded = None if nodes else kafka
        self._until = math.inf
        self._still: tuple[float, dict[int, int]] = (time.monotonic(), {})

    def run(self) -> None:
        """Torment until all events are sent and all kills done, then let the workers finish, stop them, and check."""
        self.feed.start()
        self._until = time.monotonic() + 60 * self.plan.minutes
        next_deed = time.monotonic()
        try:
            while self.feed.failure is None and (self.feed.running or self._tormenting):
                self._look_after()
                if time.monotonic() > self._until:
                    self.feed.end()
                if self._tormenting and time.monotonic() > next_deed and self._merciless():
                    self._do_something()
                    next_deed = time.monotonic() + self._random.uniform(0.5, 3)
                time.sleep(0.05)
            if self.feed.failure is not None:
                raise self.feed.failure
            self._come_to_rest()
        finally:
            self._deeds.heal()
            self.crew.abandon()
            self.rekeyers.abandon()
            self.commands.abandon()
        for check in ("check", "verify"):
            self.commands.begin("ledger", check)
            self.commands.finish()

    @property
    def _tormenting(self) -> bool:
        return self._kills < self.plan.kills and time.monotonic() < self._until

    @property
    def _kills(self) -> int:
        """Those that the plan counts."""
        return self.deeds[BROKER_DEED] if self.plan.brokers_only else self.crew.kills.total() + self.rekeyers.kills.total()

    def _allowed_events(self) -> int:
        """Events and kills go hand in hand: a kill when nothing is on its way proves nothing."""
        return min(self.plan.events, self.plan.events * (self._kills + 1) // self.plan.kills)

    def _do_something(self) -> None:
        plan = self.plan
        if self._lived < plan.lives and self._kills * (plan.lives + 1) >= plan.kills * (self._lived + 1) and self.feed.running:
            self._change_topic()
        elif plan.brokers_only:
            self._with_a_worker(self._deeds.stop_broker)
        elif not plan.points_only:
            self._deeds.do_something()
        elif self._errands and not self.commands.running:
            self._with_a_worker(self._errands.popleft())

    def _with_a_worker(self, deed: Callable[[Worker], object]) -> None:
        if self.crew.workers:
            deed(self._random.choice(self.crew.workers))

    def _change_topic(self) -> None:
        self._lived += 1
        self._wounds.clear()
        if self._lived % 2 or not self._lives.can_grow:
            self._lives.create_again()
            self.deeds["topic deleted and created again"] += 1
        else:
            self._lives.add_partitions()
            self.deeds["topic given more partitions"] += 1
        self._wounds.clear()

    def _look_after(self) -> None:
        plan = self.plan
        self.crew.armed = 0.0 if plan.brokers_only or not self._tormenting else 1.0 if plan.points_only else ARMED
        self.rekeyers.armed = self.crew.armed
        self.rekeyers.look_after()
        for _ in range(self.crew.look_after()):
            reached = dict(self.feed.reached)
            self._wounds.append(
                Wound(time.monotonic(), {p: at for p, at in self._positions().items() if at < reached.get(p, -1)})
            )
        if self.crew.topic_changed:
            self._wounds.clear()
        if self._wounds:
            self._see_who_recovered()
        self._deeds.look_after()
        self.commands.look_after()
        self._watch_group()

    def _watch_group(self) -> None:
        """The embedded broker may lose the leader of the group; then nothing would ever move again."""
        since, before = self._still
        if self._embedded is None or time.monotonic() < since + STILL_SECONDS:
            return
        positions = self._positions()
        self._still = (time.monotonic(), positions)
        behind = any(at < self.feed.reached[p] for p, at in positions.items())
        if positions == before and behind and mend_group(self._embedded, GROUP):
            self.deeds["embedded broker lost the group's leader"] += 1

    def _positions(self) -> dict[int, int]:
        """Last offset in the ledger of every partition that was sent to, -1 where there is none. Nothing with `rekey`."""
        stream, sent = f"kafka:{TOPIC}@{self._settings[EPOCH]}", [] if self.plan.rekey else list(self.feed.reached)
        positions = self._ledger.positions([source_id(stream, p) for p in sent])
        return {p: -1 if (at := positions.get(source_id(stream, p))) is None else at for p in sent}

    def _see_who_recovered(self) -> None:
        positions, now = self._positions(), time.monotonic()
        for wound in list(self._wounds):
            if all(positions[p] > at for p, at in wound.waiting.items()):
                self._wounds.remove(wound)
                if wound.waiting:
                    self.recoveries.append(now - wound.at)

    def _merciless(self) -> bool:
        return not self._wounds or self._random.random() < RUTHLESS

    def _come_to_rest(self) -> None:
        """Everything sent reaches the ledger without further harm, and every worker stops when asked to."""
        self._deeds.heal()
        for worker in [*self.crew.workers, *self.rekeyers.workers]:
            worker.wake()
        self.commands.finish(self._look_after)
        deadline = time.monotonic() + SETTLE_SECONDS
        while any(at < self.feed.reached[p] for p, at in self._positions().items()) or (self.plan.rekey and self._missing()):
            self._look_after()
            if time.monotonic() > deadline:
                self.unexplained.append(f"the ledger stands still at {self._positions()} of {self.feed.reached}")
                break
            time.sleep(0.1)
        self._look_after()
        self.rekeyers.stop(STOP_SECONDS)
        self.crew.stop(STOP_SECONDS)
