"""One arm of a table against the baseline, rung by rung: lnS at each horizon that both were run at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.arm_table import ArmTable
from transfer.pair_variance import PairSpread, pooled_spreads
from transfer.saving import Axis
from transfer.tables.baseline import Baseline, BaselineRung
from transfer.tables.curve import Floats
from transfer.tables.pooling import RungCells, Term
from transfer.tables.rows import Places, Rows, at_horizons


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
    """lnS in tokens of one arm at each of its rungs and horizons, nan where it is out of the curve's range.

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
        made.append(_cells(one, base, sigma, _Run(ratio * sigma**2, dof)))
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


def _cells(one: Differences, base: BaselineRung, sigma: float, run: _Run) -> RungCells:
    tokens = base.tokens[one.places]
    gains = one.gains if one.paired else base.curve.loss(tokens) - one.losses
    ln_speedups, by_gain = base.curve.ln_speedup(tokens, gains)
    gradient = base.curve.gradient(tokens, gains, of_level=not one.paired)
    data = Term(np.diag(run.variance / one.runs * by_gain**2), run.dof)
    shared = Term(gradient @ base.curve.covariance(sigma) @ gradient.T, base.noise.dof)
    return RungCells(
        ln_scale=math.log(base.params),
        horizons=base.numbers[one.places],
        ln_speedups=ln_speedups,
        terms=(data, shared),
        pairs=int(one.runs.min()),
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
        return replace(cells, ln_speedups=ln_speedups, terms=terms)
    if not keep.any():
        return None
    kept = np.ix_(keep, keep)
    return replace(
        cells,
        horizons=cells.horizons[keep],
        ln_speedups=ln_speedups[keep],
        terms=tuple(Term(term.covariance[kept], term.dof) for term in terms),
        pairs=int(one.runs[keep].min()),
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
