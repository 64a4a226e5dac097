"""What the stream tests share: numbered messages, a steady feed of them, and looking at what became of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from pipelines.broker import die_with_parent
from pipelines.producer import send_messages

ROOT = Path(__file__).parents[1]
PARTITIONS = 4


def messages(first: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    return ((f"account-{number % 97}".encode(), f"message {number}".encode()) for number in range(first, first + count))


def send(kafka: str, topic: str, count: int, first: int = 0) -> None:
    delivery = asyncio.run(send_messages(kafka, topic, messages(first, count), partitions=PARTITIONS))
    assert delivery.delivered == count


class Feed:
    """Sends messages in the background until told to end, so that there is always something in flight."""

    def __init__(self, kafka: str, topic: str, first: int = 0) -> None:
        self.sent = first
        self._place = (kafka, topic)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._enough.wait(0.2):
            send(*self._place, 500, self.sent)
            self.sent += 500

    def end(self) -> int:
        """Number of the message after the last one sent."""
        self._enough.set()
        self._thread.join()
        return self.sent


def wait_until(true: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_each_once(found: pl.DataFrame, count: int) -> None:
    assert found["value"].n_unique() == count, "lost"
    assert found.height == count, "posted more than once"
    numbers = found.with_columns(number=pl.col("value").cast(pl.String).str.extract(r"(\d+)").cast(pl.Int64))
    key = numbers.with_columns(key=pl.col("number") % 97)
    in_order = key.group_by("key", maintain_order=True).agg(pl.col("number").diff().drop_nulls().min())
    assert (in_order["number"].fill_null(1) > 0).all(), "messages of one account changed places"


def start_module(
    module: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """`python -m module` as a process that ends with ours. `environment` comes on top of ours; the log goes on."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )


def wait_for(process: subprocess.Popen[bytes], seconds: float = 20) -> int:
    try:
        return process.wait(seconds)
    finally:
        process.kill()


def get(port: int, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_until_ready(port: int, seconds: float = 20) -> None:
    wait_until(lambda: get(port, "readyz")[0] == 200, seconds)
