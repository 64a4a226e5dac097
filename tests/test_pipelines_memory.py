"""What waits in the topic does not come into the memory of a worker whose ledger is slow."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from pipelines.producer import send_messages
from tests.stream_fakes import start_worker
from tests.stream_watch import wait_until

MEGABYTE = 1_000_000


def memory(process: int) -> int:
    """Bytes of a process now, without the pages of its program files."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize(
    ("size", "count", "megabytes", "most_grown"),
    [(500_000, 400, 28, 100), (500_000, 400, 4, 50), (250, 800_000, 28, 100)],
    ids=["long messages", "few long messages", "short messages"],
)
def test_a_worker_takes_only_so_many_messages_at_a_time(
    size: int, count: int, megabytes: int, most_grown: int, kafka: str, topic: str, tmp_path: Path, worker_log: Path
) -> None:
    asyncio.run(send_messages(kafka, topic, ((None, b"x" * size) for _ in range(count))))
    limits = {"flush_events": 50_000, "flush_megabytes": megabytes}
    worker = start_worker(tmp_path / "table", kafka, worker_log, topic=topic, group=topic, held=True, **limits)
    wait_until(lambda: "event='reading'" in worker_log.read_text())
    before = most = memory(worker.pid)
    ended = time.monotonic() + 4
    while time.monotonic() < ended:
        most = max(most, memory(worker.pid))
        time.sleep(0.01)
    worker.kill()
    assert 10 * MEGABYTE < most - before < most_grown * MEGABYTE, "some batches on their way, one in Faust's queue"
    assert size * count > 180 * MEGABYTE
