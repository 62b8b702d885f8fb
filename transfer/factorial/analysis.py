"""What a plan of combinations says: main effects, interactions of pairs and of the stack, with intervals (pure).

A main effect is a finding's worth at half-stack: averaged over rows in which half of the others are on. It is neither
what the finding saves alone nor what it adds to all the others. Formulas: docs/method.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import InputError
from transfer.factorial.checks import PlanCheck, checks_of
from transfer.factorial.pairs import PairStrings, mirrors, pair_contrasts
from transfer.factorial.plans import Interaction
from transfer.saving import Saving
from transfer.student import quantile, welch_dof

Array = NDArray[np.float64]

TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class PlanAnalysis:
    """What the findings `names` (k,) are worth at half-stack, in lnS; arrays are (k,), intervals 90 % two-sided.

    `dropped`: the one-sided upper 90 % bound of the worth is <= 0. `sum_of_effects` and `interaction`, lnS of the stack
    less that sum, carry their own intervals; `interaction` is None where no stack was given. `folded`: the plan holds
    each row's mirror image, so that main effects are free of pairwise interactions, which `pairs` then shows.
    `checks` compare the plan's own scatter with the noise it was told. No interval is corrected for their number.
    """

    names: tuple[str, ...]
    effects: Array
    se: Array
    low: Array
    high: Array
    dropped: NDArray[np.bool_]
    dof: float
    sum_of_effects: Interaction
    interaction: Interaction | None
    folded: bool
    pairs: PairStrings | None
    checks: tuple[PlanCheck, ...]

    def effect(self, name: str) -> Interaction:
        """One finding's main effect and its interval. Raises ValueError for a name that the plan lacks."""
        i = self.names.index(name)
        return Interaction(float(self.effects[i]), float(self.low[i]), float(self.high[i]))

    def as_dict(self, most_pairs: int = 10) -> dict[str, Any]:
        """Everything as JSON can hold it; of the strings of pairs those `most_pairs` that are furthest from 0."""
        rows = zip(self.names, self.effects.tolist(), self.low.tolist(), self.high.tolist(), strict=True)
        findings = [
            {"finding": name, "ln_speedup": effect, "ln_speedup_low": low, "ln_speedup_high": high, "dropped": gone}
            for (name, effect, low, high), gone in zip(rows, self.dropped.tolist(), strict=True)
        ]
        return {
            "findings": findings,
            "sum_of_effects": _as_dict(self.sum_of_effects),
            "interaction": None if self.interaction is None else _as_dict(self.interaction),
            "folded": self.folded,
            "pairs": [] if self.pairs is None else _pairs_as_dicts(self.pairs, most_pairs),
            "checks": [
                {"kind": one.kind, "variance_ratio": one.variance_ratio, "p_value": one.p_value, "says": one.sentence}
                for one in self.checks
            ],
        }


def analyse_plan(
    signs: ArrayLike,
    ln_speedups: ArrayLike,
    noise: ArrayLike | tuple[float, float],
    names: Sequence[str],
    stack: Saving | None = None,
    *,
    dof: float = math.inf,
    stack_covariance: ArrayLike | None = None,
) -> PlanAnalysis:
    """Analyse any plan that tells its findings apart, by least squares on an intercept and one column per finding.

    `signs` (runs, findings): 1 on, -1 off. `ln_speedups` (runs,): lnS of each run against the baseline. `noise`: their
    covariance (runs, runs) on `dof` degrees of freedom, or (standard error of each, degrees of freedom). Runs that are
    compared with one baseline share its noise: give the covariance. `stack`: lnS of all findings together;
    `stack_covariance` (runs,): of its lnS with the runs', 0 where left out. What all runs share with the stack cancels.

    Raises:
        InputError: for findings that the plan confounds, by name, and for arrays that do not fit one another.
    """
    plan, values, titles = _checked(signs, ln_speedups, names)
    covariance, dof = _covariance(noise, len(values), dof)
    design = np.column_stack([np.ones(len(plan)), plan])
    _require_apart(design, titles)
    weights = 2 * np.linalg.pinv(design)[1:]  # from off to on a sign moves by two
    effects = weights @ values
    spread = weights @ covariance @ weights.T
    se = np.sqrt(np.diag(spread).clip(0))
    reach = quantile(0.95, dof) * se
    total = (float(effects.sum()), max(float(spread.sum()), 0.0))
    found = mirrors(plan)
    return PlanAnalysis(
        names=titles,
        effects=effects,
        se=se,
        low=effects - reach,
        high=effects + reach,
        dropped=effects + quantile(0.9, dof) * se <= 0,
        dof=dof,
        sum_of_effects=_interval(*total, dof),
        interaction=_interaction(stack, total, dof, weights.sum(0), stack_covariance),
        folded=found is not None,
        pairs=None if found is None else _pairs(pair_contrasts(found, titles), values, covariance, dof),
        checks=checks_of(plan, design, values, covariance, dof=dof, found=found),
    )


def _interaction(
    stack: Saving | None,
    total: tuple[float, float],
    dof: float,
    weights: Array,
    stack_covariance: ArrayLike | None,
) -> Interaction | None:
    """lnS(stack) less the sum of main effects (value, variance), that sum being `weights` (runs,) times the values.

    The sum of findings measured alone would not do: it carries the noise of the shared baseline once per finding.
    """
    if stack is None or not stack.known:
        return None
    variances = [(stack.ln_speedup_se**2, stack.dof), (total[1], dof)]
    shared = 0.0
    if stack_covariance is not None:
        column = np.asarray(stack_covariance, dtype=np.float64)
        if column.shape != weights.shape or not np.isfinite(column).all():
            raise InputError(f"The stack's covariance needs one finite number for each of {len(weights)} runs.")
        shared = float(weights @ column)
    variance = max(sum(one for one, _ in variances) - 2 * shared, 0.0)
    return _interval(float(stack.ln_speedup) - total[0], variance, welch_dof(variances))


def _interval(value: float, variance: float, dof: float) -> Interaction:
    reach = quantile(0.95, dof) * math.sqrt(variance)
    return Interaction(value, value - reach, value + reach)


def _pairs(
    contrasts: tuple[tuple[tuple[str, str], ...], Array, Array], values: Array, covariance: Array, dof: float
) -> PairStrings:
    pairs, weights, aliases = contrasts
    found = weights @ values
    reach = quantile(0.95, dof) * np.sqrt(((weights @ covariance) * weights).sum(1).clip(0))
    return PairStrings(pairs, aliases, found, found - reach, found + reach)


def _require_apart(design: Array, names: Sequence[str]) -> None:
    """Raise InputError that names the findings whose columns, with the column of ones, are not independent."""
    values, right = np.linalg.svd(design)[1:]
    rank = int((values > values[0] * max(design.shape) * np.finfo(float).eps).sum())
    if rank == design.shape[1]:
        return
    mixed = np.abs(right[rank:].T @ right[rank:]) > TINY
    lost = [i for i in range(1, len(mixed)) if mixed[i, i]]
    constant = [names[i - 1] for i in lost if (design[:, i] == design[0, i]).all()]
    if constant:
        state = "on" if design[0, 1 + list(names).index(constant[0])] > 0 else "off"
        raise InputError(
            f"{constant[0]!r} is {state} in every run of the plan, so its worth cannot be told; add runs with it on "
            "and others with it off."
        )
    group = [names[i - 1] for i in lost if mixed[lost[0], i]]
    raise InputError(
        f"The plan confounds {', '.join(map(repr, group))}: its runs cannot tell which of them does what; add runs "
        "that hold some of them and not the others."
    )


def _checked(signs: ArrayLike, ln_speedups: ArrayLike, names: Sequence[str]) -> tuple[Array, Array, tuple[str, ...]]:
    plan = np.asarray(signs, dtype=np.float64)
    values = np.asarray(ln_speedups, dtype=np.float64)
    titles = tuple(names)
    if plan.ndim != 2 or 0 in plan.shape or not (np.abs(plan) == 1).all():
        raise InputError("A plan needs one row per run and one column per finding, each 1 (on) or -1 (off).")
    if values.shape != (len(plan),) or not np.isfinite(values).all():
        raise InputError(f"A plan of {len(plan)} runs needs one finite result per run.")
    if len(titles) != plan.shape[1] or len(set(titles)) < len(titles):
        raise InputError(f"A plan of {plan.shape[1]} findings needs a name of its own for each.")
    return plan, values, titles


def _covariance(noise: ArrayLike | tuple[float, float], runs: int, dof: float) -> tuple[Array, float]:
    """The covariance (runs, runs) of the results, and its degrees of freedom."""
    given = np.asarray(noise, dtype=np.float64)
    if isinstance(noise, tuple) and given.shape == (2,):
        dof = float(given[1])
        given = math.copysign(given[0] ** 2, given[0]) * np.eye(runs)  # a negative error is refused as a covariance
    if not dof > 0:
        raise InputError(f"The noise of a plan needs more than 0 degrees of freedom, got {dof:g}.")
    if given.shape != (runs, runs) or not np.isfinite(given).all():
        raise InputError(
            f"The noise of a plan of {runs} runs is a standard error and its degrees of freedom, or a "
            f"covariance of {runs} by {runs} finite numbers."
        )
    scale = max(float(np.abs(given).max()), np.finfo(float).tiny)
    if np.abs(given - given.T).max() > TINY * scale or np.linalg.eigvalsh(given)[0] < -TINY * runs * scale:
        raise InputError("The noise of a plan is no covariance: it needs to be symmetric, with no variance below 0.")
    return given, dof


def _as_dict(one: Interaction) -> dict[str, float]:
    return {"ln_speedup": one.ln_speedup, "ln_speedup_low": one.low, "ln_speedup_high": one.high}


def _pairs_as_dicts(pairs: PairStrings, most: int) -> list[dict[str, Any]]:
    order = np.argsort(-np.abs(pairs.ln_speedups), kind="stable")[:most].tolist()
    return [
        {
            "pairs": pairs.text(i),
            "ln_speedup": float(pairs.ln_speedups[i]),
            "ln_speedup_low": float(pairs.low[i]),
            "ln_speedup_high": float(pairs.high[i]),
        }
        for i in order
    ]
