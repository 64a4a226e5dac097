"""`boss rekey` that kills itself at a named point on the way of its messages, and takes few of them at a time.

    REKEY_POINT="sent:3" python -m tests.rekey_killed rekey --workspace FOLDER

dies of SIGKILL when it passes the point `sent` for the third time. The points are put in from here; the product knows nothing
of them.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import cli
import pipelines.forward
import pipelines.rekey
from pipelines.forward import Forwarder
from pipelines.rekey import Stage
from pipelines.rekeyed import Rekeyer
from tests.sudden_death import dying_after

POINTS: dict[str, tuple[type, str]] = {
    "keyed": (Rekeyer, "rekey"),
    "partly sent": (Forwarder, "_send"),  # one partition of the usage topic has its part, others may not
    "sent": (Forwarder, "send"),  # all of them have it, and the offsets are not committed
    "committed": (Stage, "_commit"),
}
"""Point -> the function after which it lies, in the order in which messages pass them."""

MESSAGES = 150
BATCH_BYTES = 20_000


def arm(point: str, passes: int) -> None:
    """Die of SIGKILL at the point, when it is passed for the n-th time."""
    owner, name = POINTS[point]
    original = getattr(owner, name)
    reach = dying_after(passes)

    def and_die(*arguments: Any) -> Any:
        result = original(*arguments)
        reach()
        return result

    async def and_die_later(*arguments: Any) -> Any:
        result = await original(*arguments)
        reach()
        return result

    setattr(owner, name, and_die_later if asyncio.iscoroutinefunction(original) else and_die)


if __name__ == "__main__":
    pipelines.rekey.MESSAGES_PER_POLL = MESSAGES
    pipelines.forward.BATCH_BYTES = BATCH_BYTES
    if "REKEY_POINT" in os.environ:
        place, _, count = os.environ["REKEY_POINT"].rpartition(":")
        arm(place, int(count))
    cli.app()
