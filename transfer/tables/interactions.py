"""Whether arms of a table add up: arms named 'a+b' hold both; enough of them are a plan and tell main effects."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from transfer.factorial.analysis import PlanAnalysis, analyse_plan
from transfer.factorial.plans import JOINT, plan_of_combinations
from transfer.saving import Saving
from transfer.student import quantile, welch_dof
from transfer.tables.pooling import Pooled
from transfer.words import STACK

WITHOUT = "without:"
LEAST_PLAN = 4
"""Combinations that are read as a plan; of fewer each is compared with its members alone."""

Kind = Literal["combination", "contribution", "plan"]


@dataclass(frozen=True, slots=True)
class TableInteraction:
    """lnS with its 90 % interval, at the arm's top rung.

    'combination': of `arm` less the sum of its `members` alone. 'contribution': what `members` add to the stack, from
    the stack without them. 'plan': lnS of all members together less the sum of their main effects, None without such an
    arm; `detail` holds the main effects.
    """

    arm: str
    kind: Kind
    members: tuple[str, ...]
    ln_speedup: float | None
    low: float | None
    high: float | None
    detail: Mapping[str, Any] | None = None


def table_interactions(pooled: Mapping[str, Pooled], baseline: str) -> tuple[list[TableInteraction], list[str]]:
    """What the arms' names let us compare, and warnings where a plan cannot be read."""
    tops = {arm: _Top.of(one) for arm, one in pooled.items()}
    made = _contributions(tops)
    combinations = [arm for arm in tops if JOINT in arm]
    said: list[str] = []
    if len(combinations) >= LEAST_PLAN:
        planned, said = _plan(tops, combinations, baseline)
        made += planned
    else:
        made += [one for arm in combinations if (one := _combination(tops, arm)) is not None]
    return made, said


@dataclass(frozen=True, slots=True)
class _Top:
    """lnS at an arm's top rung: the variance of its own runs, and that of the baseline's curve, shared by all arms.

    A curve's error moves all arms of a rung alike; they are taken to share it wholly.
    """

    ln_scale: float
    saving: Saving
    own: float
    shared: float

    @classmethod
    def of(cls, pooled: Pooled) -> "_Top":
        top, saving = pooled.cells[-1], pooled.savings[-1]
        many = len(top.horizons)
        shared = float(top.terms[1].covariance.sum()) / many**2
        return cls(top.ln_scale, saving, max(saving.ln_speedup_se**2 - shared, 0.0), shared)


def _contributions(tops: Mapping[str, _Top]) -> list[TableInteraction]:
    stack = tops.get(STACK)
    if stack is None:
        return []
    made = []
    for arm, top in tops.items():
        member = arm.removeprefix(WITHOUT).strip()
        if member and arm.startswith(WITHOUT) and math.isclose(top.ln_scale, stack.ln_scale, abs_tol=0.2):
            made.append(_made(arm, "contribution", (member,), [(stack, 1), (top, -1)]))
    return made


def _combination(tops: Mapping[str, _Top], arm: str) -> TableInteraction | None:
    members = tuple(one.strip() for one in arm.split(JOINT))
    singles = [tops[one] for one in members if one in tops]
    if len(singles) < len(members) or any(abs(one.ln_scale - tops[arm].ln_scale) > 0.2 for one in singles):
        return None
    return _made(arm, "combination", members, [(tops[arm], 1), *((one, -1) for one in singles)])


def _made(arm: str, kind: Kind, members: tuple[str, ...], parts: Sequence[tuple[_Top, int]]) -> TableInteraction:
    value = sum(sign * top.saving.ln_speedup for top, sign in parts)
    shared = sum(sign * math.sqrt(top.shared) for top, sign in parts)
    # Runs paired with one baseline share its luck, up to half of their variance: it counts |sum of signs| times.
    own = [top.own for top, _ in parts]
    coherent = sum(own) / 2 + sum(sign for _, sign in parts) ** 2 * sum(own) / len(own) / 2
    stretch = max(1.0, coherent / sum(own)) if sum(own) > 0 else 1.0
    terms = [(top.own * stretch, top.saving.dof) for top, _ in parts] + [(shared**2, parts[0][0].saving.dof)]
    reach = quantile(0.95, welch_dof(terms)) * math.sqrt(sum(variance for variance, _ in terms))
    return TableInteraction(arm, kind, members, value, value - reach, value + reach)


def _plan(
    tops: Mapping[str, _Top], combinations: Sequence[str], baseline: str
) -> tuple[list[TableInteraction], list[str]]:
    """Read all combinations, and their members alone where these were run, as one plan at the highest common rung."""
    known = {one.strip() for arm in combinations for one in arm.split(JOINT)}
    height = max(tops[arm].ln_scale for arm in combinations)
    rows = [arm for arm in tops if (arm in known or JOINT in arm) and abs(tops[arm].ln_scale - height) < 0.2]
    try:
        names, signs = plan_of_combinations([*rows, baseline], baseline=baseline)
        whole = next((arm for arm, row in zip(rows, signs, strict=False) if (row > 0).all()), None)
        analysis = _analysed(tops, rows, signs, names, whole)
    except InputError as error:
        return [], [f"The combinations cannot be read as a plan: {error}"]
    found = analysis.interaction
    value, low, high = (None, None, None) if found is None else (found.ln_speedup, found.low, found.high)
    return [TableInteraction(whole or JOINT.join(names), "plan", names, value, low, high, analysis.as_dict())], []


def _analysed(
    tops: Mapping[str, _Top], rows: Sequence[str], signs: NDArray[np.int8], names: Sequence[str], whole: str | None
) -> PlanAnalysis:
    of_rows = [tops[arm] for arm in rows]
    roots = np.array([*(math.sqrt(one.shared) for one in of_rows), 0.0])
    covariance = np.outer(roots, roots) + np.diag([*(one.own for one in of_rows), 0.0])
    values = [*(one.saving.ln_speedup for one in of_rows), 0.0]
    stack = None if whole is None else tops[whole]
    return analyse_plan(
        signs,
        values,
        covariance,
        names,
        None if stack is None else stack.saving,
        dof=min(one.saving.dof for one in of_rows),
        stack_covariance=None if whole is None else covariance[rows.index(whole)],
    )
