"""Loops that are compiled to machine code, for the few places where whole-frame operations would look at everything again.

Numba is imported and a loop compiled when it is first called, so that commands that rate nothing stay quick. What is compiled
is kept beside the source or in the user's cache folder; where neither can be written it is compiled again in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """The loop, compiled at its first call. It takes NumPy arrays and numbers only and lets other threads run."""
    ready: list[Callable[..., Any]] = []

    @wraps(loop)
    def call(*arguments: Any) -> Any:
        if not ready:
            ready.append(_compile(loop))
        try:
            return ready[0](*arguments)
        except OSError:  # the disk of the cache is full; a loop itself touches no file, and has not begun
            ready[0] = _compile_in_memory(loop)
            return ready[0](*arguments)

    return cast(Loop, call)


def _compile(loop: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    try:
        return cast(Callable[..., Any], njit(nogil=True, cache=True)(loop))
    except RuntimeError:  # no folder for the cache can be written
        return _compile_in_memory(loop)


def _compile_in_memory(loop: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    return cast(Callable[..., Any], njit(nogil=True)(loop))
