"""The workers under torture: started, watched, started again when they end, as a supervisor would do it."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pipelines.broker import die_with_parent
from tests.torture_clock import Clock
from tests.torture_worker import POINTS

ROOT = Path(__file__).parents[1]
AWAY = "Kafka went away while the worker was starting"
FENCED, UNWRITABLE, MOVED = "Another worker has advanced", "cannot be written", "set a new stream.epoch"
EXPLAINED = (FENCED, UNWRITABLE, MOVED, AWAY)
"""Why a worker may end by itself under torture: it was overtaken, its disk was full or read-only, its topic is another one, or
its broker was stopped in the moment when it began."""

NOISE = ("Traceback", "level='error'", "level='critical'", "boss: ")
HARMLESS = ("Thread keepalive is not responding", "logger='aiokafka", "coro=<GroupCoordinator._do_commit_offsets() done")
"""Said by libraries after they were frozen, while a broker is away, and when lag tools could not be told at the very end."""


@dataclass(frozen=True)
class Program:
    """What a crew runs: a module that is `boss`, the command, and where and how it kills itself."""

    module: str
    command: str
    points: Collection[str]
    variable: str


WORKER = Program("tests.torture_worker", "worker", POINTS, "TORTURE_POINT")


@dataclass
class Worker:
    """A worker process, and what was done to it."""

    process: subprocess.Popen[bytes]
    log: Path
    point: str | None
    """Where it will kill itself."""
    clock: Clock | None = None
    doomed: str | None = None
    """`killed` or `stopped` by us."""
    thaw_at: float | None = None
    heal_at: float | None = None

    def limit_files(self, size: int) -> None:
        """Let no file of the process grow beyond this many bytes: to it, the disk is full."""
        if self.process.poll() is None:
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def wake(self) -> None:
        """End what was done to it for a while."""
        self.process.send_signal(signal.SIGCONT)
        self.limit_files(resource.RLIM_INFINITY)
        self.thaw_at = self.heal_at = None


class Crew:
    """Keeps `wanted` workers running. One that dies is replaced and counted in `kills`; other ends are judged by their log."""

    def __init__(
        self,
        workspace: Path,
        settings: Mapping[str, str],
        logs: Path,
        random: Random,
        clock: Path | None,
        program: Program = WORKER,
    ) -> None:
        """Args: `settings`, the environment, is looked at whenever one is started; `clock`: torture_clock's library."""
        self.workers: list[Worker] = []
        self.wanted = 1
        self.armed = 0.0
        """Part of the new workers that will kill themselves at a point."""
        self.most_passes = 4
        """They do so when they pass it for the n-th time, n being at most this."""
        self.kills: Counter[str] = Counter(dict.fromkeys(["at random", *program.points], 0))
        self.fenced = self.starved = self.refused = self.abandoned = 0
        self.topic_changed = False
        """Whether the topic is not the one that the workers' epoch means."""
        self.unexplained: list[str] = []
        self._program = program
        self._command = [sys.executable, "-m", program.module, program.command, "--workspace", str(workspace)]
        self._settings = settings
        self._logs = logs
        self._random = random
        self._clock = clock
        self._started = 0

    @property
    def has_clocks(self) -> bool:
        return self._clock is not None

    def look_after(self) -> int:
        """Note who ended, start others in their place, wake those whose time has come. Returns how many were killed."""
        before, now = self.kills.total(), time.monotonic()
        for worker in list(self.workers):
            if worker.process.poll() is not None:
                self.workers.remove(worker)
                self._judge(worker)
            elif any(moment is not None and now > moment for moment in (worker.thaw_at, worker.heal_at)):
                worker.wake()
        while len(self.workers) < self.wanted:
            self._start()
        return self.kills.total() - before

    def stop(self, seconds: float) -> None:
        """Ask all workers to stop, and complain of those that do not."""
        for worker in self.workers:
            worker.wake()
            worker.doomed = "stopped"
            worker.process.terminate()
        for worker in self.workers:
            try:
                worker.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.unexplained.append(f"{worker.log.name} did not stop: {read_log(worker.log)[-2_000:]}")
                worker.process.kill()
                worker.process.wait()
            self._judge(worker)
        self.workers.clear()

    def abandon(self) -> None:
        """End all workers at once, when the run has failed."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        self.workers.clear()

    def _start(self) -> None:
        self._started += 1
        point, clock, environment = None, None, os.environ | self._settings
        if self._clock is not None:
            clock = Clock(self._clock, self._logs / f"{self._program.command}-clock-{self._started:04}")
            environment |= clock.environment
        if self._random.random() < self.armed:
            points = self._program.points
            fewest = min(self.kills[name] for name in points)
            point = self._random.choice([name for name in points if self.kills[name] == fewest])
            passes = 1 if point == "assigned" else self._random.randint(1, self.most_passes)
            environment[self._program.variable] = f"{point}:{passes}"
        process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # a pipe is written to even when the disk is full
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        log = self._logs / f"{self._program.command}-{self._started:04}.log"
        threading.Thread(target=_copy_log, args=(process, log), daemon=True).start()
        self.workers.append(Worker(process, log, point, clock))

    def _judge(self, worker: Worker) -> None:
        code, text = worker.process.returncode, read_log(worker.log)
        if code == -signal.SIGKILL:
            self.kills["at random" if worker.doomed == "killed" or worker.point is None else worker.point] += 1
        elif code == 1 and FENCED in text:
            self.fenced += 1
        elif code == 1 and UNWRITABLE in text:
            self.starved += 1
        elif code == 1 and MOVED in text and self.topic_changed:
            self.refused += 1
        elif code == 1 and AWAY in text:
            self.abandoned += 1
        elif worker.doomed == "stopped" and code == -signal.SIGTERM:
            pass  # asked to stop while Python was still importing: it had not begun
        elif code != 0 or worker.doomed is None:
            self.unexplained.append(f"{worker.log.name} ended with {code}: {text[-2_000:]}")

    def strange_lines(self) -> list[str]:
        """Lines of the workers' logs that complain of something nobody did to them."""
        return [
            f"{log.name}: {line}"
            for log in sorted(self._logs.glob(f"{self._program.command}-*.log"))
            for line in read_log(log).splitlines()
            if any(sign in line for sign in NOISE) and not any(part in line for part in (*EXPLAINED, *HARMLESS))
        ]


def read_log(log: Path) -> str:
    """The text of a log, nothing when it has not been begun."""
    return log.read_text(errors="replace") if log.exists() else ""


def _copy_log(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.stdout is not None
    with log.open("wb", buffering=0) as out:
        shutil.copyfileobj(process.stdout, out, 1)
