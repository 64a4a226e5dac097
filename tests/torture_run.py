"""One run of the torture suite: events are sent and workers tormented, and when both are done everything must come to rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ledger.table import source_id
from pipelines.workspace import Workspace
from tests.kafka import KafkaNode
from tests.torture_crew import ROOT, Crew, Worker, read_log
from tests.torture_feed import CODECS, Feed

PERIOD = "2026-10"
TOPIC = "usage"
SESSION_SECONDS = 2.0
SETTLE_SECONDS = 180
STOP_SECONDS = 30
RUTHLESS = 0.01
"""How likely it is, twenty times a second, that the next blow falls before the workers have got over the last kill."""

ARMED = 0.75
"""Part of the workers that will kill themselves at a point, and how likely we kill one of those before it does."""
KILL_ARMED = 0.1

BROKER_DEED = "broker stopped and started"

FILE_LIMITS = (0, 512, 2_000, 8_000, 20_000)
"""Bytes after which a disk is full: nothing, a part of a log entry, a part of a data file."""


@dataclass(frozen=True)
class Plan:
    """How much of what."""

    events: int
    kills: int
    seed: int = 1
    most_workers: int = 3
    flush_events: int = 2_000
    points_only: bool = False
    """Every worker kills itself at a point, one point after the other, and nothing else is done."""
    brokers_only: bool = False
    """`kills` are those of brokers, one after the other, and nothing else is done."""


@dataclass
class Wound:
    """A kill after which some partitions with messages waiting have not moved on yet: partition -> position then."""

    at: float
    waiting: dict[int, int]


class Torture:
    """Feeds a workspace's topic and torments its workers. What it counted is read from its fields afterwards."""

    def __init__(self, plan: Plan, workspace: Workspace, kafka: str, nodes: Sequence[KafkaNode], folder: Path) -> None:
        self.plan = plan
        self.deeds: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.recoveries: list[float] = []
        """Seconds from each kill to the moment when every partition with messages waiting had moved on."""
        self._random = Random(plan.seed)
        self._workspace = workspace
        self._nodes = nodes
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._settings = {
            "BOSS_KAFKA": kafka,
            "BOSS_STREAM__TOPIC": TOPIC,
            "BOSS_STREAM__SESSION_SECONDS": str(SESSION_SECONDS),
            "BOSS_STREAM__FLUSH_EVENTS": str(plan.flush_events),
            "BOSS_STREAM__PORT": "0",
        }
        self.crew = Crew(workspace.root, self._settings, self._logs, self._random)
        if plan.points_only:
            self.crew.most_passes = 1  # events wait for kills, so a second batch might not come
        codecs = CODECS if nodes else (None,)
        self.feed = Feed(kafka, TOPIC, folder, events=plan.events, seed=plan.seed, allowed=self._allowed_events, codecs=codecs)
        self._wounds: list[Wound] = []
        self._beside: tuple[str, subprocess.Popen[bytes], Path] | None = None
        self._begun = 0

    def run(self) -> None:
        """Torment until all events are sent and all kills done, then let the workers finish, stop them, and check."""
        self.feed.start()
        next_deed = time.monotonic()
        try:
            while self.feed.failure is None and (self.feed.running or self._tormenting):
                self._look_after()
                if self._tormenting and not self.plan.points_only and time.monotonic() > next_deed and self._merciless():
                    self._do_something()
                    next_deed = time.monotonic() + self._random.uniform(0.5, 3)
                time.sleep(0.05)
            if self.feed.failure is not None:
                raise self.feed.failure
            self._come_to_rest()
        finally:
            self.crew.abandon()
            if self._beside is not None:
                self._beside[1].kill()
        self._command("ledger check", "ledger", "check")
        self._end_command()
        self._command("ledger verify", "ledger", "verify")
        self._end_command()

    @property
    def _tormenting(self) -> bool:
        return self._kills < self.plan.kills

    @property
    def _kills(self) -> int:
        """Those that the plan counts."""
        return self.deeds[BROKER_DEED] if self.plan.brokers_only else self.crew.kills.total()

    def _allowed_events(self) -> int:
        """Events and kills go hand in hand: a kill when nothing is on its way proves nothing."""
        return min(self.plan.events, self.plan.events * (self._kills + 1) // self.plan.kills)

    def _look_after(self) -> None:
        plan = self.plan
        self.crew.armed = 0.0 if plan.brokers_only or not self._tormenting else 1.0 if plan.points_only else ARMED
        for _ in range(self.crew.look_after()):
            reached = dict(self.feed.reached)
            self._wounds.append(
                Wound(time.monotonic(), {p: at for p, at in self._positions().items() if at < reached.get(p, -1)})
            )
        if self._wounds:
            self._see_who_recovered()
        if self._beside is not None and self._beside[1].poll() is not None:
            self._end_command()

    def _positions(self) -> dict[int, int]:
        """Last offset in the ledger of every partition that was sent to, -1 where there is none."""
        stream = f"kafka:{TOPIC}@1"
        positions = self._workspace.ledger().postings.positions([source_id(stream, p) for p in self.feed.reached])
        return {p: -1 if (at := positions.get(source_id(stream, p))) is None else at for p in self.feed.reached}

    def _see_who_recovered(self) -> None:
        positions, now = self._positions(), time.monotonic()
        for wound in list(self._wounds):
            if all(positions[p] > at for p, at in wound.waiting.items()):
                self._wounds.remove(wound)
                if wound.waiting:
                    self.recoveries.append(now - wound.at)

    def _merciless(self) -> bool:
        return not self._wounds or self._random.random() < RUTHLESS

    # -------------------------------------------------------------------------------------------- deeds

    def _do_something(self) -> None:
        deeds: dict[Callable[[Worker], None], int] = {
            self._kill: 6,
            self._terminate: 2,
            self._freeze: 2,
            self._fill_disk: 2,
            self._change_number: 2,
            self._compact: 2,
            self._bill: 2,
            self._stop_broker: 1 if self._nodes else 0,
        }
        if self.plan.brokers_only:
            deeds = {self._stop_broker: 1}
        free = [worker for worker in self.crew.workers if worker.doomed is None and worker.thaw_at is None]
        if free:
            self._random.choices(list(deeds), list(deeds.values()))[0](self._random.choice(free))

    def _kill(self, worker: Worker) -> None:
        """One that will kill itself at a point is mostly left to do so."""
        if worker.point is None or self._random.random() < KILL_ARMED:
            worker.doomed = "killed"
            worker.process.kill()

    def _terminate(self, worker: Worker) -> None:
        worker.doomed = "stopped"
        worker.process.terminate()
        self.deeds["SIGTERM"] += 1

    def _freeze(self, worker: Worker) -> None:
        worker.process.send_signal(signal.SIGSTOP)
        worker.thaw_at = time.monotonic() + SESSION_SECONDS + self._random.uniform(0.5, 3)
        self.deeds["SIGSTOP beyond the session"] += 1

    def _fill_disk(self, worker: Worker) -> None:
        worker.limit_files(self._random.choice(FILE_LIMITS))
        worker.heal_at = time.monotonic() + self._random.uniform(0.5, 3)
        self.deeds["disk full for a while"] += 1

    def _change_number(self, worker: Worker) -> None:
        numbers = [number for number in range(1, self.plan.most_workers + 1) if number != self.crew.wanted]
        self.crew.wanted = self._random.choice(numbers or [1])
        if self.crew.wanted < len(self.crew.workers):
            self._terminate(worker)
        self.deeds["workers joined or left"] += 1

    def _compact(self, worker: Worker) -> None:
        self._command("ledger compact", "ledger", "compact", "--period", PERIOD)

    def _bill(self, worker: Worker) -> None:
        self._command("bill run", "bill", "run", "--period", PERIOD)

    def _stop_broker(self, worker: Worker) -> None:
        """One broker goes away and comes back; with three, the others go on without it."""
        node = self._nodes[self.deeds[BROKER_DEED] % len(self._nodes)]
        node.stop(self._random.choice([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]))
        away = time.monotonic() + self._random.uniform(0, 3) * len(self._nodes)
        while time.monotonic() < away:
            self._look_after()
            time.sleep(0.05)
        node.start()
        self.deeds[BROKER_DEED] += 1

    def _command(self, what: str, *arguments: str) -> None:
        """Begin a `boss` command, unless one is running."""
        if self._beside is None:
            self._begun += 1
            log = self._logs / f"command-{self._begun:04}.log"
            command = [sys.executable, "-m", "cli", *arguments, "--workspace", str(self._workspace.root)]
            with log.open("wb") as out:
                process = subprocess.Popen(command, cwd=ROOT, env=os.environ | self._settings, stdout=out, stderr=out)
            self._beside = (what, process, log)

    def _end_command(self) -> None:
        if self._beside is not None:
            what, process, log = self._beside
            self._beside = None
            if process.wait(STOP_SECONDS * 10) != 0:
                self.unexplained.append(f"boss {what} ended with {process.returncode}: {read_log(log)[-2_000:]}")
            self.deeds[f"boss {what}"] += 1

    # ---------------------------------------------------------------------------------------------- end

    def _come_to_rest(self) -> None:
        """Everything sent reaches the ledger without further harm, and every worker stops when asked to."""
        for worker in self.crew.workers:
            worker.wake()
        self._end_command()
        deadline = time.monotonic() + SETTLE_SECONDS
        while any(at < self.feed.reached[p] for p, at in self._positions().items()):
            self._look_after()
            if time.monotonic() > deadline:
                self.unexplained.append(f"the ledger stands still at {self._positions()} of {self.feed.reached}")
                break
            time.sleep(0.1)
        self._look_after()
        self.crew.stop(STOP_SECONDS)
