"""What a table of runs says of every arm: savings at each rung and horizon, and pooled up the ladder."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.arm_table import ArmTable
from data.errors import InputError
from transfer.saving import Axis, Saving
from transfer.slope import Noise, Slope
from transfer.tables.baseline import Baseline, read_baseline
from transfer.tables.cells import Differences, bounds_along, cells_along, cells_up_the_ladder, differences
from transfer.tables.curve import FinishedCurve
from transfer.tables.frontier import Frontier, fit_frontier, frontier_cells
from transfer.tables.pooling import Pooled, RungBounds, RungCells, pool
from transfer.tables.rows import Places
from transfer.words import noisier

AXES: tuple[Axis, ...] = ("tokens", "flops", "seconds")


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm at one rung and horizon: `savings` by axis, those that have a number or a bound.

    `loss` is the arm's mean finished loss, `gain` the baseline's less the arm's, both in nats per token; `local` lnS by
    the slope between half and twice the tokens, where the baseline was run there.
    """

    rung: int
    params: float
    tokens: float
    flops: float
    loss: float
    gain: float
    savings: Mapping[Axis, Saving]
    local: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    """A curve of the baseline by which losses became savings: of a rung over tokens, or of all budgets over FLOPs.

    Along budgets `rung` and `params` are None, and `misfit_kept` is the share of the points' residuals that is added to
    the curve, interpolated between them in ln FLOPs.
    """

    rung: int | None
    params: float | None
    curve: FinishedCurve
    misfit_kept: float


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Every arm of a table up the ladder, as it was measured and as if runs were noisier; arms without numbers lack.

    `bounds`, and `noisy_bounds`, are by arm the cells that no curve reaches inside its horizons. `scales` of the
    baseline's rungs; `noises` and `curves` of those that can be used, or of the one frontier; `why_not` says why an arm
    has no number.
    """

    scales: tuple[float, ...]
    noises: tuple[Noise, ...]
    curves: tuple[Inverted, ...]
    pooled: dict[str, Pooled]
    noisy: dict[str, Pooled]
    bounds: dict[str, list[RungBounds]]
    noisy_bounds: dict[str, list[RungBounds]]
    cells: dict[str, tuple[Cell, ...]]
    why_not: Callable[[str], str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def at_rungs(table: ArmTable, rows: Mapping[str, Places], sigma: float | None) -> Measured:
    """Compare at equal params and horizons; `rows` that count, by arm and place.

    Raises InputError where nothing tells the noise, or the baseline has no slope at any rung.
    """
    against = rows[table.baseline]
    baseline = read_baseline(table, against, sigma)
    if not baseline.rungs:
        raise InputError(f"{table.source}: {next(iter(baseline.why_not.values()))}.")
    factors = {rung: noisier(assumed=one.noise.assumed) for rung, one in baseline.rungs.items()}
    found = {arm: differences(table, rows[arm], against, baseline) for arm in table.arms}
    tokens = {arm: cells_up_the_ladder(one, baseline) for arm, one in found.items()}
    plain = {arm: cells_along(one, tokens[arm], table.axis) for arm, one in found.items()}
    noisier_tokens = {arm: cells_up_the_ladder(one, baseline, noisier=factors) for arm, one in found.items()}
    noisy = {arm: cells_along(one, noisier_tokens[arm], table.axis) for arm, one in found.items()}
    bounds = {arm: bounds_along(one, tokens[arm], table.axis) for arm, one in found.items()}
    noisy_bounds = {arm: bounds_along(one, noisier_tokens[arm], table.axis) for arm, one in found.items()}

    def why_not(arm: str) -> str:
        if not rows[arm]:
            return "it has no finished run at a size and horizon of the baseline"
        if not found[arm]:
            return next(iter(baseline.why_not.values()), "it shares no horizon that counts with the baseline")
        if plain[arm]:
            return "its rungs share no horizon with one another, so that they cannot be compared"
        return "it has no seconds per token where the baseline has them"

    return Measured(
        scales=tuple(float(one) for one in table.rung_params),
        noises=tuple(one.noise for _, one in sorted(baseline.rungs.items())),
        curves=tuple(Inverted(rung, one.params, one.curve, 0.0) for rung, one in sorted(baseline.rungs.items())),
        pooled=_pool(plain, table.axis, bounds),
        noisy=_pool(noisy, table.axis, noisy_bounds),
        bounds={arm: one for arm, one in bounds.items() if one},
        noisy_bounds={arm: one for arm, one in noisy_bounds.items() if one},
        cells={arm: _cells(table, rows[arm], one, tokens[arm], baseline) for arm, one in found.items()},
        why_not=why_not,
        notes=(*baseline.notes, *_bounded(bounds)),
        warnings=(
            *baseline.warnings,
            *(f"A rung is left out: {why}." for why in baseline.why_not.values()),
            *_left_out(found, plain, bounds, baseline),
        ),
    )


def _bounded(bounds: Mapping[str, Sequence[RungBounds]]) -> list[str]:
    """Say which comparisons are known by a bound alone."""
    counted = [
        f"{arm} at {math.exp(one.ln_scale):.3g} params ({len(one.horizons)})"
        for arm, of in bounds.items()
        for one in of
    ]
    if not counted:
        return []
    return [
        "Comparisons where an arm ends beyond all losses of the baseline's horizons have no number, only a bound, and "
        f"do not count in the mean over horizons: {', '.join(counted)}. Longer runs of the baseline, or shorter ones "
        "of the arm, would measure them."
    ]


def _left_out(
    found: Mapping[str, Sequence[Differences]],
    cells: Mapping[str, Sequence[RungCells]],
    bounds: Mapping[str, Sequence[RungBounds]],
    baseline: Baseline,
) -> list[str]:
    """Warn of runs without a partner, and of comparisons that have no number on the axis asked for."""
    said = []
    alone = {arm: many for arm, of in found.items() if (many := sum(one.alone for one in of))}
    if alone:
        runs = ", ".join(f"{many} of {arm}" for arm, many in alone.items())
        said.append(f"Runs whose seed the baseline lacks are left out, where others are paired: {runs}.")
    lost = []
    for arm, of in found.items():
        numbers = Counter[float]()
        known: list[RungCells | RungBounds] = [*cells[arm], *bounds[arm]]
        for part in known:
            numbers[round(part.ln_scale, 9)] += len(part.horizons)
        for one in of:
            params = baseline.rungs[one.rung].params
            if numbers and (many := len(one.places) - numbers.get(round(math.log(params), 9), 0)):
                lost.append(f"{arm} at {params:.3g} params ({many})")
    if lost:
        said.append(f"Comparisons are left out whose seconds per token are unknown: {', '.join(lost)}.")
    return said


def along_frontier(table: ArmTable, rows: Mapping[str, Places], sigma: float | None) -> Measured:
    """Compare budget by budget along the frontiers; arguments and errors as of `at_rungs`."""
    frontier = fit_frontier(table, rows[table.baseline], sigma)
    factor = noisier(assumed=frontier.noise.assumed)
    plain = {arm: frontier_cells(table, rows[arm], frontier) for arm in table.arms}
    noisy = {arm: frontier_cells(table, rows[arm], frontier, noisier=factor) for arm in table.arms}
    assumed = f"The noise of a run, sigma = {frontier.noise.sigma:g} nats per token, is assumed, not measured."
    return Measured(
        scales=tuple(math.sqrt(float(one)) for one in table.rung_scale),
        noises=(frontier.noise,),
        curves=(Inverted(None, None, frontier.curve, frontier.kept),),
        pooled=_pool(plain, "flops", {}),
        noisy=_pool(noisy, "flops", {}),
        bounds={},
        noisy_bounds={},
        cells={arm: _frontier_cells(table, rows[arm], one, frontier) for arm, one in plain.items()},
        why_not=lambda arm: "it has no budget in common with the baseline, or its losses are beyond the frontier",
        notes=(),
        warnings=(*((assumed,) if frontier.noise.assumed else ()), *_beyond(rows, plain)),
    )


def _beyond(rows: Mapping[str, Places], cells: Mapping[str, Sequence[RungCells]]) -> list[str]:
    """Warn of arms with budgets whose losses the baseline's frontier does not reach."""
    lost = {arm: len(rows[arm]) - len(one) for arm, one in cells.items() if len(one) < len(rows[arm])}
    if not lost:
        return []
    said = ", ".join(f"{arm} at {many}" for arm, many in lost.items())
    return [
        f"Budgets are left out where an arm's loss is that of more than twice the baseline's largest budget, or less "
        f"than half of its smallest ({said}); run the baseline further."
    ]


def _pool(
    cells: Mapping[str, Sequence[RungCells]], axis: Axis, bounds: Mapping[str, Sequence[RungBounds]]
) -> dict[str, Pooled]:
    made = {arm: pool(one, axis, bounds.get(arm, ())) for arm, one in cells.items() if one}
    return {arm: one for arm, one in made.items() if one is not None}


def _cells(
    table: ArmTable, places: Places, found: Sequence[Differences], cells: Sequence[RungCells], baseline: Baseline
) -> tuple[Cell, ...]:
    made = []
    axes = [axis for axis in AXES if axis != "seconds" or table.has_times]
    by_axis: dict[Axis, dict[float, list[RungCells | RungBounds]]] = {axis: {} for axis in axes}
    for axis in axes:
        known: list[RungCells | RungBounds] = [*cells_along(found, cells, axis), *bounds_along(found, cells, axis)]
        for part in known:
            by_axis[axis].setdefault(part.ln_scale, []).append(part)
    for one in found:
        base = baseline.rungs[one.rung]
        for place, tokens, loss, gain in zip(
            one.places.tolist(),
            base.tokens[one.places].tolist(),
            one.losses.tolist(),
            one.gains.tolist(),
            strict=True,
        ):
            number = int(base.numbers[place])
            savings = {
                axis: of.cell(int(np.flatnonzero(of.horizons == number)[0]), axis)
                for axis, by_scale in by_axis.items()
                for of in by_scale.get(math.log(base.params), ())
                if number in of.horizons
            }
            rows = places[one.rung, tokens]
            params, flops = float(table.params[rows].mean()), float(table.flops[rows].mean())
            made.append(Cell(one.rung, params, tokens, flops, loss, gain, savings, _local(base.slopes[place], gain)))
    return tuple(made)


def _local(slope: Slope | None, gain: float) -> float | None:
    """lnS by a slope, None where there is none or the gain is out of its range."""
    if slope is None or not slope.usable:
        return None
    rest = 1 - slope.curvature * gain / slope.kappa
    return -math.log(rest) / slope.curvature if rest > 0 else None


def _frontier_cells(
    table: ArmTable, places: Places, cells: Sequence[RungCells], frontier: Frontier
) -> tuple[Cell, ...]:
    made = []
    rows_at = {round(math.log(budget) / 2, 9): (rung, rows) for (rung, budget), rows in places.items()}
    for one in cells:
        rung, rows = rows_at[round(one.ln_scale, 9)]
        params, tokens, flops = (float(column[rows].mean()) for column in (table.params, table.tokens, table.flops))
        loss = float(table.loss[rows].mean())
        gain = float(frontier.loss(np.array([2 * one.ln_scale]))[0]) - loss
        made.append(Cell(rung, params, tokens, flops, loss, gain, {"flops": one.cell(0, "flops")}, None))
    return tuple(made)
