"""A server of S3-compatible object storage on loopback: moto's, in memory, behind a door that tests can close.

    python -m tests.s3

serves until it is killed and prints its port first. It answers one request at a time, so `If-None-Match` is decided as
atomically as on a real server. `ObjectServer` runs it as a process of its own, which outlives workers that are killed.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ledger.objects import CACHE, ObjectPlace
from pipelines.broker import die_with_parent

ROOT = Path(__file__).parents[1]
ACCESS_KEY, SECRET_KEY = "boss-tests", "a secret of tests"
CONTROL = "/_control"

CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
"""Environment of those who may come in."""


@dataclass(frozen=True)
class Refusal:
    """Requests that the door answers itself.

    Args:
        path: Regular expression of paths.
        status: Of the answer; 200: the request is carried out whatever it says of `If-None-Match`.
        afterwards: The request is carried out, and its answer replaced: it looks as if it got lost.
        times: How often; then it is over.
    """

    method: str
    path: str
    status: int = 503
    afterwards: bool = False
    times: int = 1_000_000


class ObjectServer:
    """The server as a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.s3"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def make_bucket(self) -> str:
        """A new bucket's name."""
        name = f"ledger-{uuid.uuid4().hex[:12]}"
        self._ask("PUT", f"/{name}")
        return name

    def place(self, machine: Path) -> ObjectPlace:
        """Room for a ledger, in a new bucket."""
        return ObjectPlace(f"s3://{self.make_bucket()}/acme", self.endpoint, "us-east-1", True, True, machine / CACHE)

    def settings(self) -> dict[str, str]:
        """Environment that puts a workspace's ledger into a new bucket."""
        return {
            "BOSS_LEDGER__LOCATION": f"s3://{self.make_bucket()}/acme",
            "BOSS_LEDGER__ENDPOINT": self.endpoint,
            "BOSS_LEDGER__ALLOW_HTTP": "true",
            **CREDENTIALS,
        }

    def refuse(self, *refusals: Refusal) -> None:
        """From now on answer these requests with an error; none: serve everything."""
        self._ask("POST", CONTROL, json.dumps([asdict(refusal) for refusal in refusals]).encode())

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, method: str, path: str, data: bytes | None = None) -> None:
        signed = {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/aws4_request"}
        request = urllib.request.Request(self.endpoint + path, data, signed, method=method)
        with urllib.request.urlopen(request, timeout=30):
            pass


Start = Callable[[str, list[tuple[str, str]]], Any]


class Door:
    """Lets in who has the key, and answers refused requests with an error."""

    def __init__(self, inside: Callable[[dict[str, Any], Start], Iterable[bytes]]) -> None:
        self._inside = inside
        self._refusals: list[dict[str, Any]] = []

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == CONTROL:
            self._refusals = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            return _answer(start, 200, "")
        if f"Credential={ACCESS_KEY}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return _answer(start, 403, "InvalidAccessKeyId")
        for refusal in self._refusals:
            if refusal["method"] == environ["REQUEST_METHOD"] and refusal["times"] and re.search(refusal["path"], path):
                refusal["times"] -= 1
                if refusal["status"] == 200:
                    environ.pop("HTTP_IF_NONE_MATCH", None)
                    return self._inside(environ, start)
                if refusal["afterwards"]:
                    list(self._inside(environ, lambda status, headers: None))
                return _answer(start, refusal["status"], "AccessDenied" if refusal["status"] == 403 else "SlowDown")
        return self._inside(environ, start)


def _answer(start: Start, status: int, code: str) -> list[bytes]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
    start(f"{status} Answer", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


def main() -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Door(DomainDispatcherApplication(create_backend_app)), threaded=False)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
