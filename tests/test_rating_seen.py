"""Remembered events: what the ledger's rows say of an event is what its batch said, in whatever frames they are read."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rating.seen import SeenEvents, fingerprint_events
from schemas.ledger import POSTINGS
from tests.examples import examples

COLUMNS = ["event_source", "event_id", "subscription_id", "occurred_at", "meter_id", "quantity_quanta", "value"]


def rows_of(events: list[tuple[str, str, int]]) -> pl.DataFrame:
    """A row per event, meter and quantity."""
    at = datetime(2026, 10, 5, tzinfo=UTC)
    built = [
        {"event_source": "meet", "event_id": event, "subscription_id": "a", "occurred_at": at}
        | {"meter_id": meter, "quantity_quanta": quanta}
        for event, meter, quanta in events
    ]
    return POSTINGS.build(built).select(COLUMNS)


@examples(60)
@given(
    files=st.lists(
        st.lists(st.tuples(st.sampled_from(["minutes", "bytes"]), st.integers(1, 3)), min_size=1, max_size=6), max_size=4
    ),
    data=st.data(),
)
def test_events_of_one_row_and_of_several_are_remembered_alike(files: list[list[tuple[str, int]]], data: st.DataObject) -> None:
    seen, told = SeenEvents(), []
    for number, contents in enumerate(files):
        names = [f"{number}-{data.draw(st.integers(0, 3))}" for _ in contents]
        rows = rows_of([(name, *content) for name, content in zip(names, contents, strict=True)])
        seen.add(rows)
        seen.add(rows.clear())
        told.append(fingerprint_events(rows))
    assert len(seen) == sum(part.height for part in told)
    for part in told:
        assert seen.check(part["id_hash"]).to_list() == part["content_hash"].to_list()


def test_reading_a_file_again_changes_nothing() -> None:
    seen, rows = SeenEvents(), rows_of([("x", "minutes", 1), ("y", "minutes", 2), ("x", "bytes", 3)])
    seen.add(rows)
    seen.add(rows)
    told = fingerprint_events(rows)
    assert (len(seen), seen.check(told["id_hash"]).to_list()) == (2, told["content_hash"].to_list())
