"""Pairs of finished runs of an arm and the baseline, on one horizon and at one rung."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import InputError
from transfer.crossing_fit import SHARED
from transfer.pair_variance import PairSpread
from transfer.slope import Noise, Slope


@dataclass(frozen=True, slots=True, eq=False)
class PairsAt:
    """Finished losses (pairs,) of an arm on T e^-`ln_shortening` tokens, and of the baseline on T, of the same seeds.

    `text_variance`: variance of the mean difference by the choice of the held-out text, in squared nats, with its
    degrees of freedom; all pairs share that text, so that more pairs do not lower it. `first`: the first of their
    seeds, numbered within the rung; the others follow it.
    """

    ln_shortening: float
    baseline: NDArray[np.float64]
    arm: NDArray[np.float64]
    text_variance: float = 0.0
    text_dof: float = math.inf
    first: int = 0

    def __post_init__(self) -> None:
        """Raise InputError where the losses are unpaired, empty or not finite."""
        baseline, arm = _array(self.baseline, "losses"), _array(self.arm, "losses")
        if baseline.shape != arm.shape:
            raise InputError(f"Pairs need one arm run per baseline run, got {len(arm)} and {len(baseline)}.")
        object.__setattr__(self, "baseline", baseline)
        object.__setattr__(self, "arm", arm)

    @property
    def pairs(self) -> int:
        """Their number."""
        return len(self.arm)

    @property
    def seeds(self) -> range:
        """The seeds of the pairs, numbered within the rung."""
        return range(self.first, self.first + len(self.arm))

    @property
    def differences(self) -> NDArray[np.float64]:
        """Baseline less arm (pairs,), in nats: positive where the arm ends lower although it was shortened."""
        return self.baseline - self.arm


@dataclass(frozen=True, slots=True, eq=False)
class RungPairs:
    """All that is known of one arm at one rung: the baseline's slope at T, and the arm's pairs by horizon.

    `ln_time_ratios` (blocks,): ln(seconds per token, arm / baseline) of each timed block; `ln_flops_ratio`: the same of
    FLOPs per token, counted, so without error. None where unknown; the axis that needs it then gives no number.
    """

    slope: Slope
    points: tuple[PairsAt, ...]
    ln_time_ratios: NDArray[np.float64] | None = None
    ln_flops_ratio: float | None = None
    sums: "PairSums" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Sum the points up. Raises InputError where there is none, or a time ratio is not finite."""
        if not self.points:
            raise InputError("An arm needs pairs on at least one horizon.")
        times = None if self.ln_time_ratios is None else _array(self.ln_time_ratios, "time ratios")
        object.__setattr__(self, "ln_time_ratios", times)
        object.__setattr__(self, "sums", PairSums.of(self.points))

    @classmethod
    def at_horizon(
        cls,
        slope: Slope,
        baseline: ArrayLike,
        arm: ArrayLike,
        ln_time_ratios: ArrayLike | None = None,
        ln_flops_ratio: float | None = None,
    ) -> "RungPairs":
        """Pairs at T alone, each array of shape (pairs,)."""
        times = None if ln_time_ratios is None else np.asarray(ln_time_ratios, dtype=np.float64)
        return cls(slope, (PairsAt(0.0, np.asarray(baseline), np.asarray(arm)),), times, ln_flops_ratio)

    @property
    def pairs(self) -> int:
        """Seeds that the arm was paired on, on whatever horizon."""
        return len(set().union(*(point.seeds for point in self.points)))

    def with_point(self, point: PairsAt) -> "RungPairs":
        """The same with pairs on one more horizon, in the place of those that it had there."""
        others = tuple(one for one in self.points if one.ln_shortening != point.ln_shortening)
        return replace(self, points=(*others, point))


@dataclass(frozen=True, slots=True)
class PairSums:
    """What the formulas need of a rung's points (horizons,), summed once."""

    shortenings: NDArray[np.float64]
    gaps: NDArray[np.float64]
    pairs: NDArray[np.float64]
    first: NDArray[np.float64]
    variance: float
    dof: float

    @classmethod
    def of(cls, points: Sequence[PairsAt]) -> "PairSums":
        """Sum the points up; their variance is pooled within horizons."""
        moments = [_moments(point.differences) for point in points]
        free = sum(point.pairs - 1 for point in points)
        # Differences on two horizons and one seed share the baseline's run, so that their squares tell less than two.
        again = sum(
            max(_common(one, other) - 1, 0) for i, one in enumerate(points) for j, other in enumerate(points) if i != j
        )
        dof = free**2 / (free + SHARED**2 * again) if free else 0.0
        return cls(
            np.array([point.ln_shortening for point in points]),
            np.array([mean for mean, _ in moments]),
            np.array([float(point.pairs) for point in points]),
            np.array([float(point.first) for point in points]),
            sum(squares for _, squares in moments) / free if free else math.nan,
            dof,
        )

    def spread(self, noise: Noise) -> PairSpread:
        """The scatter of the pairs in units of the noise of one run."""
        tells = self.dof > 0 and noise.sigma > 0
        return PairSpread(self.dof + 1, self.variance / noise.sigma**2 if tells else None, noise.dof)


def joined(known: range | None, wanted: range) -> range:
    """All seeds from the first to the last of both; `known` is None where a horizon has none yet."""
    return wanted if known is None else range(min(known.start, wanted.start), max(known.stop, wanted.stop))


def _common(one: PairsAt, other: PairsAt) -> int:
    """Seeds that both have."""
    return len(range(max(one.first, other.first), min(one.seeds.stop, other.seeds.stop)))


def _moments(values: NDArray[np.float64]) -> tuple[float, float]:
    # Plain sums: for the handful of pairs of a rung they are several times faster than numpy's reductions.
    items = values.tolist()
    mean = math.fsum(items) / len(items)
    return mean, math.fsum((item - mean) ** 2 for item in items)


def _array(values: ArrayLike, what: str) -> NDArray[np.float64]:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or array.size == 0 or not all(map(math.isfinite, array.tolist())):
        raise InputError(f"The {what} of a rung's pairs must be a non-empty list of finite numbers.")
    return array
