"""`boss` commands beside the workers under torture, one at a time, and what they ended with."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.stream_watch import start_module
from tests.torture_crew import read_log

LONG_SECONDS = 600.0


class Commands:
    """Begins commands and judges them.

    Args:
        settings: The environment, looked at whenever a command begins.
        done: Counts those that ended well, as `boss NAME`.
    """

    def __init__(self, workspace: Path, settings: Mapping[str, str], logs: Path, done: Counter[str]) -> None:
        self.unexplained: list[str] = []
        self._workspace = workspace
        self._settings = settings
        self._logs = logs
        self._done = done
        self._begun = 0
        self._running: tuple[str, subprocess.Popen[bytes], Path, float] | None = None
        self._then: Callable[[], None] | None = None
        self._again: tuple[str, ...] | None = None
        self._excuses: set[str] = set()

    @property
    def running(self) -> bool:
        return self._running is not None

    def begin(self, *arguments: str, then: Callable[[], None] | None = None, until_done: bool = False) -> bool:
        """Begin a command, unless one is running. True if it was begun.

        Args:
            then: Called when it has ended well.
            until_done: If it is killed or has an excuse to fail, it is run again.
        """
        if self._running is not None:
            return False
        self._then, self._again, self._excuses = then, arguments if until_done else None, set()
        self._start(arguments)
        return True

    def _start(self, arguments: tuple[str, ...]) -> None:
        self._begun += 1
        log = self._logs / f"command-{self._begun:04}.log"
        process = start_module("cli", [*arguments, "--workspace", str(self._workspace)], log, self._settings)
        self._running = (_name(arguments), process, log, time.monotonic())

    def excuse(self, sentence: str) -> None:
        """The command that runs now may refuse with this sentence: we have done something to it."""
        if self._running is not None:
            self._excuses.add(sentence)

    def kill(self) -> bool:
        """Kill the command if it is one that will be run again."""
        if self._running is None or self._again is None:
            return False
        self._running[1].kill()
        return True

    def look_after(self) -> None:
        """Judge the command if it has ended."""
        if self._running is None:
            return
        name, process, log, since = self._running
        if process.poll() is None:
            if time.monotonic() - since > LONG_SECONDS:
                self.unexplained.append(f"boss {name} did not end in {LONG_SECONDS:.0f} s: {read_log(log)[-2_000:]}")
                self.abandon()
            return
        self._running = None
        if process.returncode == 0:
            self._done[f"boss {name}"] += 1
            if self._then is not None:
                self._then()
            return
        text = " ".join(read_log(log).split())
        killed = process.returncode == -signal.SIGKILL and self._again is not None
        excused = process.returncode == 1 and "Traceback" not in text and any(excuse in text for excuse in self._excuses)
        self._done[f"boss {name}, killed" if killed else f"boss {name}, refused"] += killed or excused
        if not killed and not excused:
            self.unexplained.append(f"boss {name} ended with {process.returncode}: {text[-2_000:]}")
        elif self._again is not None:
            self._start(self._again)

    def finish(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Returns when no command runs any more; one that must be run again and again is given up after a while."""
        until = time.monotonic() + LONG_SECONDS
        while self._running is not None:
            if time.monotonic() > until:
                self.unexplained.append(f"boss {self._running[0]} was not done in {LONG_SECONDS:.0f} s")
                self.abandon()
                return
            meanwhile()
            self.look_after()
            time.sleep(0.05)

    def abandon(self) -> None:
        """End the command at once, when the run has failed."""
        if self._running is not None:
            self._running[1].kill()
            self._running[1].wait()
            self._running = None


def _name(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments[:2]) if arguments[0] != "rate" else "rate FILE"
