"""`boss worker` that kills itself at a named point on the way of a batch, for the torture suite.

    TORTURE_POINT=posted:3 python -m tests.torture_worker worker --workspace FOLDER

dies of SIGKILL when it passes the point `posted` for the third time. Without the variable it is `boss` and nothing else. The
points are put into the product's functions from here; the product itself knows nothing of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import cli
import ledger.table
import pipelines.rater
import pipelines.worker
from ledger.chain import Chain
from ledger.table import LedgerTable
from pipelines.rater import Rater
from tests.sudden_death import dying_after

Concerns = Callable[..., bool]
"""Whether this call is one of the point, asked with the call's own arguments."""


def always(*arguments: Any, **options: Any) -> bool:
    return True


def in_table(name: str) -> Concerns:
    """Calls whose first argument is that table, its chain, or its store."""

    def concerns(first: Any, *arguments: Any, **options: Any) -> bool:
        return bool(getattr(first, "store", first).name == name)

    return concerns


POINTS: dict[str, tuple[Any, str, Concerns]] = {
    "assigned": (Rater, "assign", always),  # counters are rebuilt, the topic is not sought yet
    "decoded": (pipelines.rater, "decode_batches", always),
    "rated": (pipelines.rater, "rate_batch", always),
    "rejects file written": (ledger.table, "write_files", in_table("rejects")),
    "rejects committed": (LedgerTable, "append", in_table("rejects")),
    "file written": (ledger.table, "write_files", in_table("postings")),
    "chain written": (Chain, "declare", in_table("postings")),  # the line of the chain; the Delta commit is still to come
    "commit written": (LedgerTable, "_try_commit", in_table("postings")),  # in the log, and nobody has looked at it yet
    "posted": (LedgerTable, "append", in_table("postings")),
    "not acknowledged": (Rater, "_commit", always),  # counters are ahead of what Kafka was told
    "acknowledged": (pipelines.worker, "_acknowledge", always),
}
"""Point -> the function after which it lies, in the order in which a batch passes them."""


def arm(point: str, passes: int) -> None:
    """Die of SIGKILL at the point, when it is passed for the n-th time."""
    owner, name, concerns = POINTS[point]
    original = getattr(owner, name)
    reach = dying_after(passes)

    def and_die(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        if concerns(*arguments, **options):
            reach()
        return result

    def and_die_when_called(*arguments: Any, **options: Any) -> Any:
        acknowledge = original(*arguments, **options)

        async def run() -> None:
            await acknowledge()
            reach()

        return run

    setattr(owner, name, and_die_when_called if point == "acknowledged" else and_die)


if __name__ == "__main__":
    if "TORTURE_POINT" in os.environ:
        place, _, count = os.environ["TORTURE_POINT"].rpartition(":")
        arm(place, int(count))
    cli.app()
