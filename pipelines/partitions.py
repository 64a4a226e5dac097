"""Which partition an account is counted on: that of its key, as Kafka's own partitioner chooses it (murmur2).

Every way to the topic (`boss send`, `boss rate`, `boss rejects retry`) and the worker that checks what arrives ask here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from rating.hierarchy import root_accounts
from rating.ownership import Owners
from rating.terms import Terms
from schemas.roster import Roster

_SEED = np.uint32(0x9747B28C)
_MIX = np.uint32(0x5BD1E995)

Numbers = npt.NDArray[np.uint32]


def keys_of_accounts(roster: Roster) -> pl.DataFrame:
    """`account_id`, `key`, one row per account: accounts that count together have one key, the root of their hierarchy."""
    return root_accounts(roster.accounts).select("account_id", key="root_id")


def owners_of(terms: Terms, roster: Roster, partitions: int) -> Owners:
    """The partition that counts each row of `terms.usage`, and each account."""
    keys = keys_of_accounts(roster)
    owner = pl.Series("owner", partitions_of(keys["key"].to_list(), partitions), pl.Int32)
    owned = keys.with_columns(owner).select("account_id", "owner")
    charges = terms.usage.select("account_id").join(owned, on="account_id", how="left", maintain_order="left")["owner"]
    return Owners(charges, owned)


def partitions_of(keys: Sequence[str], partitions: int) -> npt.NDArray[np.int32]:
    """The partition of each key (UTF-8) in a topic of so many."""
    texts = [key.encode() for key in keys]
    lengths = np.array([len(text) for text in texts], np.uint32)
    hashes = np.zeros(len(texts), np.uint32)
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        letters = np.frombuffer(b"".join(texts[i] for i in same), np.uint8).reshape(len(same), int(length))
        hashes[same] = _murmur2(letters)
    return ((hashes & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).astype(np.int32)


def _murmur2(letters: npt.NDArray[np.uint8]) -> Numbers:
    """The hash of each row of bytes; 32 bits that wrap, as in Kafka's Java client."""
    rows, length = letters.shape
    hashes: Numbers = np.full(rows, _SEED ^ np.uint32(length), np.uint32)
    wide = letters.astype(np.uint32)
    for at in range(0, length - length % 4, 4):
        word = wide[:, at] | wide[:, at + 1] << 8 | wide[:, at + 2] << 16 | wide[:, at + 3] << 24
        word *= _MIX
        word ^= word >> 24
        word *= _MIX
        hashes *= _MIX
        hashes ^= word
    rest = length % 4
    for place in range(rest):
        hashes ^= wide[:, length - rest + place] << (8 * place)
    if rest:
        hashes *= _MIX
    hashes ^= hashes >> 13
    hashes *= _MIX
    hashes ^= hashes >> 15
    return hashes
