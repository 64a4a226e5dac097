"""The disk of the ledger under torture: read-only for a while, or full. Both bind root too, which permissions do not.

The ledger's folder becomes a mount of its own: of itself, which can be made read-only, or of a small file system in memory,
which can be filled as well: it is made as small as what is in it. Needs the right to mount.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = "4g"
"""Of the file system in memory, when it is not full."""
PATIENCE_SECONDS = 3.0
"""A file system cannot be made read-only in a moment when a file is open for writing."""


class Disk:
    """A mounted folder.

    Args:
        small: In memory, so that it can be full; otherwise it stays where it is.
    """

    def __init__(self, folder: Path, *, small: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.small = small
        self._folder = folder
        how = ["-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs"] if small else ["--bind", str(folder)]
        self._run("mount", *how, str(folder))

    def forbid(self) -> bool:
        """Make it read-only. False: somebody wrote all the time."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if self._remount("ro"):
                return True
            time.sleep(0.05)
        return False

    def fill(self) -> bool:
        """Leave no room. False: it grew in the very moment."""
        used = subprocess.run(["du", "-s", "-k", str(self._folder)], capture_output=True, text=True, check=False).stdout.split()
        return bool(used) and self._remount(f"size={int(used[0]) + 4}k")

    def heal(self) -> None:
        """Writable, with room."""
        self._run("mount", "-o", "remount," + ("rw," + f"size={ROOM}" if self.small else "bind,rw"), str(self._folder))

    def _remount(self, option: str) -> bool:
        options = f"remount,{option}" if self.small else f"remount,bind,{option}"
        done = subprocess.run(["mount", "-o", options, str(self._folder)], capture_output=True, check=False)
        return done.returncode == 0

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def close(self) -> None:
        """Unmount it. What was on a small one is gone."""
        self._run("umount", "--lazy", str(self._folder))


@contextmanager
def mounted(folder: Path, *, small: bool) -> Iterator[Disk | None]:
    """The folder as a disk of its own; None where this process may not mount."""
    try:
        disk = Disk(folder, small=small)
    except (subprocess.CalledProcessError, FileNotFoundError):
        yield None
        return
    try:
        yield disk
    finally:
        disk.close()
