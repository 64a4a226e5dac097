"""A workspace whose ledger is in object storage does and says what one with a folder does and says, to the byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

import polars as pl
import pytest
from typer.testing import CliRunner, Result

import ledger.objects
from cli import app
from ledger.objects import CACHE
from pipelines.dev import dev_broker, environment, worker_process
from pipelines.send import send_events, wait_for_ledger
from pipelines.signing import make_key
from pipelines.workspace import Workspace
from schemas.errors import BadWorkspace
from tests.corrections_world import retraction, usage
from tests.s3 import ObjectServer
from tests.test_pipelines_balances import PREPAID, STORY, request

ANY_CLOCK = {"BOSS_LIMITS__CLOCK_SKEW_SECONDS": "1000000000"}

EVERY_ROW = "select * from postings order by stream, stream_partition, stream_offset, stream_row"


PRICE = "pro.month.minutes.international"
OLD_PRICE = """
          - {valid_from: 2026-01-01, model: per_unit, unit_price: 0.12}
"""
NEW_PRICE = """\
          - {valid_from: 2026-10-10, model: per_unit, unit_price: 0.15}
"""


class Twins:
    """Two workspaces of the same sources, one with its ledger on disk and one with it in object storage."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.roots = {"disk": folder / "disk", "objects": folder / "objects"}
        self._settings = {"disk": ANY_CLOCK, "objects": ANY_CLOCK | settings}

    def ask(self, place: str, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--workspace", str(self.roots[place])], env=self._settings[place])

    def same(self, *words: str, exit_code: int = 0, data: bool = True) -> str:
        """What both say to a command, which must be the same.

        Args:
            data: The command prints rows; otherwise what it says of its progress and time is left out of the comparison.
        """
        options = ("--format", "json") if data else ()
        first, second = (self.ask(place, *words, *options) for place in self.roots)
        assert (first.exit_code, second.exit_code) == (exit_code, exit_code), first.output + second.output
        if data:
            assert self._plain(first) == self._plain(second)
        return first.stdout

    def rows(self) -> pl.DataFrame:
        """Every row of the postings, which must be the same in both."""
        answers = [self.ask(place, "sql", EVERY_ROW, "--format", "parquet") for place in self.roots]
        frames = [pl.read_parquet(answer.stdout_bytes) for answer in answers]
        assert frames[0].equals(frames[1])
        return frames[0]

    def files(self, folder: str) -> dict[str, bytes]:
        """Every document by its name, which must be the same in both."""
        found = [
            {str(path.relative_to(root)): path.read_bytes() for path in (root / folder).rglob("*.*") if path.name[0] != "."}
            for root in self.roots.values()
        ]
        assert found[0] == found[1]
        return found[0]

    def _plain(self, result: Result) -> str:
        text = result.stdout
        for root in self.roots.values():
            text = text.replace(str(root), "ROOT")
        return text


def write(path: Path, values: list[bytes]) -> str:
    path.write_bytes(b"\n".join(values) + b"\n")
    return str(path)


def make_twins(folder: Path, objects: ObjectServer, template: str) -> Twins:
    twins = Twins(folder, objects.settings())
    for root in twins.roots.values():
        Workspace.create(root, template, "2026-10")
    return twins


def test_a_month_comes_out_the_same_to_the_byte(objects: ObjectServer, tmp_path: Path) -> None:
    twins = make_twins(tmp_path, objects, "video-conference")
    october = usage(400)
    file = write(tmp_path / "usage.ndjson", [*october, b"{}"])
    twins.same("catalog", "publish", data=False)
    twins.same("rate", file, data=False)
    rows = twins.rows().height
    twins.same("rate", file, data=False)
    assert twins.rows().height == rows > 500
    assert "missing_field" in twins.same("rejects", "list")
    twins.same("replay", "--check", "--period", "2026-10")
    twins.same("replay", "--check", "--period", "2026-10", file)
    twins.same("bill", "preview", "--period", "2026-10")
    twins.same("bill", "run", "--period", "2026-10")
    invoices = json.loads(twins.same("bill", "finalize", "--period", "2026-10"))
    twins.same("explain", invoices[0]["invoice_no"], "1")
    twins.same("settle", "--period", "2026-10")
    twins.same("metrics", "--period", "2026-10")
    assert any(name.endswith(".pdf") for name in twins.files("invoices"))
    assert twins.files("statements")

    twins.same("rate", write(tmp_path / "taken-back.ndjson", [retraction(october[7], "never")]), data=False)
    for root in twins.roots.values():
        plans = root / "catalog" / "plans.yaml"
        plans.write_text(plans.read_text().replace(OLD_PRICE, OLD_PRICE + NEW_PRICE, 1))
    twins.same("catalog", "publish", data=False)
    days = ("--from", "2026-10-01", "--to", "2026-11-01")
    assert len(json.loads(twins.same("rerate", "--price", PRICE, *days, "--post"))) > 0
    twins.same("whatif", "--period", "2026-10", "--book", str(twins.roots["disk"] / "catalog"))
    assert twins.rows()["corrects"].drop_nulls().len() > 2

    twins.same("ledger", "stats")
    assert all(row["agrees"] for row in json.loads(twins.same("ledger", "check")))
    twins.same("ledger", "compact", "--period", "2026-10", data=False)
    kept = [json.loads(twins.ask(place, "ledger", "stats", "--format", "json").stdout)[0] for place in twins.roots]
    assert [(month["rows"], month["files"]) for month in kept] == [(kept[0]["rows"], 1)] * 2
    twins.same("ledger", "compact", data=False)
    twins.same("ledger", "vacuum")
    heads = [json.loads(twins.ask(place, "ledger", "verify", "--format", "json").stdout) for place in twins.roots]
    assert [[row["rows"] for row in found] for found in heads] == [[row["rows"] for row in heads[0]]] * 2
    twins.rows()

    make_key(tmp_path / "signing.pem")
    account = twins.rows()["account_id"][0]
    for place, root in twins.roots.items():
        told = twins.ask(place, "sync", "bundles", account, str(root / "sync"), "--key", str(tmp_path / "signing.pem"))
        assert told.exit_code == 0, told.output
    assert any(name.endswith(".parquet") for name in twins.files("sync"))
    assert not list((twins.roots["objects"] / "ledger").glob("[a-z]*")), "nothing but the lock and the cache"
    assert list((twins.roots["objects"] / "ledger" / CACHE / "postings").rglob("*.parquet"))


def test_balances_are_the_same(objects: ObjectServer, tmp_path: Path) -> None:
    twins = make_twins(tmp_path, objects, "telecom")
    for root in twins.roots.values():
        customers = root / "roster" / "customers.yaml"
        customers.write_text(customers.read_text().replace("{id: piper, ", PREPAID, 1))
    twins.same("catalog", "publish", data=False)
    story = [*STORY, request("r1", "08T10:00", "call-7", 60)]
    twins.same("rate", write(tmp_path / "story.ndjson", story), data=False)
    twins.same("balance", "topup", "piper", "20", "--id", "t9", data=False)
    twins.same("balance", "topup", "piper", "20", "--id", "t9", data=False)
    assert "19.7" in twins.same("balance", "show", "piper")
    twins.same("balance", "notices", data=False)  # the top-up's time is that of the clock


def test_a_worker_rates_a_topic_into_object_storage(
    objects: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (objects.settings() | ANY_CLOCK | {"BOSS_STREAM__PORT": "0"}).items():
        monkeypatch.setenv(name, value)
    workspace = Workspace.create(tmp_path / "acme", "video-conference", "2026-10")
    _, roster = workspace.publish()
    with dev_broker(workspace) as running, worker_process(running, tmp_path / "worker.log"):
        sent = send_events(running, roster, usage(300), lambda _: None)
        wait_for_ledger(running, sent.reached, lambda _: None)
    rows = workspace.ledger().postings.scan().collect()
    assert rows.filter(role="revenue").select("event_source", "event_id").n_unique() == 300
    assert rows["stream_partition"].n_unique() > 1
    assert CliRunner().invoke(app, ["ledger", "check", "--workspace", str(workspace.root)]).exit_code == 0


def test_workers_killed_on_the_way_of_a_commit_charge_each_event_once(
    objects: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between upload and chain, between chain and log, right after the commit, and at random moments."""
    for name, value in (objects.settings() | ANY_CLOCK | {"BOSS_STREAM__PORT": "0"}).items():
        monkeypatch.setenv(name, value)
    workspace = Workspace.create(tmp_path / "acme", "video-conference", "2026-10")
    _, roster = workspace.publish()
    events, chance = usage(600), Random(7)
    with dev_broker(workspace) as running:
        for number, point in enumerate(["file written:1", "chain written:2", "commit written:1", None, None]):
            sent = send_events(running, roster, events[number * 100 : number * 100 + 100], lambda _: None)
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.torture_worker", "worker", "--workspace", str(workspace.root)],
                env=os.environ | environment(running) | ({"TORTURE_POINT": point} if point else {}),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if point is None:
                with suppress(subprocess.TimeoutExpired):
                    worker.wait(chance.uniform(2, 6))
                worker.kill()
            assert worker.wait(120) == -signal.SIGKILL
        sent = send_events(running, roster, events[500:], lambda _: None)
        with worker_process(running, tmp_path / "worker.log"):
            wait_for_ledger(running, sent.reached, lambda _: None)
    rows = workspace.ledger().postings.scan().collect()
    assert rows.select("event_source", "event_id", "price_id", "role", "partner_id").is_duplicated().sum() == 0
    assert rows.filter(role="revenue").select("event_source", "event_id").n_unique() == 600
    for words in (["ledger", "check"], ["ledger", "verify"], ["replay", "--check", "--period", "2026-10"]):
        judged = CliRunner().invoke(app, [*words, "--workspace", str(workspace.root)])
        assert judged.exit_code == 0, judged.output


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BOSS_LEDGER__ENDPOINT": "http://127.0.0.1:9"}, "127.0.0.1:9 does not answer"),
        ({"AWS_ACCESS_KEY_ID": "somebody else's"}, "refuses our credentials: InvalidAccessKeyId"),
        ({"BOSS_LEDGER__LOCATION": "s3://no-such-bucket/acme"}, "has no bucket no-such-bucket"),
    ],
    ids=["server", "credentials", "bucket"],
)
def test_every_command_says_why_the_ledger_cannot_be_reached(
    objects: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], says: str
) -> None:
    monkeypatch.setattr(ledger.objects, "RETRIES", 0)
    for name, value in (objects.settings() | settings).items():
        monkeypatch.setenv(name, value)
    Workspace.create(tmp_path / "acme", "video-conference", "2026-10").publish()
    file = write(tmp_path / "usage.ndjson", usage(10))
    for words in (
        ["rate", file],
        ["sql", "select 1"],
        ["bill", "run", "--period", "2026-10"],
        ["replay", "--check", "--period", "2026-10"],
        ["ledger", "verify"],
        ["ledger", "check"],
        ["ledger", "stats"],
        ["ledger", "compact", "--period", "2026-10"],
        ["ledger", "vacuum"],
        ["balance", "show", "huaxing"],
        ["rejects", "list"],
    ):
        told = CliRunner().invoke(app, [*words, "--workspace", str(tmp_path / "acme")])
        assert told.exit_code == 1, told.output
        assert says in " ".join(told.output.split()), words
        assert objects.settings()["AWS_SECRET_ACCESS_KEY"] not in told.output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCATION", "https://bucket/prefix"),
        ("LOCATION", "s3://ObjectPlace"),
        ("LOCATION", "s3://bucket/with space"),
        ("ENDPOINT", "minio:9000"),
        ("ENDPOINT", "https://user:password@minio:9000"),
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BOSS_LEDGER__{name}", value)
    with pytest.raises(BadWorkspace, match=f"ledger.{name.lower()}"):
        Workspace.create(tmp_path / "acme", "video-conference", "2026-10")
