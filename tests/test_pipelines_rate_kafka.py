"""`boss rate FILE` where Kafka is configured: the file goes to the topic, and the command ends when workers have rated it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from pipelines.checks import run_checks
from pipelines.rejected import open_rejects
from pipelines.workspace import Workspace
from tests.rekey_world import BAD, SUBJECTS, assert_charged_once, charged, wait_for, wait_until
from tests.stream_watch import start_module
from tests.test_pipelines_worker import meeting, start


def usage_file(folder: Path, events: int) -> Path:
    """So many good events of five subjects, and a bad one of each kind between them."""
    lines = [meeting(number, subject=SUBJECTS[number % 5]) for number in range(events)]
    for place, text in enumerate(BAD.values()):
        lines.insert(place * events // len(BAD), text)
    file = folder / "usage.ndjson"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def start_rate(shop: Workspace, kafka: str, topic: str, file: Path, log: Path) -> subprocess.Popen[bytes]:
    environment = {"BOSS_KAFKA": kafka, "BOSS_STREAM__TOPIC": topic}
    return start_module("cli", ["rate", str(file), "--workspace", str(shop.root)], log, environment)


def assert_rated(shop: Workspace, events: int) -> None:
    """Each good event once, each bad one among the open rejects, and every two numbers agree."""
    assert_charged_once(shop, events)
    assert sorted(open_rejects(shop.ledger())["reason"]) == sorted(BAD)
    checks = run_checks(shop)
    assert checks["agrees"].all(), checks


def test_rate_beside_two_workers_returns_when_the_ledger_has_the_file_and_again_changes_nothing(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    file, log = usage_file(tmp_path, 3_000), tmp_path / "rate.log"
    workers = [start(shop, kafka, topic, worker_log) for _ in range(2)]
    assert wait_for(start_rate(shop, kafka, topic, file, log)) == 0, log.read_text()
    assert_rated(shop, 3_000)  # at once: that is what the command has waited for
    amounts = shop.ledger().postings.scan().select("amount").sum().collect().item()
    assert wait_for(start_rate(shop, kafka, topic, file, log)) == 0, log.read_text()
    assert_rated(shop, 3_000)
    assert shop.ledger().postings.scan().select("amount").sum().collect().item() == amounts
    assert log.read_text().count("The ledger has passed all of them.") == 2
    for worker in workers:
        worker.terminate()
        assert wait_for(worker) == 0, worker_log.read_text()


def test_rate_waits_on_while_a_worker_is_killed_and_another_takes_its_place(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path, worker_log: Path
) -> None:
    file, log = usage_file(tmp_path, 20_000), tmp_path / "rate.log"
    worker = start(shop, kafka, topic, worker_log, BOSS_STREAM__FLUSH_EVENTS="500")
    rating = start_rate(shop, kafka, topic, file, log)
    wait_until(lambda: charged(shop).height > 0)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    assert charged(shop).height < 20_000, "it was killed too late to prove anything"
    assert rating.poll() is None, log.read_text()
    worker = start(shop, kafka, topic, worker_log)
    assert wait_for(rating) == 0, log.read_text()
    assert_rated(shop, 20_000)
    worker.terminate()
    assert wait_for(worker) == 0, worker_log.read_text()


def test_rate_beside_a_worker_that_ended_says_that_the_ledger_stands_still(
    kafka: str, topic: str, shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.send.PATIENCE_SECONDS", 2)
    monkeypatch.setenv("BOSS_KAFKA", kafka)
    monkeypatch.setenv("BOSS_STREAM__TOPIC", topic)
    arguments = ["rate", str(usage_file(tmp_path, 10)), "--workspace", str(shop.root)]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 1
    assert "15 events behind. Is a `boss worker` running?" in done.output
