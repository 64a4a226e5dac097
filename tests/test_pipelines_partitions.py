"""The partition of an account is the one Kafka's own partitioner chooses for its key."""

from __future__ import annotations

from pathlib import Path

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from pipelines.partitions import owners_of, partitions_of
from pipelines.workspace import Workspace
from rating.terms import compile_terms


@given(st.lists(st.text(), max_size=20), st.integers(1, 1000))
def test_a_key_goes_where_kafkas_partitioner_sends_it(keys: list[str], partitions: int) -> None:
    wanted = [(murmur2(key.encode()) & 0x7FFFFFFF) % partitions for key in keys]
    assert partitions_of(keys, partitions).tolist() == wanted


def test_every_charge_of_a_book_is_counted_where_its_account_is(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shop", "video-conference", "2026-10")
    workspace.publish()
    book, roster = workspace.load()
    terms = compile_terms(book, roster)
    owners = owners_of(terms, roster, 5)
    assert owners.charges.to_list() == partitions_of(terms.usage["account_id"].to_list(), 5).tolist()
    assert owners.charges.n_unique() > 1
    assert owners.accounts["account_id"].to_list() == roster.accounts["account_id"].to_list()
