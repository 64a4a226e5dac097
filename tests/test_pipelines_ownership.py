"""No wrong amount is written when an account's events are spread over partitions; they are rejects, and can be sent again."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import orjson
import polars as pl
import pytest

from pipelines.checks import run_checks
from pipelines.partitions import partitions_of
from pipelines.rater import Rater, RateResult
from pipelines.rejected import open_rejects, retry_rejects
from pipelines.topic_life import Topic, TopicLife
from pipelines.workspace import Workspace
from schemas.book import Book
from schemas.roster import Roster
from schemas.usage import RawBatch
from tests.test_pipelines_worker import meeting

RECEIVED_MS = 1_800_000_000_000
PARTITIONS = 4
(OWNER,) = partitions_of(["qingshan"], PARTITIONS).tolist()
OTHER = (OWNER + 1) % PARTITIONS


class Worker:
    """A rater that has some partitions of a topic."""

    def __init__(self, shop: Workspace, *partitions: int, count: int = PARTITIONS, epoch: str = "1") -> None:
        self.rater = Rater(shop, shop.ledger(), shop.settings.limits)
        self.assign(epoch, count, *partitions)

    def assign(self, epoch: str, count: int, *partitions: int) -> None:
        self.stream = f"kafka:usage@{epoch}"
        topic = Topic("usage", self.stream, TopicLife(count, None))
        self.next = {
            p: -1 if at is None else at
            for (_, p), at in self.rater.assign([(self.stream, p) for p in partitions], topic).items()
        }

    def rate(self, partition: int, *values: bytes) -> RateResult:
        first = self.next[partition] + 1
        self.next[partition] += len(values)
        offsets = range(first, first + len(values))
        return self.rater.process([RawBatch(self.stream, partition, offsets, values, [RECEIVED_MS] * len(values))])


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return make_shop(tmp_path)


def make_shop(folder: Path) -> Workspace:
    made = Workspace.create(folder / "shop", "video-conference", "2026-10")
    made.publish()
    return made


def charged(shop: Workspace) -> dict[str, Any]:
    """Events that stand in the ledger and what they add up to, with a check that every two numbers agree."""
    checks = run_checks(shop)
    assert checks["agrees"].all(), checks
    rows = shop.ledger().postings.scan().filter(role="revenue").collect()
    return {
        "events": sorted(rows["event_id"].unique()),
        "amount": rows["amount"].sum(),
        "quanta": rows["quantity_quanta"].sum(),
    }


def test_an_event_by_another_partition_is_a_reject_that_names_the_owner_and_is_charged_when_sent_again(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    assert dict(worker.rate(OTHER, meeting(1)).rejects) == {"wrong_partition": 1}
    assert dict(worker.rate(OWNER, meeting(2)).rejects) == {}
    (row,) = open_rejects(shop.ledger()).rows(named=True)
    assert row["detail"].startswith(
        f"Account 'qingshan' is counted on partition {OWNER}, and the event came by partition {OTHER};"
    )
    assert dict(retry_rejects(shop, [], lambda _: None).rejects) == {}
    assert charged(shop)["events"] == ["meeting-1", "meeting-2"]
    assert open_rejects(shop.ledger()).is_empty()


def test_two_workers_that_both_get_events_of_an_account_write_no_wrong_aggregate(shop: Workspace) -> None:
    right, wrong = Worker(shop, OWNER), Worker(shop, OTHER)
    for number in range(0, 20, 2):
        right.rate(OWNER, meeting(number))
        wrong.rate(OTHER, meeting(number + 1))
    assert len(charged(shop)["events"]) == 10
    assert open_rejects(shop.ledger(), ["wrong_partition"]).height == 10


def test_what_was_charged_before_is_a_duplicate_wherever_it_comes_again(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    worker.rate(OWNER, meeting(1))
    again = worker.rate(OTHER, meeting(1))
    assert (again.duplicates, dict(again.rejects)) == (1, {})


def test_the_same_event_by_both_ways_at_once_is_charged(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    batches = [RawBatch(worker.stream, partition, [0], [meeting(1)], [RECEIVED_MS]) for partition in (OTHER, OWNER)]
    done = worker.rater.process(batches)
    assert dict(done.rejects) == {"wrong_partition": 1}
    assert charged(shop)["events"] == ["meeting-1"]
    assert open_rejects(shop.ledger()).is_empty(), "the reject is settled by the event that was charged"


def test_a_retraction_by_another_partition_is_a_reject_and_takes_back_when_sent_again(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    back = meeting(9, retracts="meeting-1")
    worker.rate(OWNER, meeting(1))
    assert dict(worker.rate(OTHER, back).rejects) == {"wrong_partition": 1}
    assert shop.ledger().postings.scan().filter(pl.col("corrects").is_not_null()).collect().is_empty()
    retry_rejects(shop, [], lambda _: None)
    assert charged(shop)["amount"] == 0


def test_events_of_unknown_subjects_keep_their_reason_wherever_they_come(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    for partition in range(PARTITIONS):
        assert dict(worker.rate(partition, meeting(partition, subject="nobody")).rejects) == {"unknown_subject": 1}


def prepaid(folder: Path) -> Workspace:
    """The shop with `qingshan` paying in advance."""
    made = make_shop(folder)
    file = made.roster_folder / "accounts.yaml"
    file.write_text(file.read_text().replace("  - id: qingshan\n", "  - id: qingshan\n    charging: prepaid\n"))
    made.publish()
    return made


def topup(event_id: str, subject: str = "qingshan", kind: str = "topup") -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "/till",
            "type": f"boss.balance.{kind}",
            "subject": subject,
            "time": "2026-10-05T01:00:00Z",
            "data": {"amount": "50"},
        }
    )


def topped_up(shop: Workspace) -> list[str]:
    """Which events added money, in order of their rows; with a check that no number of a balance's rows is there twice."""
    checks = run_checks(shop)
    assert checks["agrees"].all(), checks
    rows = shop.ledger().postings.scan().filter(role="balance").collect()
    return rows.filter(pl.col("charge") != "deduct").sort("after_quanta")["event_id"].to_list()


def test_a_top_up_by_another_partition_is_a_reject_and_counts_when_sent_again(tmp_path: Path) -> None:
    shop = prepaid(tmp_path)
    right, wrong = Worker(shop, OWNER), Worker(shop, OTHER)
    assert dict(right.rate(OWNER, topup("a"), meeting(1)).rejects) == {}
    assert dict(wrong.rate(OTHER, topup("b"), topup("c", "conf-qingshan", "adjust")).rejects) == {"wrong_partition": 2}
    assert topped_up(shop) == ["a"]
    told = open_rejects(shop.ledger())["detail"].to_list()
    assert all(f"is counted on partition {OWNER}, and the event came by partition {OTHER};" in detail for detail in told)
    assert dict(retry_rejects(shop, [], lambda _: None).rejects) == {}
    assert topped_up(shop) == ["a", "b", "c"]


def test_a_top_up_by_both_ways_counts_once_and_one_that_counted_is_a_duplicate(tmp_path: Path) -> None:
    shop = prepaid(tmp_path)
    worker = Worker(shop, *range(PARTITIONS))
    both = [RawBatch(worker.stream, partition, [0], [topup("a")], [RECEIVED_MS]) for partition in (OTHER, OWNER)]
    assert dict(worker.rater.process(both).rejects) == {"wrong_partition": 1}
    worker.next |= {OTHER: 0, OWNER: 0}
    again = worker.rate(OTHER, topup("a"))
    assert (again.duplicates, dict(again.rejects)) == (1, {})
    assert topped_up(shop) == ["a"]
    assert open_rejects(shop.ledger()).is_empty()


def test_a_file_has_no_partitions_and_is_not_asked_for_them(shop: Workspace) -> None:
    rater = Rater(shop, shop.ledger(), shop.settings.limits)
    rater.assign([("file:x", OTHER)])
    assert dict(rater.process([RawBatch("file:x", OTHER, [0], [meeting(1)], [RECEIVED_MS])]).rejects) == {}


def test_a_roster_published_meanwhile_is_checked_too(shop: Workspace) -> None:
    worker = Worker(shop, *range(PARTITIONS))
    worker.rate(OWNER, meeting(1))
    for file in shop.roster_folder.iterdir():
        file.write_text(file.read_text().replace("conf-qingshan", "conf-renamed"))
    shop.publish()
    assert dict(worker.rate(OTHER, meeting(2, subject="conf-renamed")).rejects) == {"wrong_partition": 1}
    assert dict(worker.rate(OWNER, meeting(3, subject="conf-renamed")).rejects) == {}


SUBJECTS = {"conf-qingshan": "qingshan", "conf-lantian": "lantian", "conf-huaxing-bj": "huaxing"}


def test_a_rebalance_compiles_nothing_again_unless_the_topic_has_other_partitions(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[tuple[Book, Roster]] = []
    load = Workspace.load

    def load_and_count(workspace: Workspace) -> tuple[Book, Roster]:
        loads.append(load(workspace))
        return loads[-1]

    monkeypatch.setattr(Workspace, "load", load_and_count)
    worker = Worker(shop, OWNER, OTHER)
    worker.rate(OWNER, meeting(0))
    for number, epoch, count, partition, loaded, charges in (
        (1, "1", PARTITIONS, OTHER, 1, False),
        (2, "1", PARTITIONS, OWNER, 1, True),
        (3, "2", 1, 0, 2, True),
    ):
        worker.assign(epoch, count, partition)
        assert bool(worker.rate(partition, meeting(number)).postings) == charges
        assert len(loads) == loaded


@pytest.mark.parametrize(("rated", "more", "cut"), [(0, 8, 40), (17, 8, 3), (30, 6, 7), (20, 5, 1)])
def test_a_topic_with_more_partitions_in_a_new_epoch_gives_the_amounts_of_one_partition(
    rated: int, more: int, cut: int, tmp_path: Path
) -> None:
    """30 events by 4 partitions, of which some were rated, 10 by the new ones; all is read again in a new epoch."""
    random = Random(more)
    minutes = [random.randrange(1, 40_000) for _ in range(40)]
    values = [
        (account, _used(number, subject, amount))
        for number, (amount, (subject, account)) in enumerate(zip(minutes, [*SUBJECTS.items()] * 14, strict=False))
    ]
    log: dict[int, list[bytes]] = {partition: [] for partition in range(more)}
    shop, simple = make_shop(tmp_path / "grown"), make_shop(tmp_path / "simple")
    before = Worker(shop, *range(4))
    for number, (account, value) in enumerate(values):
        (place,) = partitions_of([account], 4 if number < 30 else more).tolist()
        log[place].append(value)
        if number < rated:
            before.rate(place, value)
    after = [Worker(shop, *range(first, more, 2), count=more, epoch="2") for first in (0, 1)]
    for partition, texts in log.items():
        for at in range(0, len(texts), cut):
            after[partition % 2].rate(partition, *texts[at : at + cut])
    retry_rejects(shop, [], lambda _: None)
    Worker(simple, 0, count=1).rate(0, *(value for _, value in values))
    assert charged(shop) == charged(simple)
    assert open_rejects(shop.ledger()).is_empty()


def _used(number: int, subject: str, minutes: int) -> bytes:
    return orjson.dumps(
        orjson.loads(meeting(number, subject=subject))
        | {"data": {"minutes": str(minutes), "region": "cn", "call_type": "video"}}
    )
