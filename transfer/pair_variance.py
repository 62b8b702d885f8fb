"""What pairing gains, pooled over a ladder's rungs, and how well the variance of a difference is then known.

Few pairs cannot tell the spread of their own differences, so each rung's is drawn towards the ladder's. The degrees of
freedom are those of that very mixture (Satterthwaite 1946), not of either part: docs/method.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

UNCORRELATED = 2.0  # variance of a difference over the variance of a run, where pairing gains nothing
POOLED_WEIGHT = 2.0  # of the ladder's ratio, beside n - 1 of the rung's own
LEAST_FOR_F = 5  # below so many degrees of freedom the correction of an F variable is wilder than its bias
RUNGS_DIFFER_DOF = 8.0  # pairing gains more at one rung than at another: a spread of half its size, 2/8 = .5^2


@dataclass(frozen=True, slots=True)
class PairSpread:
    """Of one rung: its pairs, Var(difference)/sigma^2 (None where one pair or sigma = 0 tells none), dof of sigma.

    `pairs` is 1 more than the degrees of freedom of the ratio, and no whole number where an arm has several horizons.
    """

    pairs: float
    ratio: float | None
    noise_dof: float


@dataclass(frozen=True, slots=True)
class PooledSpread:
    """`ratio` of the ladder as one rung sees it; `dof` of the rung's variance of a difference when mixed with it."""

    ratio: float
    dof: float


def pooled_spreads(rungs: Sequence[PairSpread]) -> list[PooledSpread]:
    """Pool the ratios of all rungs, as each rung sees them.

    Dividing by an estimated sigma^2 inflates the mean of the other rungs' ratios by nu/(nu-2) (the mean of an F
    variable); a rung multiplies its own sigma^2 back in, so its own ratio carries no error of sigma.
    """
    ratios = sum(rung.ratio for rung in rungs if rung.ratio is not None)
    inflations = [_inflation(rung) for rung in rungs]
    inflated = sum(inflations)
    squares = [
        f * f * (1 / (r.pairs - 1) + 1 / r.noise_dof) if f else 0.0 for r, f in zip(rungs, inflations, strict=True)
    ]
    squared = sum(squares)
    pooled = []
    for rung, inflation, square in zip(rungs, inflations, squares, strict=True):
        own = 1.0 if inflation else 0.0
        weight = inflated - inflation + own
        share = POOLED_WEIGHT / weight if weight else 0.0
        ratio = ratios / weight if weight else UNCORRELATED
        pooled.append(PooledSpread(ratio, _dof(rung, own * share, share**2 * (squared - square))))
    return pooled


def _inflation(rung: PairSpread) -> float:
    if rung.ratio is None:
        return 0.0
    nu = rung.pairs - 1
    return nu / (nu - 2) if nu >= LEAST_FOR_F else 1.0


def _dof(rung: PairSpread, own: float, others: float) -> float:
    """Degrees of freedom of (n - 1) own + 2 pooled, where the rung itself makes up `own` of the pooled 2.

    `others`: twice the variance, relative to the whole pool, with which the other rungs' ratios are known. What is
    borrowed from them is as uncertain as the rung's own sigma, too.
    """
    squares = others + (POOLED_WEIGHT - own) ** 2 * (1 / rung.noise_dof + 1 / RUNGS_DIFFER_DOF)
    if rung.pairs > 1:
        squares += (rung.pairs - 1 + own) ** 2 / (rung.pairs - 1)
    return (rung.pairs - 1 + POOLED_WEIGHT) ** 2 / squares
