"""A clock of its own for a process, which jumps while it runs: the time of day for all that is in it, Rust and C too.

A small library in C stands in front of the system's (LD_PRELOAD) and adds a number of seconds that it reads from a file. Times
of files, and clocks that only measure how long something takes, go on as they did, as when somebody sets a machine's clock.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from pathlib import Path

STEPS = (-7_200, -900, -90, -5, 5, 90, 900, 7_200)
"""Seconds by which a clock jumps: within and beyond what the product takes for fresh, and beyond the life of a Delta log."""

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *shift;

__attribute__((constructor)) static void open_shift(void) {
    const char *path = getenv("TORTURE_CLOCK");
    int file = path ? open(path, O_RDONLY) : -1;
    void *place = file < 0 ? MAP_FAILED : mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (place != MAP_FAILED) shift = place;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(which, now);
    if (!failed && shift && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (place) *place = precise.tv_sec;
    return precise.tv_sec;
}
"""


def build_library(folder: Path) -> Path | None:
    """The library, compiled into the folder; None where there is no C compiler or this is not Linux."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        return None
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Clock:
    """The clock of one process: right at first."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "TORTURE_CLOCK": str(file)}
        """What the process must be started with."""
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let it be wrong by so many seconds from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as out:
            out.write(struct.pack("=q", seconds))
