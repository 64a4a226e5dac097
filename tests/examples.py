"""How many examples of a property are tried: few in every run, and as many more as one asks for."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import settings

TIMES = int(os.environ.get("BOSS_EXAMPLES", "1"))
"""BOSS_EXAMPLES=20 tries twenty times as many."""


def examples(count: int, **more: Any) -> settings:
    """The settings of a property: so many examples, and what else Hypothesis is to be told."""
    return settings(max_examples=count * TIMES, **more)
