"""Many findings at once: Plackett-Burman plans, the interaction of the stack, and what one member contributes.

A main effect is a finding's worth at half-stack: averaged over plans in which half of the others are on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import InputError
from transfer.saving import Axis, RungPairs, Saving, savings_up_the_ladder
from transfer.student import quantile, welch_dof

# The cyclic first rows of Plackett and Burman (Biometrika 33, 1946), by the number of runs.
FIRST_ROWS = {12: "++-+++---+-", 24: "+++++-+-++--++--+-+----"}


@dataclass(frozen=True, slots=True)
class MainEffects:
    """Main effects in lnS, shape (findings,), with the standard error that they share and its degrees of freedom."""

    effects: NDArray[np.float64]
    se: float
    dof: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """lnS of the stack less the sum of main effects, with its 90 % interval; negative: the findings overlap."""

    ln_speedup: float
    low: float
    high: float


def plackett_burman(findings: int) -> NDArray[np.int8]:
    """A plan of 12 runs (up to 11 findings) or 24 (up to 23): shape (runs, findings), 1 on, -1 off.

    The last run has every finding off: the baseline. Raises InputError for more than 23 findings or none.
    """
    runs = next((runs for runs in FIRST_ROWS if 1 <= findings < runs), None)
    if runs is None:
        raise InputError(f"A Plackett-Burman plan takes 1 to 23 findings, got {findings}; promote fewer at once.")
    row = np.array([1 if sign == "+" else -1 for sign in FIRST_ROWS[runs]], dtype=np.int8)
    rows = [np.roll(row, shift) for shift in range(runs - 1)] + [-np.ones(runs - 1, dtype=np.int8)]
    return np.array(rows, dtype=np.int8)[:, :findings]


def fold_over(plan: NDArray[np.int8]) -> NDArray[np.int8]:
    """The plan and its mirror image, shape (2 runs, findings): no pairwise interaction leaks into a main effect."""
    return np.concatenate([plan, -plan])


def main_effects(plan: NDArray[np.int8], ln_speedups: ArrayLike, *, se: float, dof: float) -> MainEffects:
    """Main effects from one lnS per run of the plan, shape (runs,), each with standard error `se` on `dof`.

    The effect of a finding is the mean with it less the mean without it; its standard error is 2 se/sqrt(runs).
    """
    values = np.asarray(ln_speedups, dtype=np.float64)
    if values.shape != (len(plan),) or not np.isfinite(values).all():
        raise InputError(f"A plan of {len(plan)} runs needs one finite result per run.")
    return MainEffects(plan.T.astype(np.float64) @ values * 2 / len(plan), 2 * se / math.sqrt(len(plan)), dof)


def interaction_of_the_stack(stack: Saving, effects: MainEffects) -> Interaction:
    """lnS(stack) less the sum of main effects, with its 90 % interval (Welch).

    The sum of findings measured alone would not do: it carries the noise of the shared baseline once per finding.
    """
    variances = [(stack.ln_speedup_se**2, stack.dof), (len(effects.effects) * effects.se**2, effects.dof)]
    value = stack.ln_speedup - float(effects.effects.sum())
    reach = quantile(0.95, welch_dof(variances)) * math.sqrt(sum(v for v, _ in variances))
    return Interaction(value, value - reach, value + reach)


def contribution(stack: RungPairs, without: RungPairs, *, axis: Axis) -> Saving:
    """What one member adds to the stack at a rung: lnS(stack) - lnS(stack without it), from their own pairs."""
    return contributions_up_the_ladder([stack], [without], axis=axis)[0]


def contributions_up_the_ladder(
    stack: Sequence[RungPairs], without: Sequence[RungPairs], *, axis: Axis
) -> list[Saving]:
    """`contribution` at each rung, with what pairing gains pooled over them."""
    return savings_up_the_ladder([_against(s, w) for s, w in zip(stack, without, strict=True)], axis)


def dropped(contribution: Saving) -> bool:
    """Whether the stack is better off without the member: the one-sided upper 90 % bound of its worth is <= 0."""
    return contribution.known and contribution.upper(0.9) <= 0


def _against(stack: RungPairs, without: RungPairs) -> RungPairs:
    """The stack paired with the stack without one member, on the slope that the latter's loss has.

    Runs that are further down the curve see a flatter one: kappa (1 - b q) at a loss kappa q below the baseline's.
    """
    if stack.baseline.shape != without.baseline.shape or not np.array_equal(stack.baseline, without.baseline):
        raise InputError("The stack and the stack without a member must be paired with the same baselines.")
    slope = without.slope
    rest = 1 - slope.curvature * float((without.baseline - without.arm).mean()) / slope.kappa if slope.usable else 1.0
    times = None
    if stack.ln_time_ratios is not None and without.ln_time_ratios is not None:
        if stack.ln_time_ratios.shape != without.ln_time_ratios.shape:
            raise InputError("The stack and the stack without a member must be timed equally often.")
        times = stack.ln_time_ratios - without.ln_time_ratios
    flops = None
    if stack.ln_flops_ratio is not None and without.ln_flops_ratio is not None:
        flops = stack.ln_flops_ratio - without.ln_flops_ratio
    slope = replace(slope, kappa=slope.kappa * rest, kappa_se=slope.kappa_se * abs(rest))
    return RungPairs(slope, without.arm, stack.arm, times, flops)
