"""One arm of a table against the baseline, rung by rung: lnS at each horizon that both were run at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.arm_table import ArmTable
from transfer.pair_variance import PairSpread, pooled_spreads
from transfer.saving import Axis
from transfer.tables.baseline import Baseline, BaselineRung
from transfer.tables.curve import FinishedCurve, Floats, fit_curve
from transfer.tables.pooling import RungBounds, RungCells, Term
from transfer.tables.rows import Places, Rows, at_horizons

MAX_BEYOND = 2.0
"""A loss may lie so many standard deviations beyond those of the baseline's horizons, and still have a number."""
MAX_STEEPENING = 2.0
"""Beyond its horizons the baseline is taken to fall so many times as fast as at the last of them, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """An arm's runs at one rung, by horizon (h,), and what is known of the arm's cost there.

    `places` index the baseline's horizons; `losses` are mean finished losses, `gains` mean paired differences
    (baseline less arm), `squares` and `dof` those of the differences within horizons; `paired` where seeds pair them.
    `times` are mean ln(seconds per token, arm / baseline), nan where unknown; `flops` the same of FLOPs per token.
    `alone`: runs that were left out, for others are paired and the baseline has no run of their seed.
    """

    rung: int
    places: NDArray[np.intp]
    losses: Floats
    gains: Floats
    runs: Floats
    squares: float
    dof: int
    times: Floats
    time_squares: float
    time_dof: int
    flops: Floats
    alone: int

    @property
    def paired(self) -> bool:
        """Whether the spread of paired differences is known at this rung."""
        return self.dof > 0


def differences(table: ArmTable, arm: Places, against: Places, baseline: Baseline) -> list[Differences]:
    """What an arm's finished rows say at each usable rung of the baseline, whose own are `against`; rungs rise."""
    found = []
    for rung, base in sorted(baseline.rungs.items()):
        ours, theirs = at_horizons(arm, rung), at_horizons(against, rung)
        known = [
            (place, _pairs(table, ours[tokens], theirs[tokens]))
            for place, tokens in enumerate(base.tokens.tolist())
            if tokens in ours
        ]
        if known:
            found.append(_differences(rung, known))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    losses: Floats
    gains: Floats
    times: Floats
    flops: float
    alone: int = 0


def _pairs(table: ArmTable, own: Rows, base: Rows) -> _Pairs:
    """Runs of one arm and horizon (k,): paired by seed where the two share seeds, else against the baseline's mean."""
    by_seed = {table.seed[row]: row for row in base.tolist() if table.seed[row] is not None}
    partners = [(row, by_seed[table.seed[row]]) for row in own.tolist() if table.seed[row] in by_seed]
    flops = _mean(np.log(table.flops[own] / table.tokens[own])) - _mean(np.log(table.flops[base] / table.tokens[base]))
    if partners:
        mine, other = (np.array(rows) for rows in zip(*partners, strict=True))
        alone = len(own) - len(partners)
        times = np.log(table.seconds_per_token[mine] / table.seconds_per_token[other])
        return _Pairs(table.loss[mine], table.loss[other] - table.loss[mine], times[np.isfinite(times)], flops, alone)
    time = _mean(np.log(table.seconds_per_token[own])) - _mean(np.log(table.seconds_per_token[base]))
    times = np.array([time] if math.isfinite(time) else [])
    return _Pairs(table.loss[own], np.array([_mean(table.loss[base]) - _mean(table.loss[own])]), times, flops)


def _mean(values: Floats) -> float:
    """The mean of those (k,) that are known; nan where none is."""
    if len(values) == 1:  # most tables have one run a cell, and NumPy's own mean takes far longer
        return float(values[0])
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _squares(values: Floats) -> float:
    return float(((values - values.mean()) ** 2).sum()) if len(values) > 1 else 0.0


def _differences(rung: int, known: Sequence[tuple[int, _Pairs]]) -> Differences:
    pairs = [one for _, one in known]
    return Differences(
        rung=rung,
        places=np.array([place for place, _ in known], dtype=np.intp),
        losses=np.array([_mean(one.losses) for one in pairs]),
        gains=np.array([_mean(one.gains) for one in pairs]),
        runs=np.array([float(len(one.losses)) for one in pairs]),
        squares=sum(_squares(one.gains) for one in pairs),
        dof=sum(len(one.gains) - 1 for one in pairs),
        times=np.array([_mean(one.times) for one in pairs]),
        time_squares=sum(_squares(one.times) for one in pairs),
        time_dof=sum(max(len(one.times) - 1, 0) for one in pairs),
        flops=np.array([one.flops for one in pairs]),
        alone=sum(one.alone for one in pairs),
    )


def cells_up_the_ladder(
    found: Sequence[Differences], baseline: Baseline, *, noisier: Mapping[int, float] | None = None
) -> list[RungCells]:
    """lnS in tokens of one arm at each of its rungs and horizons.

    Where an arm's loss lies beyond those of the baseline's horizons lnS is nan, and `bounds` hold what is known of it.
    `noisier` by rung asks what would follow if runs were so many times noisier: estimates stay, errors grow.
    """
    noises = [baseline.rungs[one.rung].noise for one in found]
    ratios = [one.squares / one.dof / n.sigma**2 if one.paired else None for one, n in zip(found, noises, strict=True)]
    spreads = pooled_spreads([PairSpread(d.dof + 1, c, n.dof) for d, c, n in zip(found, ratios, noises, strict=True)])
    made = []
    for one, own, pooled in zip(found, ratios, spreads, strict=True):
        base = baseline.rungs[one.rung]
        sigma = base.noise.sigma * (1.0 if noisier is None else noisier[one.rung])
        # Where nothing tells how the runs of a pair go together, an arm is compared with the curve, not run by run.
        ratio = 1.0 if own is None else (one.dof * own + 2 * pooled.ratio) / (one.dof + 2)
        dof = base.noise.dof if own is None else pooled.dof
        made.append(_cells(one, base, sigma, _Run(ratio * sigma**2, dof), ratio * base.noise.sigma**2))
    return made


def bounds_along(found: Sequence[Differences], cells: Sequence[RungCells], axis: Axis) -> list[RungBounds]:
    """The bounds that `cells_up_the_ladder` found, on an axis; rungs without any, or without the axis, lack."""
    times = _times(found) if axis == "seconds" else None
    made = []
    for one, of in zip(found, cells, strict=True):
        if of.bounds is None:
            continue
        places = np.searchsorted(of.horizons, of.bounds.horizons)
        shifts = 0.0 if axis == "tokens" else (one.flops if axis == "flops" else one.times)[places]
        moved = of.bounds.ln_speedups - shifts
        errors = of.bounds.errors
        if times is not None:
            errors = np.sqrt(errors**2 + times.covariance[0, 0] / one.runs[places])
        keep = np.isfinite(moved)
        if keep.any():
            made.append(
                replace(
                    of.bounds,
                    horizons=of.bounds.horizons[keep],
                    sides=of.bounds.sides[keep],
                    ln_speedups=moved[keep],
                    errors=errors[keep],
                )
            )
    return made


def cells_along(found: Sequence[Differences], cells: Sequence[RungCells], axis: Axis) -> list[RungCells]:
    """What `cells_up_the_ladder` made of `found`, on an axis: without cells, and rungs, that have no number there."""
    times = _times(found) if axis == "seconds" else None
    moved = (_along(one, of, axis, times) for one, of in zip(found, cells, strict=True))
    return [one for one in moved if one is not None]


class _Run(NamedTuple):
    """Variance of one difference between an arm and the baseline, in squared nats, and its degrees of freedom."""

    variance: float
    dof: float


def _cells(one: Differences, base: BaselineRung, sigma: float, run: _Run, variance: float) -> RungCells:
    """`variance` of one difference as it was measured tells how a cell is read, however noisy `run` is.

    By the baseline's curve where the arm's loss lies within it; else by the arm's own curve where the baseline's loss
    lies within that; else there is a bound alone.
    """
    tokens, curve = base.tokens[one.places], base.curve
    gains = one.gains if one.paired else curve.loss(tokens) - one.losses
    losses = curve.loss(tokens) - gains
    allowed = MAX_BEYOND * np.sqrt(variance / one.runs)
    sides = curve.beyond(losses, allowed)
    ln_speedups = curve.ln_speedup(tokens, gains)
    sides[(sides == 0) & ~np.isfinite(ln_speedups)] = 1
    own = _own_curve(one, base) if sides.any() else None
    by_own = np.zeros(len(tokens), dtype=np.bool_)
    if own is not None:
        lost = own.loss(tokens) + gains if one.paired else curve.loss(tokens)
        read = -own.ln_speedup(tokens, own.loss(tokens) - lost)
        by_own = (sides != 0) & (own.beyond(lost, allowed) == 0) & np.isfinite(read)
        ln_speedups[by_own] = read[by_own]
        sides[by_own] = 0
    ln_speedups[sides != 0] = math.nan
    # Cells without a number are left out of all sums; their errors must be finite for that.
    known = np.where(sides == 0, ln_speedups, 0.0)
    return RungCells(
        ln_scale=math.log(base.params),
        horizons=base.numbers[one.places],
        ln_speedups=ln_speedups,
        terms=_terms(_Read(one, base, known, by_own, own), sigma, run),
        pairs=int(one.runs.min()),
        by_own=by_own,
        bounds=_bounds(one, base, losses, sides, run),
    )


class _Read(NamedTuple):
    """How the cells (h,) of a rung were read: lnS, and where it is by the arm's own curve, which is then known."""

    one: Differences
    base: BaselineRung
    ln_speedups: Floats
    by_own: NDArray[np.bool_]
    own: FinishedCurve | None


def _terms(read: _Read, sigma: float, run: _Run) -> tuple[Term, ...]:
    """The errors of a rung's cells: of the arm's runs or pairs, of the baseline's curve, of the arm's curve."""
    one, base, known, by_own, own = read
    tokens, dof = base.tokens[one.places], base.noise.dof
    of_base = base.curve.gradient(tokens, known, of_level=not one.paired)
    by_gain = 1 / base.curve.kappa(tokens * np.exp(known))
    by_runs, rest = np.diag(by_gain), None
    if own is not None and by_own.any():
        here = 1 / own.kappa(tokens * np.exp(-known))
        of_own = np.where(by_own[:, None], -own.gradient(tokens, -known, of_level=not one.paired), 0.0)
        of_base[by_own] = 0.0 if one.paired else (base.curve.gradient_of_loss(tokens) * here[:, None])[by_own]
        rest = own.covariance(sigma)
        if one.paired:
            by_runs = np.diag(np.where(by_own, here, by_gain))
        else:
            # The arm's runs are points of its own curve: what they move there, they move in its other cells too.
            answers = rest @ (own.gradient_of_loss(tokens) * one.runs[:, None]).T / sigma**2
            by_runs = np.where(by_own[:, None], of_own @ answers, -by_runs)
            rest = rest - (answers / one.runs) @ answers.T * sigma**2
        rest = of_own @ rest @ of_own.T
    data = Term((by_runs * (run.variance / one.runs)) @ by_runs.T, run.dof)
    shared = Term(of_base @ base.curve.covariance(sigma) @ of_base.T, dof)
    return (data, shared) if rest is None else (data, shared, Term(rest, dof))


@lru_cache(maxsize=4096)  # asked for again by every assumption about the noise
def _own_curve(one: Differences, base: BaselineRung) -> FinishedCurve | None:
    """The arm's own curve at one rung; None where it has one horizon, or its loss does not fall."""
    if len(one.places) < 2:
        return None
    tokens = base.tokens[one.places]
    curve = fit_curve(tokens, one.losses, one.runs, sigma=base.noise.sigma, prior=base.curve.prior)
    return curve if curve.usable else None


def _bounds(
    one: Differences, base: BaselineRung, losses: Floats, sides: NDArray[np.intp], run: _Run
) -> RungBounds | None:
    """Of cells beyond the baseline's horizons: at least (at most) the way to the outermost, and some of the rest.

    The rest is the difference in loss that is left there, over MAX_STEEPENING times the slope there.
    """
    out = np.flatnonzero(sides)
    if not len(out):
        return None
    ends = np.where(sides[out] > 0, base.tokens[-1], base.tokens[0])
    slopes = MAX_STEEPENING * base.curve.kappa(ends)
    left = base.curve.loss(ends) - losses[out]
    return RungBounds(
        ln_scale=math.log(base.params),
        horizons=base.numbers[one.places][out],
        sides=sides[out],
        ln_speedups=np.log(ends / base.tokens[one.places][out]) + left / slopes,
        errors=np.sqrt(run.variance / one.runs[out]) / slopes,
        dof=run.dof,
        pairs=int(one.runs[out].min()),
    )


def _along(one: Differences, cells: RungCells, axis: Axis, times: Term | None) -> RungCells | None:
    ln_speedups = cells.ln_speedups
    if axis != "tokens":
        ln_speedups = ln_speedups - (one.flops if axis == "flops" else one.times)
    terms = cells.terms
    if times is not None:
        terms = (*terms, Term(np.diag(times.covariance[0, 0] / one.runs), times.dof))
    keep = np.isfinite(ln_speedups)
    if keep.all():
        return replace(cells, ln_speedups=ln_speedups, terms=terms, bounds=None)
    if not keep.any():
        return None
    kept = np.ix_(keep, keep)
    return replace(
        cells,
        horizons=cells.horizons[keep],
        ln_speedups=ln_speedups[keep],
        terms=tuple(Term(term.covariance[kept], term.dof) for term in terms),
        pairs=int(one.runs[keep].min()),
        by_own=cells.by_own[keep],
        bounds=None,
    )


def _times(found: Sequence[Differences]) -> Term | None:
    """Variance (1, 1) of a pair's ln time ratio: within horizons, else between the horizons of a rung; None untold."""
    dof = sum(one.time_dof for one in found)
    squares = sum(one.time_squares for one in found)
    if not dof:
        known = [one.times[np.isfinite(one.times)] for one in found]
        dof = sum(max(len(one) - 1, 0) for one in known)
        squares = sum(_squares(one) for one in known)
    return Term(np.array([[squares / dof]]), float(dof)) if dof else None
