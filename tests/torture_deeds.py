"""What is done to workers, ledger, broker and customers under torture: one thing at a time, at random."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.kafka import KafkaNode
from tests.torture_clock import STEPS
from tests.torture_commands import Commands
from tests.torture_crew import UNWRITABLE, Crew, Worker
from tests.torture_disk import Disk
from tests.torture_feed import Feed
from tests.torture_world import PERIOD, World

SESSION_SECONDS = 2.0

KILL_ARMED = 0.1
"""How likely we kill a worker that will kill itself at a point, before it does."""

BROKER_DEED = "broker stopped and started"

FILE_LIMITS = (0, 512, 2_000, 8_000, 20_000)
"""Bytes after which a disk is full to one process: nothing, a part of a log entry, a part of a data file."""

FILE_EVENTS = 2_000
"""In a usage file that is rated while workers run."""

STANDSTILL = "has not moved for a minute"
EXCUSES = ("does not answer", "Kafka did not take a batch", STANDSTILL)
"""Why a command that sends events may refuse while brokers come and go: the last also while workers are killed."""


class Deeds:
    """Does things and counts them in `done`.

    Args:
        look_after: Called again and again while something takes its time.
    """

    def __init__(
        self,
        crew: Crew,
        commands: Commands,
        feed: Feed,
        world: World,
        nodes: Sequence[KafkaNode],
        disk: Disk | None,
        chance: random.Random,
        done: Counter[str],
        look_after: Callable[[], None],
        rekeyers: Crew,
    ) -> None:
        self.done = done
        self.most_workers = 3
        self._crew, self._commands, self._feed, self._world = crew, commands, feed, world
        self._nodes, self._disk, self._random, self._look_after = nodes, disk, chance, look_after
        self._rekeyers = rekeyers
        self._heal_at: float | None = None

    def do_something(self) -> None:
        """One deed at random, if there is a worker that has nothing yet to bear."""
        deeds: dict[Callable[[Worker], object], int] = {
            self.kill: 6,
            self.terminate: 2,
            self.freeze: 2,
            self.fill_disk: 2,
            self.change_number: 2,
            self.step_clock: 2 if self._crew.has_clocks else 0,
            self.compact: 2,
            self.bill: 2,
            self.publish: 2,
            self.rate_file: 2,
            self.kill_command: 1,
            self.kill_rekeyer: 4 if self._rekeyers.wanted else 0,
            self.stop_rekeyer: 1 if self._rekeyers.wanted else 0,
            self.forbid_writing: 1 if self._disk else 0,
            self.leave_no_room: 1 if self._disk and self._disk.small else 0,
            self.stop_broker: 1 if self._nodes else 0,
        }
        if free := self._free():
            self._random.choices(list(deeds), list(deeds.values()))[0](self._random.choice(free))

    def each_once(self) -> list[Callable[[Worker], object]]:
        """Deeds that take little time, to be done one after the other."""
        clock = [self.step_clock] if self._crew.has_clocks else []
        disk = [self.forbid_writing] if self._disk else []
        return [*clock, self.publish, *disk, self.rate_file, self.compact, self.bill]

    def look_after(self) -> None:
        """End what was to last for a while."""
        if self._heal_at is not None and time.monotonic() > self._heal_at:
            self.heal()

    def heal(self) -> None:
        if self._heal_at is not None and self._disk is not None:
            self._disk.heal()
        self._heal_at = None

    def _free(self) -> list[Worker]:
        return [worker for worker in self._crew.workers if worker.doomed is None and worker.thaw_at is None]

    # ------------------------------------------------------------------------------------------- to a worker

    def kill(self, worker: Worker) -> None:
        """One that will kill itself at a point is mostly left to do so."""
        if worker.point is None or self._random.random() < KILL_ARMED:
            worker.doomed = "killed"
            worker.process.kill()

    def terminate(self, worker: Worker) -> None:
        worker.doomed = "stopped"
        worker.process.terminate()
        self.done["SIGTERM"] += 1

    def freeze(self, worker: Worker) -> None:
        worker.process.send_signal(signal.SIGSTOP)
        worker.thaw_at = time.monotonic() + SESSION_SECONDS + self._random.uniform(0.5, 3)
        self.done["SIGSTOP beyond the session"] += 1

    def fill_disk(self, worker: Worker) -> None:
        worker.limit_files(self._random.choice(FILE_LIMITS))
        worker.heal_at = time.monotonic() + self._random.uniform(0.5, 3)
        self.done["disk full to one worker"] += 1

    def change_number(self, worker: Worker) -> None:
        numbers = [number for number in range(1, self.most_workers + 1) if number != self._crew.wanted]
        self._crew.wanted = self._random.choice(numbers or [1])
        if self._crew.wanted < len(self._crew.workers):
            self.terminate(worker)
        self.done["workers joined or left"] += 1

    def step_clock(self, worker: Worker) -> None:
        if worker.clock is not None:
            worker.clock.set(self._random.choice(STEPS))
            self.done["clock stepped"] += 1

    # -------------------------------------------------------------------------------------- to a `boss rekey`

    def kill_rekeyer(self, worker: Worker) -> None:
        if (rekeyer := self._a_rekeyer()) is not None:
            self.kill(rekeyer)

    def stop_rekeyer(self, worker: Worker) -> None:
        if (rekeyer := self._a_rekeyer()) is not None:
            self.terminate(rekeyer)

    def _a_rekeyer(self) -> Worker | None:
        free = [worker for worker in self._rekeyers.workers if worker.doomed is None]
        return self._random.choice(free) if free else None

    # ------------------------------------------------------------------------------------------- to the ledger

    def forbid_writing(self, worker: Worker) -> None:
        if self._disk is not None and self._heal_at is None and self._disk.forbid():
            self._trouble("ledger read-only for a while")

    def leave_no_room(self, worker: Worker) -> None:
        if self._disk is not None and self._heal_at is None and self._disk.fill():
            self._trouble("disk full to everybody")

    def _trouble(self, what: str) -> None:
        self._heal_at = time.monotonic() + self._random.uniform(0.5, 3)
        self._commands.excuse(UNWRITABLE)
        self.done[what] += 1

    def compact(self, worker: Worker) -> None:
        self._begin("ledger", "compact", "--period", PERIOD)

    def bill(self, worker: Worker) -> None:
        self._begin("bill", "run", "--period", PERIOD)

    # -------------------------------------------------------------------------------- to events and customers

    def publish(self, worker: Worker) -> None:
        """A new version of the price book, and a customer more."""
        if not self._commands.running:
            self._world.rename()
            self._world.invite()
            self._begin("catalog", "publish", then=self._world.welcome, until_done=True)

    def rate_file(self, worker: Worker) -> None:
        if not self._commands.running:
            path, note = self._feed.write_file(FILE_EVENTS)
            self._begin("rate", str(path), then=note, until_done=True)
            self._commands.excuse(STANDSTILL)

    def kill_command(self, worker: Worker) -> None:
        """A file that is being rated or a price book that is being published; it is begun again."""
        self._commands.kill()

    def _begin(self, *arguments: str, then: Callable[[], None] | None = None, until_done: bool = False) -> None:
        if self._commands.begin(*arguments, then=then, until_done=until_done) and self._heal_at is not None:
            self._commands.excuse(UNWRITABLE)

    def stop_broker(self, worker: Worker) -> None:
        """One broker goes away and comes back; with three, the others go on without it."""
        node = self._nodes[self.done[BROKER_DEED] % len(self._nodes)]
        node.stop(self._random.choice([signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]))
        for excuse in EXCUSES:
            self._commands.excuse(excuse)
        away = time.monotonic() + self._random.uniform(0, 3) * len(self._nodes)
        while time.monotonic() < away:
            self._look_after()
            time.sleep(0.05)
        node.start()
        self.done[BROKER_DEED] += 1
