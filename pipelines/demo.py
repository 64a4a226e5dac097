"""`boss demo`: one month of a video-conference company, the whole way from events to invoices.

A seeded generator makes the events; they go to an embedded broker, the Faust worker rates them into the ledger, and the bill
run, the settlement and the metrics are made of it. Every part is the product's own; only the customers are invented.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import polars as pl

import pipelines.bill_run
import pipelines.measure_revenue
import pipelines.settle
from pipelines.checks import run_checks
from pipelines.dev import dev_broker, worker_process
from pipelines.send import send_events, wait_for_ledger
from pipelines.workspace import Workspace
from schemas.errors import BadWorkspace, BrokenPromise, Refused
from schemas.money import round_money
from schemas.period import Period

GENERATOR = Path(__file__).parents[1] / "examples" / "video_conference_events.py"
PERIOD = Period(2026, 10)
EVENTS = 200_000

COMPANY = """\
[company]                         # invented, like its customers
name = "云会科技（上海）有限公司 Yunhui Meetings"
address = "上海市浦东新区张江路 88 号\\n88 Zhangjiang Road, Shanghai"
tax_id = "91310000DEMO00000X"
bank = "Bank of Example, account 0000 1111 2222"
email = "billing@yunhui.example"

"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows at the end."""

    invoices: pl.DataFrame
    closing_lines: list[str]


def run_demo(folder: Path, say: Say, *, events: int = EVENTS) -> DemoResult:
    """Make the workspace in `folder` and run the month. An earlier demo there is replaced; any other folder is refused."""
    started = time.perf_counter()
    workspace = _fresh_workspace(folder)
    book, roster = workspace.publish()
    say(f"Workspace {workspace.root}: price book {book.version}, {roster.accounts.height} customers, 1 partner.")
    values = _generator().generate_events(events=events, seed=1, month=str(PERIOD))
    with dev_broker(workspace) as running, worker_process(running, workspace.root / "worker.log") as worker:
        sent = send_events(running, roster, values, lambda text: None)
        say(f"Sent {sent.events:,} events of minutes, ports, storage and traffic to the embedded broker.")
        wait_for_ledger(running, sent.reached, lambda text: None, lambda: worker.poll() is None)
        say(f"Rated by the Faust worker into the ledger ({time.perf_counter() - started:.0f} s so far).")
    pipelines.bill_run.run(workspace, PERIOD)
    final = pipelines.bill_run.finalize(workspace, PERIOD)
    say(f"Billed {PERIOD}. {final.message}")
    settlement = pipelines.settle.settle(workspace, PERIOD)
    say(f"Settled: {settlement.statements.height} partner statement(s).")
    measured = pipelines.measure_revenue.measure_revenue(workspace, PERIOD)
    for row in measured.summary.iter_rows(named=True):
        mrr, arpa, usage = (round_money(row[name], row["currency"]) for name in ("mrr_end", "arpa", "usage_revenue"))
        say(f"MRR {mrr:,} {row['currency']}, ARPA {arpa:,}, usage revenue {usage:,}.")
    results = run_checks(workspace)
    if not results["agrees"].all():
        raise BrokenPromise(f"The demo's numbers do not agree:\n{results.filter(~pl.col('agrees'))}")
    say(f"{results.height} checks agree. Done in {time.perf_counter() - started:.0f} s.")
    return DemoResult(final.invoices, _closing_lines(folder, workspace))


def _fresh_workspace(folder: Path) -> Workspace:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "demo.mark").is_file():
            raise BadWorkspace(f"{folder} is not empty and no earlier demo. Name another folder; nothing was changed.")
        shutil.rmtree(folder)
    if Workspace.create(folder, "video-conference", str(PERIOD)).settings.ledger.location:
        shutil.rmtree(folder)
        raise BadWorkspace(
            "The demo's ledger is in its folder, so that the next demo can replace it. Unset BOSS_LEDGER__LOCATION."
        )
    settings = (folder / "boss.toml").read_text(encoding="utf-8")
    before, rest = settings.split("[company]")
    (folder / "boss.toml").write_text(before + COMPANY + rest[rest.index("[billing]") :], encoding="utf-8")
    workspace = Workspace.open(folder)
    (folder / "demo.mark").write_text("made by boss demo; replaced by the next one\n")
    return workspace


def _generator() -> ModuleType:
    """The seeded generator, which lives in examples/ of the source checkout."""
    if not GENERATOR.is_file():
        raise Refused("The demo's events come from examples/ of the source checkout; it is not part of an installed package.")
    spec = importlib.util.spec_from_file_location("video_conference_events", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _closing_lines(folder: Path, workspace: Workspace) -> list[str]:
    queries = [
        "select account_id, price_id, sum(amount) as amount from postings where role = 'revenue' group by all order by all",
        "select debit_account, credit_account, currency, sum(amount) as amount from journal group by all order by all",
        "select account_id, currency, sum(margin) as margin from margin group by all order by margin desc",
    ]
    documents: Iterable[Path] = sorted(workspace.invoices_folder.rglob("*.pdf"))
    where = os.path.relpath(folder)
    return [
        "",
        "Invoices as PDF:",
        *(f"  {os.path.relpath(path)}" for path in documents),
        "",
        "Try:",
        *(f'  .venv/bin/boss sql -w {where} "{query}"' for query in queries),
        f"  .venv/bin/boss explain -w {where} INV-2026-000001 1",
    ]
