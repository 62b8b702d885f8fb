"""Several horizons at each rung made one lnS per rung: rungs and horizons as fixed effects, all cells of equal weight.

Equal weights, not those of the errors: a gain that differs with the horizon has then the same meaning at every rung,
and a noise level that is only assumed does not decide which horizon counts (docs/method.md).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from transfer.saving import Axis, Saving
from transfer.student import welch_dof

Floats = NDArray[np.float64]

LEAST_DOF_OF_SCATTER = 3
CLEARLY_MORE = 0.01


class Term(NamedTuple):
    """One source of error of a rung's cells: its covariance (h, h) of lnS, and the degrees of freedom behind it."""

    covariance: Floats
    dof: float


@dataclass(frozen=True, slots=True, eq=False)
class RungBounds:
    """The cells (h,) of one arm at one rung whose losses lie beyond those of the baseline's horizons.

    `sides`: 1 where lnS is at least, -1 where it is at most a bound, whose estimates are `ln_speedups` with standard
    errors `errors`, on `dof` degrees of freedom. `pairs`: the fewest runs of the arm behind a cell.
    """

    ln_scale: float
    horizons: NDArray[np.intp]
    sides: NDArray[np.intp]
    ln_speedups: Floats
    errors: Floats
    dof: float
    pairs: int

    def cell(self, place: int, axis: Axis) -> Saving:
        """What is known of one cell by itself."""
        return self._saving(float(self.ln_speedups[place]), float(self.errors[place]), int(self.sides[place]), axis)

    def pooled(self, axis: Axis) -> Saving:
        """What is known of the mean over the horizons; nothing where one is known from below, another from above."""
        count = len(self.horizons)
        error = math.sqrt(float(self.errors @ self.errors)) / count
        if len(np.unique(self.sides)) > 1:
            reason = "its losses lie beyond those of the baseline's horizons, on both sides"
            return Saving(axis, math.nan, math.nan, math.nan, self.pairs, reason=reason)
        return self._saving(float(self.ln_speedups.mean()), error, int(self.sides[0]), axis)

    def _saving(self, ln_speedup: float, error: float, side: int, axis: Axis) -> Saving:
        return Saving(
            axis,
            math.nan,
            error,
            self.dof,
            self.pairs,
            pair_variance=error**2 * self.pairs,
            at_least="gain" if side > 0 else "loss",
            centre=ln_speedup,
            method="baseline curve",
        )


@dataclass(frozen=True, slots=True, eq=False)
class RungCells:
    """One arm at one rung: lnS (h,) at its `horizons` (h,), numbered alike at all rungs.

    `terms` are independent sources of error; the first is that of the arm's own runs, which falls with more pairs.
    `pairs`: the fewest runs of the arm behind a cell. `by_own` (h,): cells read by the arm's own curve, not by the
    baseline's. `bounds`: what is known of the cells whose lnS is nan.
    """

    ln_scale: float
    horizons: NDArray[np.intp]
    ln_speedups: Floats
    terms: tuple[Term, ...]
    pairs: int
    by_own: NDArray[np.bool_]
    bounds: RungBounds | None = None

    def covariance(self) -> Floats:
        """Covariance (h, h) of the cells' lnS."""
        return np.asarray(sum(term.covariance for term in self.terms), dtype=np.float64)

    def cell(self, place: int, axis: Axis) -> Saving:
        """The lnS of one cell by itself."""
        terms = [(float(term.covariance[place, place]), term.dof) for term in self.terms]
        se = math.sqrt(sum(variance for variance, _ in terms))
        value = float(self.ln_speedups[place])
        return Saving(
            axis,
            value,
            se,
            welch_dof(terms),
            self.pairs,
            pair_variance=terms[0][0] * self.pairs,
            method="crossing" if self.by_own[place] else "baseline curve",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """One arm up the ladder: what its rungs' cells say together. `cells` rise with scale.

    `weights` (rungs, all cells) turn the cells' lnS into `savings`, one per rung, at the mean of the horizon effects.
    """

    axis: Axis
    cells: tuple[RungCells, ...]
    savings: tuple[Saving, ...]
    weights: Floats
    design: Floats

    def retention(self, base: int) -> Saving:
        """lnS at the top less lnS at rung `base`."""
        row = self.weights[-1] - self.weights[base]
        return _combined(self.axis, self.cells, row, min(self.cells[-1].pairs, self.cells[base].pairs))

    def trend_per_decade(self) -> Saving | None:
        """Change of lnS per tenfold scale, least squares over all cells with the horizons' own effects."""
        if len(self.cells) < 2:
            return None
        scale = np.concatenate([np.full(len(one.horizons), one.ln_scale) for one in self.cells]) / math.log(10)
        horizons = np.concatenate([one.horizons for one in self.cells])
        dummies = (horizons[:, None] == np.unique(horizons)[None, :]).astype(np.float64)
        row = np.linalg.pinv(np.column_stack([scale - scale.mean(), dummies]))[0]
        return _combined(self.axis, self.cells, row, min(one.pairs for one in self.cells))

    def scatter(self) -> float | None:
        """How many times the assumed noise the cells scatter about rung and horizon effects; None where it fits.

        The mean square of what the effects leave over its expectation, judged by F (Satterthwaite's dof of both): a
        noise that few seeds have told cries wolf three to six times as often by chi-square.
        """
        lns = np.concatenate([one.ln_speedups for one in self.cells])
        leaves = np.eye(len(lns)) - self.design @ np.linalg.pinv(self.design)
        covariance = _block_diagonal([one.covariance() for one in self.cells])
        spread = leaves @ covariance @ leaves
        expected, squares = float(np.trace(spread)), float(np.trace(spread @ spread))
        if len(lns) - np.linalg.matrix_rank(self.design) < LEAST_DOF_OF_SCATTER or squares <= 0:
            return None
        dof, known_by = expected**2 / squares, self._dof_of_expectation(leaves)
        ratio = float(np.sum((leaves @ lns) ** 2)) / expected
        by_chance = fdtrc(dof, known_by, ratio) if math.isfinite(known_by) else chdtrc(dof, ratio * dof)
        return math.sqrt(ratio) if by_chance < CLEARLY_MORE else None

    def _dof_of_expectation(self, leaves: Floats) -> float:
        """Degrees of freedom behind the noise that the cells, less rung and horizon effects, should scatter by."""
        terms, first = list[tuple[float, float]](), 0
        for one in self.cells:
            part = slice(first, first + len(one.horizons))
            first = part.stop
            terms += [(float(np.trace(leaves[part, part] @ term.covariance)), term.dof) for term in one.terms]
        return welch_dof(terms)


def pool(cells: Sequence[RungCells], axis: Axis, bounds: Sequence[RungBounds] = ()) -> Pooled | None:
    """Pool an arm's cells, rungs in rising order; None where rungs share so few horizons that no effect can be told.

    Where they share them only counting the cells of `bounds`, which have no number, horizons are taken to have no
    effects, and a rung's number is the mean of its cells.
    """
    design = _design([one.horizons for one in cells])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        lost = {one.ln_scale: one.horizons for one in bounds}
        whole = _design([np.append(one.horizons, lost.get(one.ln_scale, [])).astype(np.intp) for one in cells])
        if np.linalg.matrix_rank(whole) < whole.shape[1]:
            return None
        design = design[:, : len(cells)]
    weights = np.linalg.pinv(design)[: len(cells)]
    savings = [_combined(axis, cells, row, one.pairs) for row, one in zip(weights, cells, strict=True)]
    return Pooled(axis, tuple(cells), tuple(savings), np.asarray(weights, dtype=np.float64), design)


def _design(by_rung_horizons: Sequence[NDArray[np.intp]]) -> Floats:
    """Columns of the rungs' effects, then of the horizons' contrasts, over all cells."""
    horizons = np.concatenate(by_rung_horizons)
    rungs = np.concatenate([np.full(len(one), rung) for rung, one in enumerate(by_rung_horizons)])
    known = np.unique(horizons)
    by_rung = (rungs[:, None] == np.arange(len(by_rung_horizons))[None, :]).astype(np.float64)
    by_horizon = (horizons[:, None] == known[None, :]).astype(np.float64)
    contrasts = by_horizon[:, :-1] - by_horizon[:, -1:]
    return np.column_stack([by_rung, contrasts])


def _combined(axis: Axis, cells: Sequence[RungCells], row: Floats, pairs: int) -> Saving:
    """The sum of all cells' lnS, each times its entry of `row` (all cells,)."""
    value, terms, pair_variance, first = 0.0, list[tuple[float, float]](), 0.0, 0
    for one in cells:
        part = row[first : first + len(one.horizons)]
        first += len(one.horizons)
        if not part.any():
            continue
        value += float(part @ one.ln_speedups)
        variances = [(float(part @ term.covariance @ part), term.dof) for term in one.terms]
        terms += variances
        pair_variance += variances[0][0] * one.pairs
    se = math.sqrt(sum(variance for variance, _ in terms))
    return Saving(axis, value, se, welch_dof(terms), pairs, pair_variance=pair_variance, method="baseline curve")


def _block_diagonal(blocks: Sequence[Floats]) -> Floats:
    size = sum(len(block) for block in blocks)
    whole, first = np.zeros((size, size)), 0
    for block in blocks:
        whole[first : first + len(block), first : first + len(block)] = block
        first += len(block)
    return whole
