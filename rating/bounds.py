"""What a price may add to its model: included units, a least and a most. All stay functions in steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rating.steps import Step, packages_begun


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
    for step, end in _with_ends(steps):
        if step.base >= cap:
            capped.append(Step(step.tier, step.from_quanta, cap, 0))
            continue
        parts = [step]
        if step.unit_price > 0:
            full = (cap - step.base) // step.unit_price
            parts.append(Step(step.tier, step.from_quanta + full * step.package_quanta, cap, 0))
        capped += _holding_quantity(parts, end)
    return capped


def raise_steps(steps: Sequence[Step], minimum: int | None) -> list[Step]:
    """max(f(q), minimum) for a quantity above 0."""
    if minimum is None:
        return list(steps)
    raised: list[Step] = []
    for step, end in _with_ends(steps):
        if step.base >= minimum:
            raised.append(step)
            continue
        parts = [Step(step.tier, step.from_quanta, minimum, 0)]
        if step.unit_price > 0:
            below = (minimum - step.base - 1) // step.unit_price
            parts.append(_later(step, below))
        raised += _holding_quantity(parts, end)
    return raised


def charge_at_least(steps: Sequence[Step], minimum_quanta: int) -> list[Step]:
    """f(max(q, minimum)) for a quantity above 0."""
    if not minimum_quanta:
        return list(steps)
    made: list[Step] = []
    for step, end in _with_ends(steps):
        if step.from_quanta >= minimum_quanta:
            made.append(step)
        elif end is None or minimum_quanta <= end:
            begun = packages_begun(minimum_quanta - step.from_quanta, step.package_quanta)
            level = Step(step.tier, 0, step.amount_at(minimum_quanta), 0)
            made += _holding_quantity([level, _later(step, begun)], end)
    return made


def _later(step: Step, packages: int) -> Step:
    """The same step, beginning so many packages later."""
    start = step.from_quanta + packages * step.package_quanta
    return step._replace(from_quanta=start, base=step.base + packages * step.unit_price)


def _with_ends(steps: Sequence[Step]) -> Iterator[tuple[Step, int | None]]:
    """Each step and where the next begins; None for the last."""
    return zip(steps, [*(step.from_quanta for step in steps[1:]), None], strict=True)


def _holding_quantity(parts: Sequence[Step], end: int | None) -> list[Step]:
    """The parts of a step that hold any quantity before the next part or the next step begins."""
    inside = [part for part in parts if end is None or part.from_quanta < end]
    return [part for part, following in _with_ends(inside) if following is None or part.from_quanta < following]
