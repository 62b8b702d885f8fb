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
    """Of one rung: its pairs, Var(difference)/sigma^2 (None where one pair or sigma = 0 tells none), dof of sigma."""

    pairs: int
    ratio: float | None
    noise_dof: float


@dataclass(frozen=True, slots=True)
class PooledSpread:
    """`ratio` of the ladder as one rung sees it; `dof` of the rung's variance of a difference when mixed with it."""

    ratio: float
    dof: float


def pooled_spread(rungs: Sequence[PairSpread], here: int) -> PooledSpread:
    """Pool the ratios of all rungs for rung `here`.

    Dividing by an estimated sigma^2 inflates the mean of the other rungs' ratios by nu/(nu-2) (the mean of an F
    variable); rung `here` multiplies its own sigma^2 back in, so its own ratio carries no error of sigma.
    """
    inflations = [_inflation(rung, own=i == here) for i, rung in enumerate(rungs)]
    ratios = [rung.ratio for rung in rungs if rung.ratio is not None]
    share = POOLED_WEIGHT / sum(inflations) if ratios else 0.0
    ratio = sum(ratios) / sum(inflations) if ratios else UNCORRELATED
    return PooledSpread(ratio, _dof(rungs, [share * inflation for inflation in inflations], here))


def _inflation(rung: PairSpread, *, own: bool) -> float:
    if rung.ratio is None:
        return 0.0
    nu = rung.pairs - 1
    return nu / (nu - 2) if nu >= LEAST_FOR_F and not own else 1.0


def _dof(rungs: Sequence[PairSpread], shares: Sequence[float], here: int) -> float:
    """Degrees of freedom of (n - 1) own + 2 pooled, where each rung makes up `shares` of the pooled 2."""
    rung = rungs[here]
    own = rung.pairs - 1 + shares[here]
    borrowed = POOLED_WEIGHT - shares[here]
    # Twice the relative variance, part by part; what is borrowed is as uncertain as the rung's own sigma, too.
    squares = borrowed**2 * (1 / rung.noise_dof + 1 / RUNGS_DIFFER_DOF)
    if rung.pairs > 1:
        squares += own**2 / (rung.pairs - 1)
    for i, (other, share) in enumerate(zip(rungs, shares, strict=True)):
        if i != here and share > 0:
            squares += share**2 * (1 / (other.pairs - 1) + 1 / other.noise_dof)
    return (rung.pairs - 1 + POOLED_WEIGHT) ** 2 / squares
