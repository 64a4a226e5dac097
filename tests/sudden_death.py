"""How a process under test kills itself, as if the power had gone: nothing is closed, flushed or said. No tests in here."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def dying_after(passes: int) -> Callable[[], None]:
    """What is to be called at a point on the way: the n-th time it kills the process by SIGKILL."""
    left = passes

    def reach() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
