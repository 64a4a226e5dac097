"""How `boss rekey` is doing, for people and for Prometheus: /healthz, /readyz and /metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipelines.rekeyed import Rekeyed
from schemas.errors import BadWorkspace

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RekeyHealth:
    """Counts what one process does and answers for it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ready = False  # partitions are assigned and being read
        self.failure: str | None = None
        self.lag: dict[int, int] = {}
        self._counts = dict.fromkeys(("messages", "events", "split", "unowned"), 0)
        registry = self.registry
        self._counters = {
            "messages": Counter("boss_rekey_messages", "Messages sent on to the usage topic", registry=registry),
            "events": Counter("boss_rekey_events", "Events in them", registry=registry),
            "split": Counter(
                "boss_rekey_split", "Messages that mixed accounts of several partitions, and were cut", registry=registry
            ),
            "unowned": Counter(
                "boss_rekey_unowned",
                "Events of unknown subjects and unreadable ones, sent on by the key they had",
                registry=registry,
            ),
        }
        self._seconds = Histogram(
            "boss_rekey_seconds", "Keying, sending and committing a part of a poll", buckets=SECONDS, registry=registry
        )
        self._lag = Gauge("boss_rekey_lag_messages", "Messages not sent on yet", ["partition"], registry=registry)

    def record(self, messages: int, rekeyed: Rekeyed, seconds: float) -> None:
        """Messages were sent on and committed."""
        found = {"messages": messages, "events": rekeyed.events, "split": rekeyed.split, "unowned": rekeyed.unowned}
        for name, count in found.items():
            self._counts[name] += count
            self._counters[name].inc(count)
        self._seconds.observe(seconds)

    def counts(self) -> dict[str, int]:
        """What was done since the start."""
        return dict(self._counts)

    def fail(self, reason: BaseException | None) -> None:
        self.ready = False
        self.failure = None if reason is None else str(reason) or repr(reason)

    def metrics(self) -> bytes:
        """The Prometheus text of now."""
        self._lag.clear()
        for partition, messages in dict(self.lag).items():
            self._lag.labels(str(partition)).set(messages)
        return generate_latest(self.registry)

    def page(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and text of a page."""
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", self.metrics()
        if path == "/healthz":
            return 503 if self.failure else 200, "application/json", json.dumps({"status": self.failure or "ok"}).encode()
        if path == "/readyz":
            return 200 if self.ready else 503, "application/json", json.dumps({"ready": self.ready}).encode()
        return 404, "text/plain", b"There are /healthz, /readyz and /metrics.\n"

    @contextmanager
    def serving(self, host: str, port: int) -> Iterator[None]:
        """Answer for the pages in a thread; port 0: nobody does.

        Raises:
            BadWorkspace: The port is taken.
        """
        if not port:
            yield
            return
        try:
            server = ThreadingHTTPServer((host, port), _handler_of(self))
        except OSError as error:
            raise BadWorkspace(
                f"`boss rekey` cannot serve /healthz and /metrics on {host}:{port} ({error.strerror}). Give it another "
                "rekey.port, or 0 for none."
            ) from None
        threading.Thread(target=server.serve_forever, name="pages", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


def _handler_of(health: RekeyHealth) -> type[BaseHTTPRequestHandler]:
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, text = health.page(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            """Nobody needs a line for every look."""

    return Pages
