"""What any price may add to its model: units that are included, and a most that it may cost. Both stay functions in steps."""

from __future__ import annotations

from collections.abc import Sequence

from rating.steps import Step


def include_units(steps: Sequence[Step], included_quanta: int, at_zero: int) -> list[Step]:
    """f(q - included): the included units cost no more than no usage does, and the first tier starts after them."""
    if not included_quanta:
        return list(steps)
    free = Step(steps[0].tier, 0, at_zero, 0)
    return [free, *(step._replace(from_quanta=step.from_quanta + included_quanta) for step in steps)]


def cap_steps(steps: Sequence[Step], cap: int | None) -> list[Step]:
    """min(f(q), cap). Where a volume tier falls below the cap again, so does the price."""
    if cap is None:
        return list(steps)
    capped: list[Step] = []
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step.base >= cap:
            capped.append(step._replace(base=cap, unit_price=0, package_quanta=1))
            continue
        capped.append(step)
        if step.unit_price > 0:
            full = step.from_quanta + (cap - step.base) // step.unit_price * step.package_quanta
            if following is None or full < following.from_quanta:
                capped.append(Step(step.tier, full, cap, 0))
    return _without_empty(capped)


def _without_empty(steps: Sequence[Step]) -> list[Step]:
    """Steps that begin where the next one begins hold no quantity."""
    return [
        step
        for step, following in zip(steps, [*steps[1:], None], strict=True)
        if following is None or step.from_quanta < following.from_quanta
    ]
