"""An event goes to the account that pays for it: by its subject, at its time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import polars as pl
import pytest

from pipelines.event_time import read_times
from pipelines.keys import Keys
from pipelines.workspace import Workspace
from schemas.roster import Roster

MOVED = datetime(2026, 10, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Roster:
    workspace = Workspace.create(tmp_path_factory.mktemp("keys") / "shop", "video-conference", "2026-10")
    return workspace.read_sources()[1]


@pytest.fixture(scope="module")
def moved(roster: Roster) -> Roster:
    """conf-lantian belongs to qingshan from the middle of October on."""
    listed = roster.identifiers
    later = listed.filter(identifier="conf-lantian").with_columns(
        subscription_id=pl.lit("sub-qingshan"), valid_from=pl.lit(MOVED)
    )
    ended = pl.when(pl.col("identifier") == "conf-lantian").then(pl.lit(MOVED)).otherwise("valid_to").alias("valid_to")
    return replace(roster, identifiers=pl.concat([listed.with_columns(ended), later], how="vertical_relaxed"))


def test_identifiers_and_subscriptions_by_their_own_name_lead_to_the_account(roster: Roster) -> None:
    keys = Keys(roster)
    assert keys.of("conf-qingshan", None) == keys.of("sub-qingshan", None) == "qingshan"
    assert keys.of("conf-huaxing-sh", "2026-10-05T00:00:00Z") == "huaxing"
    assert [keys.of(subject, None) for subject in ("nobody", 7, None)] == [None] * 3


@pytest.mark.parametrize(
    ("time", "key"),
    [
        ("2026-10-14T23:59:59Z", "lantian"),
        ("2026-10-15T07:59:59+08:00", "lantian"),
        ("2026-10-15T00:00:00Z", "qingshan"),
        ("2030-01-01T00:00:00Z", "qingshan"),
        ("yesterday", "qingshan"),
        (None, "qingshan"),
    ],
)
def test_an_identifier_that_changed_hands_is_keyed_by_the_account_that_had_it_then(
    time: str | None, key: str, moved: Roster
) -> None:
    assert Keys(moved).of("conf-lantian", time) == key


@pytest.mark.parametrize(
    ("kind", "subject", "key"),
    [
        ("boss.balance.topup", "lantian", "huaxing"),  # an account below another one
        ("boss.balance.adjust", "conf-lantian", "huaxing"),
        ("boss.reservation.release", "lantian", "huaxing"),
        ("boss.balance.topup", "qingshan", "qingshan"),
        ("boss.balance.topup", "nobody", "nobody"),
    ],
)
def test_a_top_up_is_keyed_by_the_root_of_the_account_that_it_names(kind: str, subject: str, key: str, roster: Roster) -> None:
    parent = pl.when(pl.col("account_id") == "lantian").then(pl.lit("huaxing")).otherwise("parent_id").alias("parent_id")
    below = replace(roster, accounts=roster.accounts.with_columns(parent))
    ((found, _),) = Keys(below).keyed([orjson.dumps({"type": kind, "subject": subject})])
    assert found == key.encode()


def test_what_cannot_be_read_has_some_key_and_unknown_subjects_have_their_own(roster: Roster) -> None:
    texts = [
        b"{",
        b"[1]",
        b"7",
        b'{"subject": null}',
        orjson.dumps({"subject": "nobody"}),
        orjson.dumps({"subject": "conf-pine"}),
    ]
    keyed = list(Keys(roster).keyed(texts))
    assert [value for _, value in keyed] == texts
    assert [key for key, _ in keyed] == [b"", b"", b"", b"None", b"nobody", b"pine"]


def test_a_column_of_events_gets_the_keys_that_each_would_get(moved: Roster) -> None:
    below = moved.accounts.filter(account_id="qingshan").with_columns(
        account_id=pl.lit("qs-labs"), parent_id=pl.lit("qingshan")
    )
    keys = Keys(replace(moved, accounts=pl.concat([moved.accounts, below])))
    subjects = ["conf-lantian", "conf-qingshan", "nobody", None, "qingshan", "sub-lantian", "qs-labs"] * 3
    times = ["2026-10-14T23:59:59Z"] * 7 + [None] * 7 + ["2026-10-15T00:00:00Z"] * 7
    kinds = ["meeting.ended", "boss.balance.topup", None] * 7
    columns = [pl.Series(column, dtype=pl.String) for column in (subjects, times, kinds)]
    found = keys.of_all(columns[0], read_times(columns[1]), columns[2]).to_list()
    assert found == [keys.of(*event) for event in zip(subjects, times, kinds, strict=True)]
    assert {*found} == {"qingshan", "lantian", None}
