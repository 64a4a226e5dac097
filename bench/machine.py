"""What every benchmark prints first: the machine, the date, the versions, and how busy the machine was."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import polars as pl


def describe_machine(*packages: str) -> str:
    """Two lines to stand above a table."""
    versions = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            versions.append(f"{package} absent")
    busy = os.getloadavg()[0]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{_processor()}, {os.cpu_count()} cores; {when}; load average before the run {busy:.1f}\n{', '.join(versions)}"


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table, so that it can go into docs/PERFORMANCE.md as it is."""
    print(f"| {' | '.join(heads)} |")
    print(f"|{'---|' * len(heads)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def time_in_turns(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each work. They take turns, so that whatever else the machine does disturbs them alike."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, seconds in zip(works, taken, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds) for seconds in taken]


def kept_bytes(thing: object) -> int:
    """What the arrays and frames that a thing holds take."""
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, pl.DataFrame):
        return int(thing.estimated_size())
    parts = thing if isinstance(thing, list) else vars(thing).values() if hasattr(thing, "__dict__") else ()
    return sum(map(kept_bytes, parts))


def resident_bytes() -> int:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory this process ever had. Not from getrusage, which counts what its parent had before it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def _processor() -> str:
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
