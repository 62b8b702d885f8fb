"""What each member adds to the stack at the top rung, and which members the stack is better off without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transfer.arms import Arm, Arms, Finding, without
from transfer.factorial.plans import contribution, dropped
from transfer.half_stacks import MOST_WITHOUT_PLAN, run_plan
from transfer.saving import Saving
from transfer.top import Top


@dataclass(frozen=True, slots=True)
class Membership:
    """The ids of members to drop, with those that fall with them, and what members add, by id, where it is known."""

    dropped: tuple[str, ...]
    worth: Mapping[str, Saving]


def measure_members(top: Top, arms: Arms) -> Membership:
    """Drop by a plan where there are more than eight members; then leave each of the others out by itself.

    A member that a gate stopped alone is measured too: it is in the stack, and may be what holds that back.
    """
    if len(arms.members) < 2:
        return Membership((), {})
    gone: list[str] = []
    if len(arms.members) > MOST_WITHOUT_PLAN:
        gone = run_plan(top, arms) or []
    worth = _leave_one_out(top, arms, [one for one in arms.members if one.finding_id not in gone])
    gone += [finding_id for finding_id, saving in worth.items() if dropped(saving)]
    fallen = without(top.at.baseline, arms.members, gone)[1]
    return Membership((*gone, *fallen), worth)


def _leave_one_out(top: Top, arms: Arms, candidates: Sequence[Finding]) -> dict[str, Saving]:
    left: list[Arm] = []
    fallen: dict[str, tuple[str, ...]] = {}
    for one in candidates:
        recipe, fallen[one.finding_id] = without(top.at.baseline, arms.members, [one.finding_id])
        left.append(Arm(f"without:{one.finding_id}", recipe, one.finding_id))
    worth: dict[str, Saving] = {}
    for arm, one, evidence in zip(left, candidates, top.measure(left, "stacks without one member"), strict=True):
        detail: dict[str, Any] = {"axis": top.axis, "also_left_out": list(fallen[one.finding_id])}
        if evidence is None:
            reason = f"The stack needs this member: {top.at.invalid[arm.name]}."
            top.records.interaction(arm.name, top.rung, None, {**detail, "dropped": False, "reason": reason})
            continue
        saving = contribution(top.stack, [*top.stack[:-1], evidence], axis=top.axis)
        worth[one.finding_id] = saving
        found = {"dropped": dropped(saving), "measured": "stack less the stack without it", "reason": saving.reason}
        top.records.interaction(arm.name, top.rung, saving if saving.bounded else None, {**detail, **found})
    return worth
