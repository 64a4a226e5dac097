"""Loops that are compiled to machine code, for the few places where whole-frame operations would look at everything again.

Numba is imported and a loop compiled when it is first called, so that commands that rate nothing stay quick. What is compiled
is kept beside the source or in the user's cache folder; where neither can be written it is compiled again in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

Loop = TypeVar("Loop", bound=Callable[..., Any])

_PART = "compiled_part"


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


def part(function: Loop) -> Loop:
    """Marks a function that compiled loops of the same file call; it becomes a piece of them. In Python it is itself."""
    setattr(function, _PART, True)
    return function


def _compile(loop: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    try:
        return cast(Callable[..., Any], njit(nogil=True, cache=True)(_with_parts(loop)))
    except RuntimeError:  # no folder for the cache can be written
        return _compile_in_memory(loop)


def _compile_in_memory(loop: Callable[..., Any]) -> Callable[..., Any]:
    from numba import njit

    return cast(Callable[..., Any], njit(nogil=True)(_with_parts(loop)))


def _with_parts(loop: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with the parts that it names compiled."""
    from numba import njit

    plain = cast(FunctionType, loop)
    named = {name: plain.__globals__.get(name) for name in plain.__code__.co_names}
    parts = {name: njit(_with_parts(found)) for name, found in named.items() if callable(found) and hasattr(found, _PART)}
    if not parts:
        return loop
    return wraps(loop)(FunctionType(plain.__code__, {**plain.__globals__, **parts}, plain.__name__, plain.__defaults__))
