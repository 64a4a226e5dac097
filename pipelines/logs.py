"""What a long-running BOSS process writes to its log: one structured line per thing that happened, no floods.

Kafka's and Faust's libraries repeat themselves ten times a second while a broker is away; such a line is let through once in a
while, with the number of lines left out.
"""

from __future__ import annotations

import logging
import sys
import time

import structlog

REPEAT_SECONDS = 10.0

CHATTY = ("aiokafka", "faust", "mode", "asyncio", "pipelines.transport", "pipelines.patience")
"""Loggers of libraries: warnings and worse only, and each line not more than once in REPEAT_SECONDS."""


HARMLESS = (
    "because it is rebalancing",
    "exception performing seek when flow not active",
    "Missing sensor state for rebalance",  # of sensors that nobody has
    "Warning: Task timed out!",  # reading the ledger back took 10 s; the worker says itself what it reads
    "Please make sure it's hanging before restart.",
    "Event loop is closed",  # a library's last try after the worker has left
)
"""Part of every rebalance, or of every end."""


class NoFlood(logging.Filter):
    """Lets a library's line through once in `seconds`; a line is told by its logger and its text before it is filled in."""

    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(CHATTY):
            return True
        if record.levelno < logging.WARNING:
            return False
        if any(part in record.getMessage() for part in HARMLESS):
            return False
        line = (record.name, str(record.msg))
        now = time.monotonic()
        last, left_out = self._said.get(line, (now - self._seconds, 0))
        if now - last < self._seconds:
            self._said[line] = (last, left_out + 1)
            return False
        self._said[line] = (now, 0)
        record.exc_info = record.exc_text = None  # the worker says itself why it stops
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more)"
        return True


def start_logging(level: int = logging.INFO) -> None:
    """Write the log to stderr as lines of `timestamp= level= event= key=value`."""
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
            ],
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, stamp],
        )
    )
    handler.addFilter(NoFlood())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
