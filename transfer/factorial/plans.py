"""Many findings at once: plans of combinations, and what one member adds to the stack.

How a plan's results are read is the subject of `analysis.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from transfer.crossing import Crossing, crossings_up_the_ladder
from transfer.crossing_fit import SHARED
from transfer.pair_variance import POOLED_WEIGHT
from transfer.pairs import RungPairs
from transfer.saving import Axis, Saving, difference
from transfer.saving_estimate import savings_up_the_ladder
from transfer.student import welch_dof
from transfer.timing import time_ratios

# The cyclic first rows of Plackett and Burman (Biometrika 33, 1946), by the number of runs.
FIRST_ROWS = {12: "++-+++---+-", 24: "+++++-+-++--++--+-+----"}
JOINT = "+"
"""What joins the members in the name of a combination."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """A sum or a difference of lnS with its 90 % interval, as the stack's less what its members are worth."""

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


def plan_table(names: Sequence[str], fold_over: bool = False) -> list[list[str]]:
    """A Plackett-Burman plan to be printed and run: for each of its rows the names that are on.

    12 rows (up to 11 names) or 24 (up to 23), twice as many where `fold_over`; an empty row is the baseline.

    Raises:
        InputError: for more than 23 names or none, a name twice, a blank one, or one that holds a '+'.
    """
    _require_names(names)
    plan = plackett_burman(len(names))
    rows = np.concatenate([plan, -plan]) if fold_over else plan
    return [[name for name, sign in zip(names, row, strict=True) if sign > 0] for row in rows.tolist()]


def plan_of_combinations(
    arms: Sequence[str], *, baseline: str = "baseline"
) -> tuple[tuple[str, ...], NDArray[np.int8]]:
    """The plan that arms named like 'a+b+c' are the rows of: (names, signs), signs (arms, names) 1 on and -1 off.

    Names stand in order of first appearance. The arm `baseline` is the row with none on; an arm may stand more than
    once, in any order of its members.

    Raises:
        InputError: for an arm with a blank member, the same member twice or the baseline as a member, or no member.
    """
    rows = [[] if arm.strip() == baseline else [one.strip() for one in arm.split(JOINT)] for arm in arms]
    for arm, members in zip(arms, rows, strict=True):
        if "" in members or len(set(members)) < len(members) or baseline in members:
            raise InputError(
                f"{arm!r} is no combination: join the names of its members by '+', each once, the baseline being none."
            )
    names = tuple(dict.fromkeys(one for members in rows for one in members))
    if not names:
        raise InputError("The plan names no finding; name its arms by their members, as in 'a+b+c'.")
    on = [[1 if name in members else -1 for name in names] for members in map(set, rows)]
    return names, np.array(on, dtype=np.int8)


def contribution(stack: Sequence[RungPairs], without: Sequence[RungPairs], *, axis: Axis) -> Saving:
    """What one member adds to the stack at the last rung: lnS(stack) - lnS(stack without it), on the same baselines.

    The baseline's runs are in both and cancel, seed by seed: with e_i = d_i/kappa of each arm where it crosses, the
    variance is that of e_i(stack) - e_i(without), mixed with two degrees of freedom of what is expected where half of
    the noise is shared. Raises InputError where the two are not paired with the same baselines.
    """
    saving = difference(savings_up_the_ladder(stack, axis)[-1], savings_up_the_ladder(without, axis)[-1])
    first, second = (crossings_up_the_ladder(one)[-1] for one in (stack, without))
    if not saving.known or first is None or second is None:
        return saving
    common, squares, dof = _apart(stack[-1], without[-1], first, second)
    shared = SHARED * common / max(stack[-1].pairs, without[-1].pairs)
    expected = first.noise + second.noise - 2 * shared * math.sqrt(first.noise * second.noise)
    noise = (squares / max(common, 1) + POOLED_WEIGHT * expected) / (dof + POOLED_WEIGHT)
    terms = [(noise, dof + POOLED_WEIGHT / 2), *first.terms[1:], *second.terms[1:]]
    if axis == "seconds":
        times = [time_ratios([_blocks(one) for one in rungs])[-1] for rungs in (stack, without)]
        terms += [(time.variance, time.dof) for time in times]
    return replace(
        saving,
        ln_speedup_se=math.sqrt(sum(variance for variance, _ in terms)),
        dof=welch_dof(terms),
        pair_variance=noise * max(common, 1),
    )


def _apart(ours: RungPairs, theirs: RungPairs, first: Crossing, second: Crossing) -> tuple[int, float, int]:
    """The common seeds, the squares of e_i(stack) - e_i(without) about their means, and those squares' dof.

    Of each seed the run nearest its arm's crossing counts. Seeds of different horizons have means of their own.
    """
    by_horizons: dict[tuple[float, float], list[float]] = {}
    own, other = _nearest_by_seed(ours, first), _nearest_by_seed(theirs, second)
    for seed in sorted(own.keys() & other.keys()):
        (at, baseline, gap), (other_at, other_baseline, other_gap) = own[seed], other[seed]
        if baseline != other_baseline:
            raise InputError("The stack and the stack without a member must be paired with the same baselines.")
        by_horizons.setdefault((at, other_at), []).append(gap / first.slope - other_gap / second.slope)
    groups = [np.array(values) for values in by_horizons.values()]
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups)
    return sum(map(len, groups)), squares, sum(len(values) - 1 for values in groups)


def _nearest_by_seed(rung: RungPairs, crossing: Crossing) -> dict[int, tuple[float, float, float]]:
    """By seed, of its horizon nearest the crossing: the shortening, the baseline's loss and the arm's gain on it."""
    furthest_first = sorted(rung.points, key=lambda point: -abs(point.ln_shortening - crossing.shortening))
    return {
        seed: (point.ln_shortening, float(loss), float(gap))
        for point in furthest_first
        for seed, loss, gap in zip(point.seeds, point.baseline, point.differences, strict=True)
    }


def _blocks(rung: RungPairs) -> NDArray[np.float64]:
    return np.array([]) if rung.ln_time_ratios is None else rung.ln_time_ratios


def dropped(contribution: Saving) -> bool:
    """Whether the stack is better off without the member: the one-sided upper 90 % bound of its worth is <= 0."""
    return contribution.bounded and contribution.upper(0.9) <= 0


def _require_names(names: Sequence[str]) -> None:
    wrong = [name for name in names if not name.strip() or JOINT in name or list(names).count(name) > 1]
    if wrong:
        raise InputError(f"A plan needs names of its own that are not blank and hold no '+'; rename {wrong[0]!r}.")
