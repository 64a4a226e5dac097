"""Peak: how many were there at once, from events that say how many joined (+n) or left (-n).

Half-open: who leaves at the moment at which another joins was not there together with it. Who leaves in this period without
having joined in it was there when it began: as many as the count would fall below zero are added from the start. (Who stays
through the whole period without a sign is not seen.)
"""

from __future__ import annotations

import polars as pl

from rating.aggregates.moves import STATES

Node = tuple[int, int, int]
"""A stretch of time: what it adds in all, the highest and the lowest count in it, counted from its beginning (0 included)."""

_EMPTY: Node = (0, 0, 0)


def follow_peak(moves: pl.DataFrame, _spans: pl.DataFrame) -> pl.DataFrame:
    """STATES of the largest number that was there at one moment of the usage period."""
    change = pl.col("weight") * pl.col("quantity_quanta")
    batch = moves.filter(pl.col("arrival") > 0).with_columns(change=change)
    leaves = _leaves(moves.filter(pl.col("arrival") == 0).with_columns(change=change), batch)
    moment = ["key", "occurred_at"]
    placed = batch.join(leaves.drop_nulls("occurred_at").select(*moment, "leaf"), on=moment).sort("key", "arrival")
    nodes = {
        key: list(zip(*rows, strict=True))
        for key, *rows in leaves.group_by("key", maintain_order=True).agg("sum", "highest", "lowest").iter_rows()
    }
    return STATES.select(placed.with_columns(state=_walk(placed, nodes)))


def _leaves(known: pl.DataFrame, batch: pl.DataFrame) -> pl.DataFrame:
    """The time of each aggregate cut into leaves: every moment of the batch is one, and so is all that lies between two.

    `key`, `leaf` (0, 1, 2 ... in order of time), `occurred_at` (null between moments), `sum`, `highest`, `lowest`: a Node.
    """
    moment = ["key", "occurred_at"]
    before = known.group_by(moment).agg(pl.col("change").cast(pl.Int128).sum())
    moved = batch.select(moment).unique().with_columns(moved=pl.lit(True))
    times = before.join(moved, on=moment, how="full", coalesce=True).sort(moment).with_columns(pl.col("moved").fill_null(False))
    begins = pl.col("key").ne_missing(pl.col("key").shift(1))
    cut = begins | pl.col("moved") | pl.col("moved").shift(1).fill_null(False)
    numbered = times.with_columns(pl.col("change").fill_null(0), stretch=cut.cum_sum())
    summed = numbered.with_columns(running=pl.col("change").cum_sum().over("stretch"))
    stretches = summed.group_by("key", "stretch", maintain_order=True).agg(
        pl.when("moved").then("occurred_at").otherwise(None).first(),
        sum=pl.col("change").sum(),
        highest=pl.max_horizontal(pl.col("running").max(), 0),
        lowest=pl.min_horizontal(pl.col("running").min(), 0),
    )
    return stretches.with_columns(leaf=pl.col("stretch").cast(pl.Int64) - pl.col("stretch").first().over("key").cast(pl.Int64))


def _walk(batch: pl.DataFrame, nodes: dict[int, list[Node]]) -> pl.Series:
    """The peak after each move. A tree over the leaves of an aggregate, so a late event costs the logarithm of its length."""
    peaks: list[int] = []
    tree: list[Node] = []
    current, half = None, 1
    for key, leaf, change in batch.select("key", "leaf", "change").iter_rows():
        if key != current:
            current = key
            tree, half = _plant(nodes[key])
        at = half + leaf
        total = tree[at][0] + change
        tree[at] = (total, max(total, 0), min(total, 0))
        while at > 1:
            at >>= 1
            tree[at] = _join(tree[2 * at], tree[2 * at + 1])
        peaks.append(tree[1][1] - tree[1][2])
    return pl.Series("state", peaks, dtype=pl.Int128)


def _plant(leaves: list[Node]) -> tuple[list[Node], int]:
    """A tree whose leaves begin at the returned place and whose root is at 1."""
    half = 1 << (len(leaves) - 1).bit_length()
    tree = [*[_EMPTY] * half, *leaves, *[_EMPTY] * (half - len(leaves))]
    for at in range(half - 1, 0, -1):
        tree[at] = _join(tree[2 * at], tree[2 * at + 1])
    return tree, half


def _join(first: Node, second: Node) -> Node:
    total, highest, lowest = first
    more, higher, lower = second
    return total + more, max(highest, total + higher), min(lowest, total + lower)
