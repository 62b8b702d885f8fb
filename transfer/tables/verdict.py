"""Verdicts on a table of runs that somebody made: savings per rung, pooled over horizons, words, trend and forecast."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.arm_table import ArmTable
from data.errors import InputError
from transfer.forecast import Forecast, forecast
from transfer.power import ALPHA
from transfer.saving import Axis, Saving, difference
from transfer.slope import Noise
from transfer.tables.fairness import check_fairness
from transfer.tables.measured import Cell, Inverted, Measured, along_frontier, at_rungs
from transfer.tables.pooling import Pooled, RungBounds
from transfer.words import STACK, Column, Verdict, judge_columns

SMALLEST_SAVING = 0.01
SAME_SCALE = 0.01
LARGEST_LN = 700.0
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

    The saving of a rung is a bound where all of its cells are. `scales` of the rungs, as `Ask.target`; `vanishing`: a
    gain at rung 0 that clearly shrinks, and of which none is established at the target.
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
    """The verdicts on all arms of a table, in its order; `noises`, `curves` by rung, `target` on the ladder's scale.

    `pooled`: what can be compared with other arms, those that were judged by a number at their highest rung.
    """

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
    plain, noisy = (
        {arm: _Ladder.of(pooled.get(arm), bounds.get(arm, ()), table.axis) for arm in {**pooled, **bounds}}
        for pooled, bounds in ((measured.pooled, measured.bounds), (measured.noisy, measured.noisy_bounds))
    )
    valid = [arm for arm in table.arms if arm in plain and arm not in fair.invalid]
    judged = {arm: measured.pooled[arm] for arm in valid if plain[arm].savings[-1].known}
    unknown = {arm: measured.why_not(arm) for arm in table.arms if arm not in plain and arm not in fair.invalid}
    if len(unknown) == len(table.arms):
        raise InputError(f"{table.source}: no arm can be compared with the baseline: {next(iter(unknown.values()))}.")
    verdicts = judge_columns(
        {arm: _column(plain[arm], measured) for arm in valid},
        {arm: _column(noisy[arm], measured) for arm in valid},
        smallest_saving=ask.smallest_saving,
        invalid=fair.invalid | unknown,
        unknown={},
        alpha=ask.alpha,
    )
    target = ask.target if ask.target is not None else _next_step(measured.scales)
    forecasts = _forecasts(judged, measured.scales, target, table.axis)
    arms = [
        _arm(arm, verdicts[arm], measured, plain.get(arm), forecasts=forecasts.get(arm, ()), ask=ask)
        for arm in table.arms
    ]
    warnings = [
        *table.warnings,
        *measured.warnings,
        *_scattered(judged, measured.noises),
        *_contradicted([one for one in arms if one.arm in valid], table.axis),
    ]
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


@dataclass(frozen=True, slots=True, eq=False)
class _Ladder:
    """One saving per rung of an arm, a bound where no cell of the rung has a number; rungs rise."""

    axis: Axis
    ln_scales: tuple[float, ...]
    savings: tuple[Saving, ...]
    retentions: tuple[Saving, ...]

    @classmethod
    def of(cls, pooled: Pooled | None, bounds: Sequence[RungBounds], axis: Axis) -> "_Ladder":
        cells = () if pooled is None else pooled.cells
        places = {one.ln_scale: place for place, one in enumerate(cells)}
        found = {} if pooled is None else dict(zip(places, pooled.savings, strict=True))
        found |= {one.ln_scale: one.pooled(axis) for one in bounds if one.ln_scale not in places}
        scales = sorted(found)
        savings = [found[one] for one in scales]
        retentions = [
            pooled.retention(places[scale])
            if pooled is not None and scale in places and scales[-1] in places
            else difference(savings[-1], below)
            for scale, below in zip(scales[:-1], savings[:-1], strict=True)
        ]
        return cls(axis, tuple(scales), tuple(savings), tuple(retentions))


OPEN_ENDS = (
    "it ends below all losses of the baseline's horizons",
    "it ends above all losses of the baseline's horizons",
)


def _column(ladder: _Ladder, measured: Measured) -> Column:
    top = math.exp(ladder.ln_scales[-1])
    size = f"{top**2:.3g} FLOPs" if ladder.axis == "flops" and len(measured.curves) == 1 else f"{top:.3g} params"
    where = "at the top rung" if top > measured.scales[-1] * (1 - SAME_SCALE) else f"at {size}, its highest rung"
    return Column(ladder.savings, ladder.retentions, len(ladder.savings), where, OPEN_ENDS)


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
    arm: str,
    verdict: Verdict,
    measured: Measured,
    ladder: _Ladder | None,
    *,
    forecasts: tuple[Forecast, ...],
    ask: Ask,
) -> ArmVerdict:
    # Where the highest rung is known by a bound alone, a trend of those below would leave out the most that is known.
    pooled = measured.pooled.get(arm) if ladder is not None and ladder.savings[-1].known else None
    trend = pooled.trend_per_decade() if pooled else None
    return ArmVerdict(
        arm=arm,
        cells=measured.cells.get(arm, ()),
        scales=() if ladder is None else tuple(math.exp(one) for one in ladder.ln_scales),
        savings=() if ladder is None else ladder.savings,
        verdict=verdict,
        trend=trend,
        forecasts=forecasts,
        vanishing=pooled is not None and _vanishing(pooled, forecasts, ask.smallest_saving),
    )


def _vanishing(pooled: Pooled, forecasts: Sequence[Forecast], smallest_saving: float) -> bool:
    if not forecasts or len(pooled.cells) < 2 or not pooled.savings[0].low > 0:
        return False
    return pooled.retention(0).high < 0 and forecasts[0].saving_low < smallest_saving


def _contradicted(arms: Sequence[ArmVerdict], axis: Axis) -> list[str]:
    """Warn of comparisons without a number whose bound denies what the other horizons of their rung say.

    They do not count in the mean, which would hide a run that broke down, or a gain that turns into a loss.
    """
    said = []
    for one in arms:
        by_scale = dict(zip(one.scales, one.savings, strict=True))
        for cell in one.cells:
            known = cell.savings.get(axis)
            if known is None or known.known or not by_scale:
                continue
            others = by_scale[min(by_scale, key=lambda scale: abs(math.log(scale / cell.params)))]
            if others.known and (known.high < others.low or known.low > others.high):
                side, bound = ("at most", known.high) if known.high < others.low else ("at least", known.low)
                said.append(
                    f"{one.arm} at {cell.params:.3g} params and {cell.tokens:.3g} tokens is {side} "
                    f"{_times(bound)} times as fast as the baseline, and {_times(others.ln_speedup)} times over the "
                    "other horizons of that rung: look at this run before the word is believed."
                )
    return said


def _times(ln_speedup: float) -> str:
    return f"{math.exp(min(ln_speedup, LARGEST_LN)):.3g}"


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
