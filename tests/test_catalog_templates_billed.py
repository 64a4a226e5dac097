"""Every industry template, the whole way: made, examples run, published, a few events rated and billed as worked out by hand.

The bill of October has October's usage and the fees of November, and of the year that begins in November.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from typer.testing import CliRunner

from catalog.templates import template_names
from cli import app
from pipelines.bill_run import preview
from pipelines.rate_file import rate_chunks
from pipelines.sql_access import query_workspace
from pipelines.usage_file import read_usage_file
from pipelines.workspace import Workspace
from schemas.period import Period

RECEIVED_MS = 1_800_000_000_000
"""When all events arrive: later than they happened, whatever the clock says."""

Usage = tuple[str, str, dict[str, object]]
"""Event type, subject, data."""


class Case(NamedTuple):
    usage: list[Usage]
    charged: dict[str, str]  # price_id -> amount, exact
    billed: dict[str, tuple[str, str]]  # account_id -> net and tax, lines rounded to the cent


def tokens(model: str, given: int, cached: int, answered: int, subject: str = "project-quill-app") -> Usage:
    data: dict[str, object] = {"model": model, "input_tokens": given, "cached_tokens": cached, "output_tokens": answered}
    return "completion.finished", subject, data


def device(gateway: str, name: str, messages: int, megabytes: str) -> Usage:
    return "device.reported", gateway, {"device": name, "messages": messages, "megabytes": megabytes}


def order(seller: str, amount: str, category: str) -> Usage:
    return "order.completed", seller, {"amount": amount, "category": category}


def energy(number: str, kwh: str, until: str) -> Usage:
    """An interval that ended at this time of 15 October, a Thursday."""
    return "interval.read", f"NMI-{number}", {"kwh": kwh, "until": f"2026-10-15T{until}:00+10:00"}


def call(number: str, seconds: int, destination: str) -> Usage:
    return "call.ended", number, {"seconds": seconds, "destination": destination}


CASES = {
    "saas-api": Case(
        [
            ("api.requested", "key-birch-1", {"requests": 60_000}),
            ("api.requested", "key-birch-2", {"requests": 90_000}),
            ("api.requested", "key-cobalt", {"requests": 10_500}),
            ("api.requested", "key-delta", {"requests": 2_000_000}),
        ],
        {
            "team.month.requests": "55",  # 100,000 x 0.0004 + 50,000 x 0.0003
            "starter.requests": "0.5",  # 500 after the included ones: one package
            "scale.requests": "450",  # 2,000,000 x 0.00025 less 10 %
        },
        {
            "birch": ("395.00", "0"),  # 10 seats x 29, 10 x 5 for the audit log
            "cobalt": ("45.50", "0"),  # 3 seats x 15
            "delta": ("48450.00", "0"),  # 200 seats x 240 for the year
        },
    ),
    "llm-tokens": Case(
        [
            tokens("aurora-large", 1_000_000, 200_000, 50_001),
            tokens("aurora-small", 3_000_001, 0, 1_000),
            tokens("aurora-embed", 1_000_003, 0, 0),
            tokens("aurora-large", 1_500_000_000, 0, 100_000_000, "project-lumen"),
        ],
        {
            "large.input": "2.5",
            "large.cached": "0.06",
            "large.output": "0.6250125",
            "small.input": "0.36000012",  # 3,000,001 x 0.00000015 less 20 %
            "small.cached": "0",
            "small.output": "0.0006",
            "embed.input": "0.012345037035",
            "enterprise.large.input": "2750",  # 2,000 for the first billion, 750 for the rest
            "enterprise.large.cached": "0",
            "enterprise.large.output": "1000",
        },
        {
            "quill": ("3.56", "0"),  # 2.50 + 0.06 + 0.63 + 0.36 + 0.00 + 0.01
            "lumen": ("4750.00", "0"),  # the fee is 1,000
        },
    ),
    "iot": Case(
        [
            device("gateway-hamburg", "pump-1", 5_000, "250.5"),
            device("gateway-kiel", "pump-2", 5_000, "400"),
            device("gateway-kiel", "pump-1", 1, "0"),
            device("gateway-tirol", "tank-1", 1_050_000, "1200"),
        ],
        {
            "fleet.devices": "3.2",  # 2 x 1.20 and, negotiated, 1 x 0.80
            "fleet.messages": "43.3",  # 2 packages of 0.40; 100 of them and a large one of 2.50
            "fleet.data": "17.5",  # 7 packages of 1.00; 3 of 3.50
        },
        {
            "kranwerk": ("59.20", "11.25"),  # 2.40 + 0.80 + 7.00 + 49, and 19 %
            "alpenmilch": ("201.80", "40.36"),  # 0.80 + 42.50 + 10.50 + 49 + 99, and 20 %
        },
    ),
    "marketplace": Case(
        [
            order("seller-1001", "20", "toys"),
            order("seller-1001", "100.10", "garden"),
            order("seller-1001", "3", "books"),
            order("seller-1001", "50", "books"),
            ("listing.created", "seller-1001", {}),
            order("seller-1002", "200", "bicycles"),
            order("seller-1003", "15000", "toys"),
        ],
        {
            "basic.commission": "10.31",  # 1.60 + 0.35 and 8.008 + 0.35, rounded
            "basic.books": "6.5",  # the minimum of 0.50, and 6.00
            "basic.listings": "0",
            "pro.commission": "13.25",  # 13.00 + 0.25
            "enterprise.commission": "800",  # 600 + 200
        },
        {
            "papierladen": ("16.81", "3.19"),
            "radhaus": ("52.25", "9.93"),
            "grosskauf": ("1299.00", "246.81"),
        },
    ),
    "utility": Case(
        [
            energy("4103001", "300.5", "15:00"),
            energy("4103001", "250", "06:00"),
            energy("3103002", "10.25", "15:00"),
            energy("3103002", "20", "08:00"),
            energy("3103002", "30", "06:00"),
            energy("4103003", "600", "15:00"),
            energy("4103004", "400", "06:00"),
            ("demand.read", "NMI-4103003", {"kw": "40.5"}),
            ("demand.read", "NMI-4103003", {"kw": "38"}),
        ],
        {
            "flat.energy": "174.645",  # 500 x 0.32 + 50.5 x 0.29
            "tou.peak": "4.92",
            "tou.shoulder": "5.8",
            "tou.off_peak": "5.7",
            "business.energy": "161.5",  # 1,000 x 0.17 less 5 %
            "business.demand": "587.25",  # 40.5 x 14.50
        },
        {
            "hill": ("207.15", "20.72"),  # 174.65 + 32.50; 20.715 is rounded up
            "reef": ("50.42", "5.04"),
            "foundry": ("868.75", "86.88"),
        },
    ),
    "telecom": Case(
        [
            call("447700900001", 61, "national"),
            call("447700900001", 61, "chile"),
            ("sms.sent", "447700900001", {"destination": "national"}),
            ("sms.sent", "447700900001", {"destination": "national"}),
            ("sms.sent", "447700900001", {"destination": "chile"}),
            ("data.used", "447700900001", {"megabytes": "1200"}),
            call("447700900002", 60_010, "europe"),
            ("sms.sent", "447700900003", {"destination": "national"}),
            ("data.used", "447700900003", {"megabytes": "51000.5"}),
        ],
        {
            "basic.voice.national": "0.1517",  # 0.05 + 0.10 + 0.10 / 60, rounded to 4 decimals
            "basic.voice.world": "1.4",  # 0.20 + 2 minutes
            "basic.sms.national": "0.1",
            "basic.sms.abroad": "0.15",
            "basic.data": "2.5",
            "max.voice": "0.015",  # 10 seconds after the included ones
            "max.sms": "0",
            "max.data": "4",  # 1,000.5 MB after the included ones: two packages
        },
        {
            "piper": ("12.30", "2.46"),  # 0.15 + 1.40 + 0.10 + 0.15 + 2.50 + 8
            "marlow": ("29.02", "5.80"),  # 0.02 + 4 + 25
        },
    ),
}


def usage_file(path: Path, usage: list[Usage]) -> Path:
    """The events as a file, a minute apart."""
    events = [
        {"specversion": "1.0", "id": str(number), "source": "/test", "type": kind, "subject": subject, "data": data}
        | {"time": data.get("until", f"2026-10-15T08:{number:02d}:00Z")}
        for number, (kind, subject, data) in enumerate(usage)
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_every_template_has_a_case() -> None:
    assert {*CASES, "video-conference"} == set(template_names())


@pytest.mark.parametrize("name", CASES)
def test_a_template_rates_and_bills_what_was_worked_out_by_hand(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    folder = str(tmp_path / "w")
    for command in (
        ["init", folder, "--template", name, "--starts", "2026-11"],
        ["catalog", "test", "-w", folder],
        ["catalog", "publish", "-w", folder],
    ):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    workspace = Workspace.open(Path(folder))
    chunks = read_usage_file(usage_file(tmp_path / "usage.ndjson", case.usage), chunk_rows=1000, received_at_ms=RECEIVED_MS)
    rated = rate_chunks(workspace, chunks, lambda _: None)
    assert (rated.events, rated.duplicates, rated.rejects) == (len(case.usage), 0, {})

    postings = workspace.ledger().postings.scan().filter(pl.col("role") == "revenue").collect()
    charged = dict(postings.group_by("price_id").agg(pl.col("amount").sum()).rows())
    assert charged == {price: Decimal(amount) for price, amount in case.charged.items()}

    bill = preview(workspace, Period(2026, 10))
    billed = {row[0]: row[1:] for row in bill.invoices.select("account_id", "net_amount", "tax_amount").rows()}
    assert billed == {account: (Decimal(net), Decimal(tax)) for account, (net, tax) in case.billed.items()}


def test_the_agency_of_the_marketplace_gets_its_share_of_the_commissions(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "w", "marketplace", "2026-11")
    workspace.publish()
    path = usage_file(tmp_path / "usage.ndjson", CASES["marketplace"].usage)
    rate_chunks(workspace, read_usage_file(path, chunk_rows=1000, received_at_ms=RECEIVED_MS), lambda _: None)
    shares = workspace.ledger().postings.scan().filter(pl.col("role") == "share").collect()
    assert shares["partner_id"].unique().to_list() == ["handelshilfe"]
    assert shares["amount"].sum() == Decimal("2.5215")  # 15 % of 10.31 + 6.50


def test_calls_of_the_telecom_template_cost_what_their_carriers_say_and_leave_the_margin_that_its_readme_tells(
    tmp_path: Path,
) -> None:
    workspace = Workspace.create(tmp_path / "w", "telecom", "2026-11")
    workspace.publish()
    delivered = [
        ("447700900001", 61, "national", "britline", "447911123456"),
        ("447700900001", 5, "chile", "worldtel", "56912345678"),
        ("447700900002", 67, "europe", "worldtel", "4915112345678"),
    ]
    usage: list[Usage] = [
        ("call.ended", who, {"seconds": str(seconds), "destination": zone, "carrier": carrier, "called": number})
        for who, seconds, zone, carrier, number in delivered
    ]
    path = usage_file(tmp_path / "usage.ndjson", [*usage, call("447700900002", 60, "national")])
    rate_chunks(workspace, read_usage_file(path, chunk_rows=1000, received_at_ms=RECEIVED_MS), lambda _: None)
    left = query_workspace(workspace, "select revenue, share, cost, margin from margin order by occurred_at").rows()
    assert left == [
        tuple(map(Decimal, row))
        for row in [
            ("0.1517", "0.034875", "0.0122", "0.104625"),
            ("0.8", "0.165", "0.14", "0.495"),
            ("0", "0", "0.036", "-0.036"),
            ("0", "0", "0", "0"),
        ]
    ]
    assert "keep 0.104625" in (workspace.root / "README.md").read_text(encoding="utf-8")
