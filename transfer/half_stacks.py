"""The Plackett-Burman plan of a stack with many members: what each is worth at half-stack, at the top rung.

Each row of the plan is one stack of half the members, run on a seed of its own and paired with that seed's baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.arms import Arm, Arms, Finding, without
from transfer.crossing import crossings_up_the_ladder
from transfer.factorial.analysis import PlanAnalysis, analyse_plan
from transfer.factorial.plans import FIRST_ROWS, fold_over, plackett_burman
from transfer.horizons import whole_steps
from transfer.pairs import RungPairs
from transfer.saving import Axis, Saving
from transfer.top import Top
from transfer.words import STACK

MOST_WITHOUT_PLAN = 8
MOST_IN_PLAN = max(FIRST_ROWS) - 1


def run_plan(top: Top, arms: Arms) -> list[str] | None:
    """Run the plan and record it; returns the ids of members to drop, None where the plan cannot be read.

    The plan takes the strongest members that apply to the baseline alone, up to 23; the others are off in every row.
    """
    planned = [one for one in arms.members if one.finding_id not in arms.not_alone][:MOST_IN_PLAN]
    if not planned:  # edits that were made one upon another can only be left out
        return None
    plan = plackett_burman(len(planned))
    if top.at.settings.fold_over:
        plan = fold_over(plan)
    detail: dict[str, Any] = {
        "axis": top.axis,
        "rows": len(plan),
        "fold_over": top.at.settings.fold_over,
        "members": [one.finding_id for one in planned],
    }
    analysis = _analysis(top, arms, planned, plan)
    if isinstance(analysis, str):
        top.at.lab.fact("half_stacks", {**detail, "reason": analysis})
        return None
    found = analysis.as_dict()
    top.at.lab.fact("half_stacks", {**detail, **{name: found[name] for name in ("sum_of_effects", "pairs", "checks")}})
    if analysis.interaction is not None:
        top.records.interaction(STACK, top.rung, analysis.interaction, detail)
    for one, dropped in zip(planned, analysis.dropped.tolist(), strict=True):
        said = {**detail, "dropped": dropped, "measured": "main effect at half-stack"}
        top.records.interaction(f"plan:{one.finding_id}", top.rung, analysis.effect(one.finding_id), said)
    return [one.finding_id for one, dropped in zip(planned, analysis.dropped.tolist(), strict=True) if dropped]


def _analysis(top: Top, arms: Arms, planned: Sequence[Finding], plan: NDArray[np.int8]) -> PlanAnalysis | str:
    """Run the rows; returns what they say, or the reason why they say nothing."""
    rows: list[Arm] = []
    for number, signs in enumerate(plan):
        on = {one.finding_id for one, sign in zip(planned, signs, strict=True) if sign > 0}
        off = [one.finding_id for one in arms.members if one.finding_id not in on]
        recipe, fallen = without(top.at.baseline, arms.members, off)
        if fallen:
            return f"The members {', '.join(fallen)} do not apply to a stack of half the members."
        rows.append(Arm(f"plan-row:{number}", recipe))
    pair = top.saving(top.axis)
    if not pair.known:
        return f"The stack has no number: {pair.reason or 'it did not cross on the horizons that it was run on'}."
    # A half-stack is expected half-way: there its one pair is read by the slope over a short distance.
    half = whole_steps(max(top.crossing.shortening, 0.0) / 2, top.at.steps) if top.crossing is not None else 0.0
    pairs = top.at.single_pairs(rows, top.baseline.slope, half, f"a plan of {len(rows)} half-stacks")
    results = [_ln_speedup(one, top.axis) for one in pairs]
    lost = sum(not math.isfinite(result) for result in results)
    if lost:
        return f"{lost} of {len(rows)} half-stacks gave no number, so the plan cannot be read."
    # The sum of main effects says nothing of a stack that holds others as well.
    stack = pair if len(planned) == len(arms.members) else None
    names = [one.finding_id for one in planned]
    return analyse_plan(plan, results, _covariance(plan, pair), names, stack, dof=_dof(top, pair))


def _covariance(plan: NDArray[np.int8], pair: Saving) -> NDArray[np.float64]:
    """One row is one pair on a seed of its own; how noisy a pair is, the stack's own pairs tell."""
    return np.diag(np.full(len(plan), pair.pair_variance))


def _dof(top: Top, pair: Saving) -> float:
    return 1 / (1 / (pair.pairs + 1) + 1 / top.baseline.slope.noise.dof)


def _ln_speedup(pair: RungPairs | None, axis: Axis) -> float:
    if pair is None:
        return math.nan
    (crossing,) = crossings_up_the_ladder([pair])
    tokens = math.nan if crossing is None else crossing.shortening
    if axis == "flops" and pair.ln_flops_ratio is not None:
        return tokens - pair.ln_flops_ratio
    if axis == "seconds" and pair.ln_time_ratios is not None:
        return tokens - float(pair.ln_time_ratios.mean())
    return tokens
