"""Arms compared along their compute-optimal frontiers: how many times its FLOPs the baseline needs for an arm's loss.

One row per budget is enough: the best that an arm does with so many FLOPs. The baseline's frontier is the smooth curve
of `curve.py`; what its points stray from it by more than their noise is kept, and interpolated between budgets.
"""

import math
from dataclasses import dataclass

import numpy as np

from data.arm_table import ArmTable
from data.errors import InputError
from transfer.slope import Noise, pooled_noise
from transfer.tables.curve import ALONG_FLOPS, FinishedCurve, Floats, fit_curve
from transfer.tables.pooling import RungCells, Term
from transfer.tables.rows import Places

REACH = math.log(2)
"""The frontier is followed so far, in ln FLOPs, beyond the baseline's smallest and largest budgets: no further than the
budgets commonly are apart, since there only the form of the curve speaks."""
GRID = 6001
STEP = 0.2
"""Slopes are taken over this much of ln FLOPs to either side."""
LEAST_BUDGETS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """The baseline's finished loss over FLOPs; `kept` is the share of its residuals that is misfit, not noise."""

    curve: FinishedCurve
    noise: Noise
    kept: float

    def loss(self, ln_flops: Floats) -> Floats:
        """Finished loss at ln FLOPs (k,); beyond the budgets the last residual stays."""
        strays = np.interp(ln_flops, np.log(self.curve.points), self.curve.residuals)
        return self.curve.loss(np.exp(ln_flops)) + self.kept * strays

    def ln_flops(self, losses: Floats) -> Floats:
        """ln FLOPs at which the baseline reaches losses (k,), nan beyond REACH; where it rises, the first time."""
        ends = np.log(self.curve.points[[0, -1]])
        grid = np.linspace(ends[0] - REACH, ends[1] + REACH, GRID)
        falling = np.minimum.accumulate(self.loss(grid))
        return np.interp(-losses, -falling, grid, left=math.nan, right=math.nan)

    def kappa(self, ln_flops: Floats) -> Floats:
        """-dL/dln FLOPs (k,), in nats."""
        return (self.loss(ln_flops - STEP) - self.loss(ln_flops + STEP)) / (2 * STEP)

    def variance(self, ln_flops: Floats, sigma: float) -> Floats:
        """Variance of the frontier's loss at ln FLOPs (k,), were a run's loss to have standard deviation sigma."""
        curve = self.curve
        gradient = curve.gradient_of_loss(np.exp(ln_flops))
        smooth = np.einsum("ki,ij,kj->k", gradient, curve.covariance(sigma), gradient)
        own = sigma**2 / float(curve.weights.mean())
        return np.asarray((1 - self.kept) ** 2 * smooth + self.kept**2 * own, dtype=np.float64)


def fit_frontier(table: ArmTable, places: Places, sigma: float | None) -> Frontier:
    """The baseline's frontier from its rows at each budget.

    Raises InputError with fewer than three budgets, no noise level, or a loss that does not fall with FLOPs.
    """
    if len(places) < LEAST_BUDGETS:
        raise InputError(
            f"{table.source}: a frontier needs {LEAST_BUDGETS} budgets of the baseline, which has {len(places)}; "
            "run more, or compare on the axis tokens."
        )
    groups = [table.loss[rows] for rows in places.values()]
    flops = np.array([budget for _, budget in places])
    weights = np.array([float(len(group)) for group in groups])
    noise = _noise(table, groups, sigma)
    means = np.array([group.mean() for group in groups])
    curve = fit_curve(flops, means, weights, sigma=noise.sigma, prior=ALONG_FLOPS)
    if not curve.usable:
        raise InputError(f"{table.source}: the baseline's finished loss does not fall with FLOPs; check the budgets.")
    excess = max(curve.scatter**2 - noise.sigma**2, 0.0) if math.isfinite(curve.scatter) else 0.0
    return Frontier(curve, noise, excess / (excess + noise.sigma**2))


def _noise(table: ArmTable, groups: list[Floats], sigma: float | None) -> Noise:
    if sigma is not None:
        return Noise(sigma, math.inf, assumed=True)
    repeated = [group for group in groups if len(group) > 1]
    if not repeated:
        raise InputError(
            f"{table.source}: no two runs of the baseline differ in the seed alone, so nothing tells the noise of a "
            "run; give --sigma with the standard deviation of the finished loss over seeds, in nats per token."
        )
    return pooled_noise(repeated)


def frontier_cells(table: ArmTable, arm: Places, frontier: Frontier, *, noisier: float = 1.0) -> list[RungCells]:
    """lnS in FLOPs of one arm at each of its budgets that the baseline has too, rising; without those out of range.

    `ln_scale` is ln FLOPs / 2: along a frontier params grow about as the root of FLOPs.
    """
    budgets = np.array([budget for _, budget in arm])
    losses = np.array([float(table.loss[rows].mean()) for rows in arm.values()])
    runs = np.array([float(len(rows)) for rows in arm.values()])
    where = frontier.ln_flops(losses) if len(arm) else np.empty(0)
    sigma, dof = frontier.noise.sigma * noisier, frontier.noise.dof
    made = []
    for budget, at, count in zip(budgets.tolist(), where.tolist(), runs.tolist(), strict=True):
        if not math.isfinite(at):
            continue
        there = np.array([at])
        kappa = frontier.kappa(there) ** 2
        made.append(
            RungCells(
                ln_scale=math.log(budget) / 2,
                horizons=np.zeros(1, dtype=np.intp),
                ln_speedups=there - math.log(budget),
                terms=(
                    Term((sigma**2 / count / kappa)[:, None], dof),
                    Term((frontier.variance(there, sigma) / kappa)[:, None], dof),
                ),
                pairs=int(count),
                by_own=np.zeros(1, dtype=np.bool_),
            )
        )
    return made
