"""Rejected events: kept whole, listed until they are charged, sent again once something was mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.dev import dev_broker, worker_process
from pipelines.rate_file import rate_file
from pipelines.rater import RateResult
from pipelines.rejected import open_rejects, retry_rejects
from pipelines.send import send_file, send_rejects, wait_for_ledger
from pipelines.workspace import Workspace


def call(number: int, subject: str = "conf-lantian", **data: object) -> str:
    told = {"minutes": 10, "region": "cn", "call_type": "video"} | data
    event = {"specversion": "1.0", "id": str(number), "source": "/meter", "type": "meeting.ended", "subject": subject}
    return json.dumps(event | {"time": "2026-10-05T08:00:00Z", "data": told})


def nobody(result: RateResult) -> None:
    pass


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    made.publish()
    return made


@pytest.fixture
def usage(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        file = tmp_path / f"usage-{len(list(tmp_path.glob('usage-*')))}.ndjson"
        file.write_text("".join(f"{line}\n" for line in lines))
        return file

    return write


def give_identifier(workspace: Workspace, identifier: str) -> None:
    """Mend the roster: one more identifier of lantian's subscription."""
    (workspace.roster_folder / "more.yaml").write_text(
        f"identifiers:\n  - id: {identifier}\n    subscription: sub-lantian\n", encoding="utf-8"
    )
    workspace.publish()


def charged(workspace: Workspace) -> list[str]:
    rows = workspace.ledger().postings.scan().collect()
    return sorted(rows.filter(rows["role"] == "revenue")["event_id"].unique().to_list())


def test_a_reject_is_charged_once_the_roster_was_mended(workspace: Workspace, usage: Callable[..., Path]) -> None:
    rate_file(workspace, usage(call(1), call(2, "conf-new"), "no event at all"), nobody)
    assert open_rejects(workspace.ledger())["reason"].to_list() == ["unknown_subject", "unreadable"]
    assert retry_rejects(workspace, [], nobody).rejects == {"unknown_subject": 1, "unreadable": 1}
    give_identifier(workspace, "conf-new")
    assert retry_rejects(workspace, ["unknown_subject"], nobody).postings > 0
    assert charged(workspace) == ["1", "2"]
    assert open_rejects(workspace.ledger())["reason"].to_list() == ["unreadable"]


def test_retrying_again_charges_nothing_twice(workspace: Workspace, usage: Callable[..., Path]) -> None:
    rate_file(workspace, usage(call(2, "conf-new")), nobody)
    give_identifier(workspace, "conf-new")
    retry_rejects(workspace, [], nobody)
    rows = workspace.ledger().postings.scan().collect().height
    assert retry_rejects(workspace, [], nobody) == RateResult()
    assert workspace.ledger().postings.scan().collect().height == rows


def test_a_message_that_fails_again_is_listed_once(workspace: Workspace, usage: Callable[..., Path]) -> None:
    rate_file(workspace, usage(call(2, "conf-new")), nobody)
    retry_rejects(workspace, [], nobody)
    retry_rejects(workspace, [], nobody)
    listed = open_rejects(workspace.ledger())
    assert listed.height == 1
    assert listed["stream"][0].startswith("retry:")
    assert workspace.ledger().rejects.scan().collect().height == 3


def test_a_differing_duplicate_is_kept_and_not_retried(workspace: Workspace, usage: Callable[..., Path]) -> None:
    rate_file(workspace, usage(call(1), call(1, minutes=11)), nobody)
    assert open_rejects(workspace.ledger())["reason"].to_list() == ["duplicate_differs"]
    assert retry_rejects(workspace, [], nobody) == RateResult()


def test_with_a_broker_rejects_are_sent_to_the_topic_again(workspace: Workspace, usage: Callable[..., Path]) -> None:
    with dev_broker(workspace) as running, worker_process(running, workspace.root / "worker.log") as worker:
        sent = send_file(running, usage(call(1), call(2, "conf-new")), lambda _: None)
        wait_for_ledger(running, sent.reached, lambda _: None, lambda: worker.poll() is None)
        assert open_rejects(running.ledger())["reason"].to_list() == ["unknown_subject"]
        give_identifier(workspace, "conf-new")
        again = send_rejects(running, [], lambda _: None)
        assert again.events == 1
        wait_for_ledger(running, again.reached, lambda _: None, lambda: worker.poll() is None)
    assert charged(workspace) == ["1", "2"]
    assert open_rejects(workspace.ledger()).is_empty()
