"""Verdicts on a table of runs that somebody made: savings per rung, pooled over horizons, words, trend and forecast."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.arm_table import ArmTable
from data.errors import InputError
from transfer.forecast import Forecast, forecast
from transfer.power import ALPHA
from transfer.saving import Axis, Saving
from transfer.slope import Noise
from transfer.tables.fairness import check_fairness
from transfer.tables.measured import Cell, Inverted, Measured, along_frontier, at_rungs
from transfer.tables.pooling import Pooled
from transfer.words import STACK, Column, Verdict, judge_columns

SMALLEST_SAVING = 0.01
SAME_SCALE = 0.01
EXTRAPOLATED_BUDGET = 2.0
"""On axis flops scale is the root of FLOPs: 4 times the largest budget is twice it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a table is asked. `sigma` in nats per token, None where seeds tell it; `target` on the ladder's scale.

    Words are given at the one-sided level `alpha`: at .05, from 90 % intervals.

    The scale is params, or on axis 'flops' the root of FLOPs; without a target the next step of the ladder is forecast.
    """

    sigma: float | None = None
    smallest_saving: float = SMALLEST_SAVING
    target: float | None = None
    alpha: float = ALPHA


@dataclass(frozen=True, slots=True)
class ArmVerdict:
    """One arm: its cells, one saving per rung pooled over horizons, the word on it, the trend, and the forecasts.

    `scales` of the rungs, as `Ask.target`; `vanishing`: a gain at rung 0 that clearly shrinks, and of which none is
    established at the target.
    """

    arm: str
    cells: tuple[Cell, ...]
    scales: tuple[float, ...]
    savings: tuple[Saving, ...]
    verdict: Verdict
    trend: Saving | None
    forecasts: tuple[Forecast, ...]
    vanishing: bool


@dataclass(frozen=True, slots=True, eq=False)
class TableVerdict:
    """The verdicts on all arms of a table, in its order; `noises`, `curves` by rung, `target` on the ladder's scale."""

    axis: Axis
    baseline: str
    smallest_saving: float
    arms: tuple[ArmVerdict, ...]
    noises: tuple[Noise, ...]
    curves: tuple[Inverted, ...]
    target: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    pooled: Mapping[str, Pooled]


def judge_table(table: ArmTable, ask: Ask) -> TableVerdict:
    """Judge every arm of a table against its baseline.

    Raises InputError where nothing tells the noise, or where no arm can be compared with the baseline at all.
    """
    fair = check_fairness(table)
    measured = (along_frontier if table.axis == "flops" else at_rungs)(table, fair.rows, ask.sigma)
    judged = {arm: one for arm, one in measured.pooled.items() if arm not in fair.invalid}
    noisy = {arm: one for arm, one in measured.noisy.items() if arm in judged}
    unknown = {
        arm: measured.why_not(arm) for arm in table.arms if arm not in measured.pooled and arm not in fair.invalid
    }
    if len(unknown) == len(table.arms):
        raise InputError(f"{table.source}: no arm can be compared with the baseline: {next(iter(unknown.values()))}.")
    verdicts = judge_columns(
        {arm: _column(one, measured) for arm, one in judged.items()},
        {arm: _column(one, measured) for arm, one in noisy.items()},
        smallest_saving=ask.smallest_saving,
        invalid=fair.invalid | unknown,
        unknown={},
        alpha=ask.alpha,
    )
    target = ask.target if ask.target is not None else _next_step(measured.scales)
    forecasts = _forecasts(judged, measured.scales, target, table.axis)
    arms = [_arm(arm, measured, verdicts[arm], forecasts.get(arm, ()), ask.smallest_saving) for arm in table.arms]
    warnings = [*table.warnings, *measured.warnings, *_scattered(judged, measured.noises)]
    return TableVerdict(
        axis=table.axis,
        baseline=table.baseline,
        smallest_saving=ask.smallest_saving,
        arms=tuple(arms),
        noises=measured.noises,
        curves=measured.curves,
        target=target,
        notes=(*table.notes, *fair.notes, *measured.notes),
        warnings=tuple(warnings),
        pooled=judged,
    )


def _column(pooled: Pooled, measured: Measured) -> Column:
    below = range(len(pooled.cells) - 1)
    top = math.exp(pooled.cells[-1].ln_scale)
    size = f"{top**2:.3g} FLOPs" if pooled.axis == "flops" and len(measured.curves) == 1 else f"{top:.3g} params"
    where = "at the top rung" if top > measured.scales[-1] * (1 - SAME_SCALE) else f"at {size}, its highest rung"
    return Column(pooled.savings, [pooled.retention(base) for base in below], len(pooled.cells), where)


def _next_step(scales: Sequence[float]) -> float:
    return scales[-1] * (scales[-1] / scales[-2] if len(scales) > 1 else 4.0)


def _forecasts(
    judged: Mapping[str, Pooled], scales: Sequence[float], target: float, axis: Axis
) -> dict[str, tuple[Forecast, ...]]:
    """Every method's forecast of every arm; the stack by itself, since it is no finding among others."""
    ladders: dict[str, list[Saving]] = {}
    for arm, pooled in judged.items():
        ladders[arm] = [Saving(axis, math.nan, math.nan, math.nan, 0, reason="not run")] * len(scales)
        for one, saving in zip(pooled.cells, pooled.savings, strict=True):
            ladders[arm][int(np.argmin(np.abs(np.log(scales) - one.ln_scale)))] = saving
    singles = {arm: ladder for arm, ladder in ladders.items() if arm != STACK}
    made = forecast(scales, singles, target) if singles else {}
    if STACK in ladders:
        made |= forecast(scales, {STACK: ladders[STACK]}, target)
    if axis != "flops":
        return {arm: tuple(one) for arm, one in made.items()}
    tops = {arm: max(math.exp(one.ln_scale) for one in pooled.cells) for arm, pooled in judged.items()}
    return {
        arm: tuple(replace(one, extrapolated=target > EXTRAPOLATED_BUDGET * tops[arm]) for one in of)
        for arm, of in made.items()
    }


def _arm(
    arm: str, measured: Measured, verdict: Verdict, forecasts: tuple[Forecast, ...], smallest_saving: float
) -> ArmVerdict:
    pooled = measured.pooled.get(arm)
    savings = tuple(pooled.savings) if pooled else ()
    scales = tuple(math.exp(one.ln_scale) for one in pooled.cells) if pooled else ()
    trend = pooled.trend_per_decade() if pooled else None
    return ArmVerdict(
        arm=arm,
        cells=measured.cells.get(arm, ()),
        scales=scales,
        savings=savings,
        verdict=verdict,
        trend=trend,
        forecasts=forecasts,
        vanishing=pooled is not None and _vanishing(pooled, forecasts, smallest_saving),
    )


def _vanishing(pooled: Pooled, forecasts: Sequence[Forecast], smallest_saving: float) -> bool:
    if not forecasts or len(pooled.cells) < 2 or not pooled.savings[0].low > 0:
        return False
    return pooled.retention(0).high < 0 and forecasts[0].saving_low < smallest_saving


def _scattered(judged: Mapping[str, Pooled], noises: Sequence[Noise]) -> list[str]:
    """Warn of arms whose horizons scatter by more than the noise of runs allows."""
    found = {arm: factor for arm, pooled in judged.items() if (factor := pooled.scatter()) is not None and factor > 1.5}
    if not found:
        return []
    worst = max(found, key=lambda arm: found[arm])
    sigma = max(noise.sigma for noise in noises)
    return [
        f"The horizons of {', '.join(found)} scatter up to {found[worst]:.1f} times as far as the noise of runs allows "
        f"({worst}), as if sigma were {sigma * found[worst]:.2g}: tuning that differs from run to run is noise too, "
        "and intervals are too narrow by as much."
    ]
