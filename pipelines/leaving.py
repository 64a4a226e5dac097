"""How a process that talks to Kafka ends, also when Kafka is not there to say goodbye to."""

from __future__ import annotations

import os
import threading

import structlog

log = structlog.stdlib.get_logger("boss.leaving")


def exit_after(seconds: float, code: int) -> None:
    """End the process in a while if it has not ended by itself.

    Without a broker, threads of the libraries wait for an answer that never comes, shrug off being cancelled, and keep the
    process alive. Nothing depends on them: what was promised is kept, or a failure has been reported.
    """

    def leave() -> None:
        log.warning("Kafka did not answer while the process was leaving; nothing is lost by that.")
        os._exit(code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
