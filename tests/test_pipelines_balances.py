"""A prepaid line from top-up to refusal and back, over files, commands, corrections and a bill."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from cli import app
from pipelines.balances import list_notices, read_balances, show_balance
from pipelines.checks import run_checks
from pipelines.rate_file import rate_chunks
from pipelines.replay import replay_posted
from pipelines.replay_messages import replay_batches
from pipelines.workspace import Workspace
from rating.balance.accounts import Account
from schemas.period import Period
from schemas.usage import RawBatch

RECEIVED_MS = 1_800_000_000_000
OCTOBER = Period(2026, 10)
PREPAID = "{id: piper, charging: prepaid, low_balance: 2, "


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "mobile", "telecom", "2026-10")
    customers = made.root / "roster" / "customers.yaml"
    text = customers.read_text()
    customers.write_text(text.replace("{id: piper, ", PREPAID, 1))
    made.publish()
    return made


def message(event_id: str, kind: str, subject: str, at: str, **data: object) -> bytes:
    event = {"specversion": "1.0", "id": event_id, "source": "/switch", "type": kind, "subject": subject}
    return json.dumps(event | {"time": f"2026-10-{at}:00Z", "data": data}).encode()


def call(event_id: str, at: str, seconds: int, destination: str = "national", **more: object) -> bytes:
    return message(event_id, "call.ended", "447700900001", at, seconds=seconds, destination=destination, **more)


def topup(event_id: str, at: str, **data: object) -> bytes:
    return message(event_id, "boss.balance.topup", "piper", at, **data)


def request(event_id: str, at: str, session: str, seconds: int, destination: str = "national", **more: object) -> bytes:
    wanted = {"session": session, "meter": "voice", "quantity": str(seconds), "dimensions": {"destination": destination}}
    return message(event_id, "boss.reservation.request", "447700900001", at, **wanted, **({"seconds": 3600} | more))


def rate(workspace: Workspace, *values: bytes, stream: str = "file:a") -> dict[str, int]:
    have = workspace.ledger().postings.position(f"{stream}/0")
    start = 0 if have is None else have + 1
    batch = RawBatch(stream, 0, range(start, start + len(values)), values, [RECEIVED_MS] * len(values))
    return dict(rate_chunks(workspace, [batch], lambda _: None).rejects)


def account(workspace: Workspace) -> Account:
    return read_balances(workspace, "piper").account("piper")


def left(workspace: Workspace) -> dict[str, str]:
    return {name: f"{left.normalize():f}" for name, left in show_balance(workspace, "piper")[0].select("bucket", "left").rows()}


def told(workspace: Workspace) -> list[str]:
    return [name.removeprefix("boss.") for name in list_notices(workspace, "piper")["type"]]


def disagreeing(workspace: Workspace) -> list[str]:
    return run_checks(workspace).filter(~pl.col("agrees"))["check"].to_list()


STORY = [
    topup("t1", "01T08:00", amount="5"),
    topup("t2", "01T08:00", bucket="minutes", meter="voice", quantity=120, priority=1, valid_to="2026-10-20T00:00:00Z"),
    call("c1", "02T09:00", 100),  # all of it from the bucket
    call("c2", "02T10:00", 80),  # 20 from the bucket; 60 cost 0.05 + 0.10
    call("c3", "03T10:00", 600, "europe"),  # 2.50
    call("c4", "04T10:00", 180, "national"),  # 0.05 + 0.30: 2 is left
    call("c5", "05T10:00", 60, "world"),  # 0.80: little is left
    message("x2", "call.ended", "447700900001", "06T10:00"),
    call("c6", "07T10:00", 360, "europe"),  # 1.50: nothing is left
]


def test_a_line_is_topped_up_used_up_refused_and_topped_up_again(workspace: Workspace) -> None:
    assert rate(workspace, *STORY) == {"missing_field": 1}
    assert left(workspace) == {"minutes": "0", "main": "-0.3"}
    assert rate(workspace, request("r1", "08T10:00", "call-7", 60)) == {}
    assert rate(workspace, topup("t3", "09T10:00", amount="10")) == {}
    assert rate(workspace, request("r2", "09T11:00", "call-8", 60)) == {}
    assert told(workspace) == [
        "balance.low",
        "balance.exhausted",
        "reservation.refused",
        "balance.restored",
        "reservation.granted",
    ]
    assert left(workspace)["main"] == "9.7"
    assert list(account(workspace).sessions) == ["call-8"]
    assert rate(workspace, call("c7", "09T11:05", 45, session="call-8")) == {}
    assert left(workspace)["main"] == "9.55"
    assert not account(workspace).sessions
    assert disagreeing(workspace) == []
    held = workspace.ledger().postings.scan().filter(role="hold").collect()
    assert sum(held["amount"].to_list(), Decimal(0)) == 0
    assert held["quantity_quanta"].sum() == 0


def test_replay_reproduces_what_balances_paid(workspace: Workspace) -> None:
    rate(workspace, *STORY[:4])
    retraction = json.loads(call("c2-void", "05T10:00", 0)) | {"retracts": "c2"}
    rest = [*STORY[4:], json.dumps(retraction).encode(), topup("t3", "09T10:00", amount="10")]
    rate(workspace, *rest, stream="file:b")
    posted = replay_posted(workspace, OCTOBER)
    assert posted.agrees
    values = [*STORY, *rest[-2:]]
    sent = replay_batches(workspace, OCTOBER, [RawBatch("sent", 0, range(len(values)), values, [RECEIVED_MS] * len(values))])
    assert sent.agrees, sent.differences
    assert posted.aggregates == sent.aggregates


def test_replay_notices_a_deduction_that_is_not_there(workspace: Workspace) -> None:
    rate(workspace, *STORY)
    ledger = workspace.ledger().postings
    odd = ledger.scan().filter((pl.col("charge") == "deduct") & (pl.col("event_id") == "c3")).collect()
    again = odd.with_columns(stream=pl.lit("file:forged"))
    ledger.append(again, expected={}, reached={"file:forged/0": 99})
    assert replay_posted(workspace, OCTOBER).differences["role"].to_list() == ["balance"]
    assert set(disagreeing(workspace)) == {
        "balances: rows = numbers without a gap",
        "balances: taken by usage = charged for it",
    }


def boss(workspace: Workspace, *arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["balance", *arguments], env={"BOSS_WORKSPACE": str(workspace.root)})
    assert done.exit_code == code, done.output
    return done


def test_the_commands_top_up_correct_ask_reserve_and_release(workspace: Workspace) -> None:
    boss(workspace, "topup", "piper", "5", "--id", "cash-1")
    assert "was taken before" in boss(workspace, "topup", "piper", "5", "--id", "cash-1").stderr
    boss(workspace, "topup", "piper", "6", "--id", "cash-1", code=1)
    boss(workspace, "adjust", "piper-mobile", "--amount", "-3.50", "--note", "charged back")
    boss(workspace, "topup", "piper", "--bucket", "gift", "--meter", "sms", "--quantity", "3", "--priority", "1")
    shown = json.loads(boss(workspace, "show", "piper", "--format", "json").stdout)
    assert [f"{row['bucket']} {Decimal(row['left']).normalize()} {row['holds']}" for row in shown] == [
        "gift 3 sms",
        "main 1.5 GBP",
    ]
    national = ["--meter", "voice", "--data", "destination=national"]
    hour = ["authorise", "piper-mobile", "--quantity", "3600", *national]
    asked = json.loads(boss(workspace, *hour, "--format", "json").stdout)[0]
    assert (asked["reason"], Decimal(asked["granted"])) == ("INSUFFICIENT_CREDIT", Decimal(870))
    boss(workspace, *hour, "--least", "3600", code=1)
    assert told(workspace) == ["balance.low"]
    boss(workspace, "reserve", "piper-mobile", "--session", "s1", "--quantity", "600", *national)
    boss(workspace, "reserve", "piper-mobile", "--session", "s2", "--quantity", "600", "--least", "600", *national, code=1)
    assert "reserved by 1 running sessions" in boss(workspace, "show", "piper").output
    boss(workspace, "release", "piper", "--session", "s1")
    assert "boss.reservation.granted" in boss(workspace, "notices").output
    assert disagreeing(workspace) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("topup", "piper", "NaN"), "no plain decimal number"),
        (("topup", "piper", "--", "-5"), "send boss.balance.adjust"),
        (("topup", "nobody", "5"), "called 'nobody'"),
        (("topup", "marlow", "5"), "charging: prepaid"),
        (("release", "piper", "--session", "s9"), "nothing reserved"),
        (("show", "nobody"), "There is no account nobody"),
        (("show", "marlow"), "has no balance"),
    ],
)
def test_a_command_refuses_with_the_reason_and_writes_nothing(
    workspace: Workspace, arguments: tuple[str, ...], words: str
) -> None:
    done = boss(workspace, *arguments, code=1)
    assert words in done.stderr
    assert workspace.ledger().postings.version() == -1
    assert workspace.ledger().rejects.version() == -1


def restarted(workspace: Workspace) -> dict[str, Any]:
    balances = read_balances(workspace)
    return {name: balances.account(name) for name in balances.names()}


def test_rated_in_one_go_or_with_a_restart_after_each_event_the_balance_is_the_same(
    workspace: Workspace, tmp_path: Path
) -> None:
    events = [
        *STORY,
        request("r1", "08T10:00", "s", 60),
        topup("t3", "09T10:00", amount="10"),
        request("r2", "09T11:00", "u", 90),
    ]
    rate(workspace, *events)
    whole = restarted(workspace), workspace.ledger().postings.scan().sort("stream_offset", "stream_row").collect()
    other = Workspace.create(tmp_path / "other", "telecom", "2026-10")
    (other.root / "roster" / "customers.yaml").write_bytes((workspace.root / "roster" / "customers.yaml").read_bytes())
    other.publish()
    for event in events:
        rate(other, event)
    assert restarted(other) == whole[0]
    assert other.ledger().postings.scan().sort("stream_offset", "stream_row").collect().equals(whole[1])
