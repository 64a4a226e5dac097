"""How the worker is doing, for people and for Prometheus: /healthz, /readyz and /metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.rater import RateResult

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Health:
    """Counts what the worker does and answers for it. One per worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = False  # partitions are assigned and being read
        self.failure: str | None = None
        self.flushes = 0
        self.events = 0
        self._lag_events: Callable[[], Mapping[int, int]] = dict
        registry = self.registry
        self._events = Counter("boss_events", "Events read and settled in the ledger or the rejects", registry=registry)
        self._postings = Counter("boss_postings", "Rows appended to the ledger", registry=registry)
        self._duplicates = Counter("boss_duplicates", "Events that were charged before", registry=registry)
        self._rejects = Counter("boss_rejects", "Events that were not charged", ["reason"], registry=registry)
        self._commit_seconds = Histogram(
            "boss_commit_seconds", "Appending one flush to the ledger", buckets=SECONDS, registry=registry
        )
        self._flush_seconds = Histogram(
            "boss_flush_seconds", "Rating and committing one flush", buckets=SECONDS, registry=registry
        )
        self._committed_at = Gauge(
            "boss_last_commit_timestamp_seconds", "When the ledger was last appended to", registry=registry
        )
        self._lag = Gauge(
            "boss_lag_events", "Messages in the topic that are not in the ledger yet", ["partition"], registry=registry
        )

    def watch_lag(self, lag_events: Callable[[], Mapping[int, int]]) -> None:
        """Ask this for the lag of each partition whenever somebody looks."""
        self._lag_events = lag_events

    def record(self, result: RateResult, seconds: float) -> None:
        """One flush reached the ledger."""
        self.flushes += 1
        self.events += result.events
        self._events.inc(result.events)
        self._postings.inc(result.postings)
        self._duplicates.inc(result.duplicates)
        for reason, count in result.rejects.items():
            self._rejects.labels(reason).inc(count)
        self._commit_seconds.observe(result.commit_seconds)
        self._flush_seconds.observe(seconds)
        self._committed_at.set(time.time())

    def metrics(self) -> str:
        """The Prometheus text of now."""
        self._lag.clear()
        for partition, events in self._lag_events().items():
            self._lag.labels(str(partition)).set(events)
        return generate_latest(self.registry).decode()

    def serve(self, app: Any) -> None:
        """Put the three pages on the Faust app's own web server."""

        @app.page("/healthz")  # type: ignore[untyped-decorator]
        async def healthz(page: Any, request: Any) -> Any:
            """Alive: 200, or 503 with the reason once the worker is about to stop."""
            return page.json({"status": self.failure or "ok"}, status=503 if self.failure else 200)

        @app.page("/readyz")  # type: ignore[untyped-decorator]
        async def readyz(page: Any, request: Any) -> Any:
            """Reading its partitions: 200, otherwise 503."""
            ready = self.ready and not self.failure
            return page.json({"ready": ready}, status=200 if ready else 503)

        @app.page("/metrics")  # type: ignore[untyped-decorator]
        async def metrics(page: Any, request: Any) -> Any:
            return page.text(self.metrics(), content_type="text/plain")
