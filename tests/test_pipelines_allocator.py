"""A long-lived process gives back what it freed, and its garbage collector passes over what stays."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from pipelines.allocator import keep_what_lives

GROW_AND_FREE = """
import numpy as np
from pipelines.allocator import return_freed_memory

def memory():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024

return_freed_memory()
np.ones(3 << 20)  # from now on the C library would keep blocks of this size
before = memory()
blocks = [np.ones(1 << 20) for _ in range(25)]
last = np.ones(8)
pieces = [bytearray(600) for _ in range(1000)]
del blocks
print(memory() - before)
"""


def test_what_lives_is_not_looked_at_again() -> None:
    try:
        keep_what_lives()
        assert gc.get_freeze_count() > 10_000
        assert len(gc.get_objects()) < 1_000
    finally:
        gc.unfreeze()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_freed_memory_goes_back_to_the_operating_system() -> None:
    """200 MB in blocks, freed while something small stands behind them."""
    done = subprocess.run([sys.executable, "-c", GROW_AND_FREE], check=True, stdout=subprocess.PIPE)
    assert int(done.stdout) < 20
