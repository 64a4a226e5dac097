"""The cases of tests/vectors, as other billing systems assert them, and how their numbers are read. No tests in here."""

from __future__ import annotations

import json
import re
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "vectors"
CASES: list[dict[str, Any]] = [case for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]

Case = dict[str, Any]

QUANTITIES = ("package_size", "free_units", "block_size", "up_to", "free_amount", "from", "per", "increment")
"""Parameters that are quantities: the meter's scale must hold their decimals."""


def cases_of(models: set[str]) -> list[Case]:
    """The cases of these charge models."""
    return [case for case in CASES if case["charge"]["model"] in models]


def decimals(text: str) -> int:
    return max(0, -int(Decimal(text).normalize().as_tuple().exponent))


def quantity_scale(case: Case) -> int:
    """The scale a meter needs for every quantity and bound of the case."""
    written = [value for values in quantities(case).values() for value in values]
    written += [case["expected"].get("billed_before", {}).get("units", "0")]
    parts = [case["charge"], *case["charge"].get("tiers", [])]
    parts += case["charge"].get("slots", [])
    written += [part[name] for part in parts for name in QUANTITIES if part.get(name) is not None]
    return max(map(decimals, written), default=0)


def quantities(case: Case) -> dict[str, list[str]]:
    """The quantity of each event, by unit; a case without units has one called `value`."""
    if case["charge"]["model"] == "single_range":
        return {"value": re.findall(r"([\d.]+)(?: units\b| total\b)", case["name"])[:1]}
    given = case.get("events") or case.get("quantities") or [str(w["seconds"]) for w in case["charge"].get("windows", [])]
    found: dict[str, list[str]] = {"value": []}
    for item in given:
        if isinstance(item, str):
            found["value"].append(item)
        elif "cumulative_quantity" in item:
            found["value"].append(item["cumulative_quantity"])
        elif "unit" not in item:
            found["value"].append(item.get("value") or item["units"])
        else:
            found.setdefault(item["unit"], []).append(item["value"])
    return found


def rounded(amount: Decimal, rounding: str) -> Decimal:
    """`none`, or `half_up to 2 decimals`, or `down to 0 decimals`."""
    if rounding == "none":
        return amount
    method, _, places, _ = rounding.split()
    how = {"half_up": ROUND_HALF_UP, "down": ROUND_DOWN}[method]
    return amount.quantize(Decimal(1).scaleb(-int(places)), rounding=how)
