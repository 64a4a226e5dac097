"""Memory of a process that lives long: freed memory goes back to the operating system, and what stays is not looked at again.

glibc keeps what is freed for the next request. After the first large block it keeps blocks of up to 32 MB, in one heap for each
thread, where small pieces hold on to them; a worker whose batches come and go would grow by a hundred megabytes that nobody
uses.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_ARENAS = -8  # M_ARENA_MAX of <malloc.h>: heaps that threads share
_MAPPED_FROM = -3  # M_MMAP_THRESHOLD: a block of so many bytes is a piece of memory of its own, gone when it is freed
_KEPT = -1  # M_TRIM_THRESHOLD: so many free bytes stay at the end of a heap


def return_freed_memory() -> None:
    """From here on keep at most some megabytes of freed memory. Does nothing where the C library knows no such setting."""
    with suppress(OSError, AttributeError):
        adjust = ctypes.CDLL(None).mallopt
        for setting, value in ((_ARENAS, 1), (_MAPPED_FROM, 4 << 20), (_KEPT, 4 << 20)):
            adjust(setting, value)


def keep_what_lives() -> None:
    """The garbage collector passes over everything that is there now, in this pause and in all later ones.

    The modules of a worker alone are 200,000 objects. To look at all of them takes a tenth of a second of processor every few
    seconds, in which no other Python code runs.
    """
    gc.collect()
    gc.freeze()
