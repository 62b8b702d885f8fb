"""Small studies drawn from a bank of finished runs, measured as a study measures, and counted against the bank's truth.

The bank holds, by rung, arm and horizon, the losses of many seeds on groups of held-out documents. A drawn study has a
few of the seeds and half of the documents; the truth is made of the other seeds and the other half, so that neither
shares its luck. Horizons are those that the bank has: a study that asks for another gets the nearest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.crossing import crossings_up_the_ladder
from transfer.held_out_text import text_variance
from transfer.horizons import MAX_HORIZONS, NEAR_T, Request, expected_shortening, look_pairs, next_request
from transfer.pairs import PairsAt, RungPairs, joined
from transfer.saving import Saving
from transfer.slope import LN_2, Slope, fit_slope, pooled_noise

Floats = NDArray[np.float64]

BASELINE = "baseline"
HORIZON_SEEDS, AA_SEEDS = 2, 4
TRUTH_WITHIN = 0.35
"""In ln tokens about the crossing: of the bank's horizons there the truth is interpolated by a parabola."""
MIN_SEEDS = 20
"""Of a horizon that studies may be drawn from."""
NORMAL_95 = 1.6449


@dataclass(frozen=True, slots=True, eq=False)
class BankRung:
    """One rung: losses (seeds, groups) by arm and shortening ln(T/horizon); seeds of all horizons in one order.

    `weights` (groups,): evaluation sequences of each group. `steps`: optimiser steps at T.
    """

    losses: Mapping[str, Mapping[float, Floats]]
    weights: Floats
    steps: int
    params: int

    def horizons(self, arm: str) -> list[float]:
        """Shortenings that studies may be drawn from, those with MIN_SEEDS seeds."""
        return sorted(g for g, losses in self.losses[arm].items() if len(losses) >= MIN_SEEDS)

    def nearest(self, arm: str, wanted: float) -> float:
        """The horizon that stands for the one that a study asks for."""
        return min(self.horizons(arm), key=lambda g: abs(g - wanted))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What one study sees of a rung: its seeds in order, the first for pairs, and its groups of documents."""

    rung: BankRung
    seeds: NDArray[np.intp]
    horizon_seeds: NDArray[np.intp]
    groups: NDArray[np.intp]

    @classmethod
    def of(cls, rung: BankRung, groups: NDArray[np.intp], rng: np.random.Generator) -> Draw:
        """Draw seeds from the bank's; `groups` are the study's, the same at all rungs."""
        at_t = rung.losses[BASELINE][0.0]
        few = min(len(losses) for losses in rung.losses[BASELINE].values())
        return cls(rung, rng.permutation(len(at_t)), rng.permutation(few)[:HORIZON_SEEDS], groups)

    @classmethod
    def of_all(cls, rung: BankRung) -> Draw:
        """All seeds, and no documents of a study's own: what the bank itself says."""
        at_t = rung.losses[BASELINE][0.0]
        return cls(rung, np.arange(len(at_t)), np.arange(HORIZON_SEEDS), np.array([], dtype=np.intp))

    def mean(self, losses: Floats) -> Floats:
        """Mean losses (seeds,) over the study's documents, of losses (seeds, groups)."""
        weights = self.rung.weights[self.groups]
        means: Floats = losses[:, self.groups] @ (weights / weights.sum())
        return means

    def pairs(self, arm: str, shortening: float, wanted: range) -> PairsAt:
        """Pairs of an arm on one of the bank's horizons, of the study's seeds in `wanted`."""
        chosen = self.seeds[wanted.start : wanted.stop]
        base, own = (self.rung.losses[name][g][chosen] for name, g in ((BASELINE, 0.0), (arm, shortening)))
        gaps = (base - own)[:, self.groups]
        text = text_variance(gaps, self.rung.weights[self.groups])
        return PairsAt(shortening, self.mean(base), self.mean(own), *text, first=wanted.start)

    def slope(self, pairs: int) -> Slope:
        """The baseline's slope as a study measures it: T/4, T/2, the pairs' own runs and those of A/A."""
        base = self.rung.losses[BASELINE]
        quarter, half = (self.mean(base[self._at(-g)][self.horizon_seeds]) for g in (2 * LN_2, LN_2))
        one, fresh = self.mean(base[0.0][self.seeds[:pairs]]), self.mean(base[0.0][self.seeds[-AA_SEEDS:]])
        return fit_slope(
            {-2 * LN_2: quarter, -LN_2: half, 0.0: np.concatenate([one, fresh])},
            pooled_noise([quarter, half, one, fresh]),
        )

    def _at(self, ln_tokens: float) -> float:
        return min(self.rung.losses[BASELINE], key=lambda g: abs(g + ln_tokens))

    def landing(self, arm: str, shortening: float, pairs: int, count: int) -> tuple[Floats, Floats, float]:
        """Losses (count,) of baseline and arm on seeds that no pair has, and the shortening that the bank has."""
        there = self.rung.nearest(arm, shortening)
        chosen = self.seeds[pairs : pairs + count]
        return (
            self.mean(self.rung.losses[BASELINE][0.0][chosen]),
            self.mean(self.rung.losses[arm][there][chosen]),
            there,
        )


def measured(draws: Sequence[Draw], arm: str, pairs: int, times: Sequence[Floats | None]) -> list[RungPairs]:
    """One arm up the ladder, as a study measures it: two pairs at T, then where it crosses, with `pairs` pairs.

    At the top it is looked for where it crosses at the rung below. `times`: its timing blocks by rung.
    """
    ladder: list[RungPairs] = []
    for index, draw in enumerate(draws):
        guess = 0.0
        if index and index == len(draws) - 1:
            guess = expected_shortening(crossings_up_the_ladder(ladder)[-1])
        first = Request(0.0 if guess < NEAR_T else guess, look_pairs(pairs))
        ladder.append(_crossed(draw, arm, first, pairs=pairs, below=ladder, times=times[index]))
    return ladder


def _crossed(
    draw: Draw, arm: str, first: Request, *, pairs: int, below: Sequence[RungPairs], times: Floats | None
) -> RungPairs:
    start = draw.pairs(arm, draw.rung.nearest(arm, first.ln_shortening), first.seeds)
    rung = RungPairs(draw.slope(pairs), (start,), times)
    for _ in range(MAX_HORIZONS):
        request = next_request([*below, rung], pairs)
        if request is None:
            break
        there = draw.rung.nearest(arm, request.ln_shortening)
        known = next((point.seeds for point in rung.points if point.ln_shortening == there), None)
        wanted = joined(known, request.seeds)
        if wanted == known:
            break
        rung = rung.with_point(draw.pairs(arm, there, wanted))
    return rung


@dataclass(frozen=True, slots=True)
class Truth:
    """lnS in tokens of one arm at one rung by the runs that a study has not seen, and its standard error."""

    ln_speedup: float
    se: float


def truth(draw: Draw, arm: str, used: int) -> Truth:
    """By the seeds after the first `used`, on the documents that the study does not read.

    The mean gaps on the bank's horizons near the crossing are interpolated by a parabola in ln tokens.
    """
    other = Draw(
        draw.rung, draw.seeds[used:], draw.horizon_seeds, np.setdiff1d(np.arange(len(draw.rung.weights)), draw.groups)
    )
    points = [other.pairs(arm, g, range(len(other.seeds))) for g in draw.rung.horizons(arm)]
    g, gaps = (
        np.array([point.ln_shortening for point in points]),
        np.array([point.differences.mean() for point in points]),
    )
    centre = _crossing(g, gaps)
    near = np.argsort(np.abs(g - centre))[: max(3, int((np.abs(g - centre) <= TRUTH_WITHIN).sum()))]
    curve = np.polynomial.Polynomial.fit(g[near], gaps[near], 2)
    roots = [float(root.real) for root in curve.roots() if abs(root.imag) < 1e-9]
    crossing = min(roots, key=lambda root: abs(root - centre)) if roots else centre
    slope = max(-float(curve.deriv()(crossing)), 1e-6)
    nearest = points[int(np.argmin(np.abs(g - crossing)))]
    variance = float(nearest.differences.var(ddof=1)) / nearest.pairs + nearest.text_variance
    return Truth(crossing, math.sqrt(variance) / slope)


def _crossing(g: Floats, gaps: Floats) -> float:
    """Where straight lines between the bank's horizons cross 0; beyond them along the last line."""
    order = np.argsort(g)
    g, gaps = g[order], gaps[order]
    below = np.flatnonzero(gaps <= 0)
    right = min(max(int(below[0]) if len(below) else len(g) - 1, 1), len(g) - 1)
    fall = (gaps[right - 1] - gaps[right]) / (g[right] - g[right - 1])
    return float(g[right - 1] + gaps[right - 1] / max(fall, 1e-6))


def holds(saving: Saving, known: Truth) -> bool:
    """Whether a 90 % interval holds the truth, which is itself known with an error: both errors are allowed for."""
    apart = NORMAL_95 * known.se
    off = known.ln_speedup - saving.ln_speedup
    reach = saving.high - saving.ln_speedup if off >= 0 else saving.ln_speedup - saving.low
    return abs(off) <= math.hypot(reach, apart)
