"""The examples run, and what they make is what the product reads."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from catalog.book_source import read_book
from catalog.roster_source import read_roster
from pipelines.decode import decode_batches
from rating.batch import rate_batch
from rating.counters import Counters
from rating.seen import SeenEvents
from rating.terms import compile_terms
from schemas.errors import BadFile
from schemas.events import UsageEvent
from schemas.usage import RawBatch

ROOT = Path(__file__).parents[1]
TEMPLATE = ROOT / "catalog" / "templates" / "video_conference"
RECEIVED = 1_793_500_000_000


def example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / name))


def month(events: int = 2_000, seed: int = 1, month: str = "2026-10") -> list[bytes]:
    values: list[bytes] = example("video_conference_events.py")["generate_events"](events=events, seed=seed, month=month)
    return values


def test_the_same_seed_gives_the_same_month() -> None:
    assert month(seed=3) == month(seed=3)
    assert month(seed=3) != month(seed=4)


def test_every_generated_event_is_a_cloud_event_with_an_id_of_its_own() -> None:
    events = [UsageEvent.model_validate_json(value) for value in month()]
    assert len({(event.source, event.id) for event in events}) == 2_000
    assert [event.time for event in events] == sorted(event.time for event in events)


def test_office_hours_are_busier_than_nights_and_all_days_are_in_the_month() -> None:
    times = pl.Series([json.loads(value)["time"] for value in month(month="2026-02")]).str.to_datetime("%+", time_zone="UTC")
    local = times.dt.convert_time_zone("Asia/Shanghai")
    hours = Counter(local.dt.hour())
    assert hours[10] > 10 * hours[3]
    assert times.min() >= pl.Series(["2026-01-31T16:00:00Z"]).str.to_datetime("%+", time_zone="UTC")[0]
    assert times.max() < pl.Series(["2026-02-28T23:00:00Z"]).str.to_datetime("%+", time_zone="UTC")[0]


def test_the_template_charges_every_generated_event() -> None:
    book = read_book(TEMPLATE / "catalog")
    terms = compile_terms(book, read_roster(TEMPLATE / "roster", book))
    values = month()
    decoded = decode_batches([RawBatch("file:x", 0, range(len(values)), values, [RECEIVED] * len(values))], book)
    rated = rate_batch(decoded.events, terms, Counters(), SeenEvents())
    assert decoded.rejects.is_empty()
    assert rated.rejects.is_empty()
    assert rated.postings.filter(role="revenue").height == 2_000
    assert rated.postings["meter_id"].n_unique() == 5


def test_the_generator_writes_ndjson_as_a_script() -> None:
    command = [sys.executable, str(ROOT / "examples" / "video_conference_events.py"), "--events", "50"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.splitlines() == month(events=50)


COLUMNS = ["Id", "ProviderName", "ChargePeriodStart", "PricingQuantity", "PricingUnit", "ListUnitPrice", "ListCost"]
BILL = [
    ("1", "AWS", "2024-09-14 14:00:00", "0.04690394920", "GB", "0.045", "0.0021106777"),
    ("2", "AWS", "2024-09-14 15:00:00", "142.62800000000", "Seconds", "0.0000166667", "0.0023771381"),
    ("3", "AWS", "2024-09-14 15:00:00", "0.63172043011", "GB", "0.045", "0.0284274194"),
    ("4", "AWS", "2024-09-14 15:00:00", "7.00000000000", "GB", "0", "0.0000000000"),
    ("5", "AWS", "2024-09-14 15:00:00", "0.00000000000", "GB", None, "-2.6137000000"),
    ("6", "Microsoft", "2024-09-02 00:00:00", "-1.00000000000", "Units", "0.1490", "-0.1490000000"),
    ("7", "Microsoft", "2024-09-02 00:00:00", "100.00000000000", "Units", "0.15", "15.0010000000"),
    ("8", "Microsoft", "2024-09-02 00:00:00", "100.00000000000", "Units", "0.15", "15.1000000000"),
]


def write_bill(path: Path, rows: list[tuple[str | None, ...]]) -> Path:
    pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row").write_parquet(path)
    return path


def test_a_focus_bill_is_rated_to_the_cost_its_provider_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bill = write_bill(tmp_path / "bill.parquet", list(BILL))
    example("focus_bill.py")["main"]([str(bill), str(tmp_path / "workspace")])
    assert capsys.readouterr().out.splitlines() == [
        "AWS: 4 of 4 equal at 10 decimals, 4 within half a cent, 0 of them usage taken back",
        "Microsoft: 1 of 3 equal at 10 decimals, 2 within half a cent, 1 of them usage taken back",
        "All: 6 of 7 within half a cent",
    ]


def test_a_focus_bill_beyond_exactness_is_refused(tmp_path: Path) -> None:
    bill = write_bill(tmp_path / "bill.parquet", [("1", "X", "2024-09-14 14:00:00", "0.00000000001", "GB", "0.00000001", "0")])
    with pytest.raises(Exception, match="more than 18 decimals together"):
        example("focus_bill.py")["rate_bill"](bill, tmp_path / "workspace")


def test_a_file_that_is_no_focus_bill_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bill.parquet").write_text("no bill")
    with pytest.raises(BadFile):
        example("focus_bill.py")["read_bill"](tmp_path / "bill.parquet")


CUR = ["bill/BillingEntity", "lineItem/LineItemType", "lineItem/UsageStartDate", "lineItem/UsageAmount", "pricing/unit"]
CUR += ["pricing/publicOnDemandRate", "pricing/publicOnDemandCost"]
REPORT = [
    ("AWS", "Usage", "2023-11-01T00:00:00.000Z", "3.0", "Requests", "5.5E-6", "1.65E-5"),
    ("AWS", "Usage", "2023-11-01T00:00:00.000Z", "6.417E-7", "GB", "0.023", "1.48E-8"),
    ("AWS", "Usage", "2023-11-01T00:00:00.000Z", "3.0", "Requests", "5.5E-6", "1.66E-5"),
    ("AWS", "Tax", "2023-11-01T00:00:00.000Z", "1.0", None, None, "0.0"),
    ("AWS", "Credit", "2023-11-01T00:00:00.000Z", "1.0", None, None, "0.0"),
]


def test_an_aws_bill_is_rated_to_its_on_demand_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame(REPORT, schema=dict.fromkeys(CUR, pl.String), orient="row").write_parquet(tmp_path / "report.parquet")
    example("aws_bill.py")["main"]([str(tmp_path / "report.parquet"), str(tmp_path / "workspace")])
    assert capsys.readouterr().out.splitlines() == [
        "AWS: 2 of 3 priced rows equal at 10 decimals",
        "Not rated: 1 tax rows, 1 others without a rate",
    ]


def test_a_file_that_is_no_aws_report_is_refused(tmp_path: Path) -> None:
    bill = write_bill(tmp_path / "bill.parquet", list(BILL))
    with pytest.raises(BadFile, match="is no AWS Cost and Usage Report"):
        example("aws_bill.py")["read_bill"](bill)
