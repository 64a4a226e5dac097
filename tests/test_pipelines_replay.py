"""Replay reproduces the ledger to the last digit, however the usage came, and finds what does not belong there."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from random import Random

import polars as pl
import pytest
from typer.testing import CliRunner

from cli import app
from pipelines.account_ranges import by_accounts
from pipelines.posted_usage import posted_usage, usage_rows
from pipelines.replay import Replay, replay_posted
from pipelines.replay_messages import replay_batches, replay_files
from pipelines.workspace import Workspace
from schemas.period import Period
from schemas.usage import RawBatch
from tests.corrections_world import NOVEMBER, OCTOBER, RECEIVED_MS, Shop, usage

NEW_MINUTES = """          - {valid_from: 2026-01-01, model: per_unit, unit_price: 0.02}
          - {valid_from: 2026-10-15, model: per_unit, unit_price: 0.03}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop")


def replay_values(shop: Shop, values: list[bytes], period: Period = OCTOBER) -> Replay:
    batch = RawBatch("sent", 0, range(len(values)), list(values), [RECEIVED_MS] * len(values))
    return replay_batches(shop.workspace, period, [batch])


def test_replay_reproduces_every_aggregate_of_a_month(shop: Shop) -> None:
    values = usage(900)
    shop.rate(values[:500])
    shop.rate(values[500:])
    before = shop.ledger.postings.version()
    posted = replay_posted(shop.workspace, OCTOBER)
    sent = replay_values(shop, values)
    assert posted.agrees
    assert sent.agrees
    assert posted.events == sent.events == 900
    assert posted.aggregates == sent.aggregates > 40
    assert shop.ledger.postings.version() == before


@pytest.mark.parametrize("seed", [3, 17, 2026])
def test_replay_agrees_however_the_events_are_ordered_and_cut(seed: int, shop: Shop) -> None:
    random = Random(seed)
    values = usage(random.randint(100, 400), seed)
    random.shuffle(values)
    offsets = {"kafka:usage@1": 0, "file:a": 0}
    start = 0
    while start < len(values):
        if random.random() < 0.3:
            shop.append("roster/subscriptions.yaml", subscription(start))
        stream = random.choice(list(offsets))
        part = values[start : start + random.randint(1, 200)]
        shop.rate(part, stream, offsets[stream])
        offsets[stream] += len(part)
        start += len(part)
    assert replay_posted(shop.workspace, OCTOBER).agrees
    random.shuffle(values)
    sent = replay_values(shop, values)
    assert sent.agrees
    assert sent.events == len(values)


def subscription(number: int) -> str:
    return f"\n  - {{id: sub-{number}, account: pine, plan: video.pro.month, licences: 1, from: 2026-01-01}}\n"


def test_each_event_is_rated_again_by_the_versions_its_rows_name(shop: Shop) -> None:
    values = usage(400)
    shop.rate(values[:150])
    shop.edit("catalog/addons.yaml", NEW_MINUTES.splitlines(keepends=True)[0], NEW_MINUTES)
    shop.edit("catalog/agreements.yaml", "share: 20%", "share: 25%")
    shop.rate(values[150:])
    assert shop.postings()["book_version"].unique().sort().to_list() == [1, 3]
    assert replay_posted(shop.workspace, OCTOBER).agrees
    assert replay_values(shop, values).agrees


def test_late_usage_of_a_final_month_is_replayed_with_its_month(shop: Shop) -> None:
    october, november = usage(300), usage(200, seed=2, month="2026-11")
    shop.rate(october[:250])
    shop.bill(OCTOBER)
    shop.rate([*october[250:], *november])
    shop.bill(NOVEMBER)
    for period, count in ((OCTOBER, 300), (NOVEMBER, 200)):
        posted = replay_posted(shop.workspace, period)
        assert (posted.agrees, posted.events) == (True, count)
        sent = replay_values(shop, [*november, *october], period)
        assert (sent.agrees, sent.events) == (True, count)


def test_one_changed_amount_is_found_in_a_copy_of_the_ledger(shop: Shop, tmp_path: Path) -> None:
    values = usage(300)
    shop.rate(values)
    shutil.copytree(shop.workspace.root, tmp_path / "copy")
    copy = Workspace.open(tmp_path / "copy")
    (file,) = copy.ledger().postings.files()
    rows = pl.read_parquet(file, hive_partitioning=False)
    damaged = rows.with_row_index("row").with_columns(
        pl.when(pl.col("row") == 17)
        .then(pl.col("amount") + pl.lit(Decimal("1e-18")))
        .otherwise("amount")
        .cast(rows["amount"].dtype)
    )
    damaged.drop("row").write_parquet(file)
    found = replay_posted(copy, OCTOBER)
    assert found.differences.height == 1
    row, amounts = rows.row(17, named=True), found.differences.row(0, named=True)
    assert amounts["price_id"] == row["price_id"]
    assert amounts["counted_for"] == row["subscription_id"]
    assert amounts["ledger_amount"] - amounts["replayed_amount"] == Decimal("1e-18")
    assert replay_posted(shop.workspace, OCTOBER).agrees

    told = CliRunner().invoke(app, ["replay", "--check", "--period", "2026-10", "-w", str(copy.root)])
    assert told.exit_code == 1
    assert row["price_id"] in told.stdout
    assert "1 differ" in told.stderr


def test_an_event_that_the_ledger_lost_is_found_in_the_messages(shop: Shop) -> None:
    values = usage(200)
    shop.rate(values[1:])
    lost = replay_values(shop, values)
    assert not lost.agrees
    assert replay_values(shop, values[1:]).agrees


def test_an_event_that_was_never_sent_is_found(shop: Shop) -> None:
    values = usage(200)
    shop.rate(values)
    assert not replay_values(shop, values[1:]).agrees


def test_rejects_and_duplicates_are_counted_and_are_no_differences(shop: Shop, tmp_path: Path) -> None:
    values = usage(100)
    strange = [values[0].replace(b'"id":"', b'"id":"x').replace(b"conf-", b"nobody-"), b"no event"]
    sent = [*values, *strange, *values[:7]]
    shop.rate(sent)
    file = tmp_path / "sent.ndjson"
    file.write_bytes(b"\n".join(sent) + b"\n")
    replayed = replay_files(shop.workspace, OCTOBER, [file], RECEIVED_MS)
    assert replayed.agrees
    assert (replayed.events, replayed.refused, replayed.duplicates) == (100, 2, 7)
    assert "7 duplicates, 2 rejects" in replayed.message


def test_posted_usage_has_each_event_and_meter_once_in_order(shop: Shop) -> None:
    values = usage(300)
    shop.rate(values)
    rows = usage_rows(shop.ledger.postings.scan(), "2026-10", "2026-10")
    whole = posted_usage(rows.collect())
    assert whole.height == 300
    assert whole["stream_offset"].is_sorted()
    parts = [posted_usage(part) for part in by_accounts(rows, range_rows=1)]
    assert len(parts) == 5
    assert pl.concat(parts).sort("stream_offset").equals(whole)


def test_a_month_without_usage_agrees_and_says_so(shop: Shop) -> None:
    assert replay_posted(shop.workspace, OCTOBER).message == "2026-10: 0 events rated again; 0 aggregates compared, all agree."
