"""Ladders with known truth, for testing the method: finished losses of a power law, with noise that pairs share.

Pure: nothing is trained. At rung r the baseline's loss at T tokens is E + B T^-b; an arm behaves as if it had e^lnS
times the tokens.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.saving import RungPairs
from transfer.slope import Slope, fit_slope, pooled_noise

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """The truth of a ladder: kappa and curvature per rung, sigma of a run, and how it was measured.

    `correlation` of the two runs of a pair; `s_time` the sd of ln(seconds per token, arm / baseline) per pair;
    `seeds` baselines at T/2 and at 2T; `aa_pairs` pairs of baselines at T on seeds of their own.
    """

    kappas: tuple[float, ...]
    curvatures: tuple[float, ...]
    sigma: float
    correlation: float
    pairs: int
    s_time: float = 0.01
    seeds: int = 2
    aa_pairs: int = 2

    @property
    def params(self) -> Floats:
        """Parameters of each rung, three times those below."""
        return np.asarray(1e6 * 3.0 ** np.arange(len(self.kappas)), dtype=np.float64)


def llm(correlation: float, pairs: int) -> World:
    """Four rungs as large language models have them: little noise, a flat slope."""
    return World((0.21, 0.18, 0.15, 0.12), (0.35, 0.35, 0.35, 0.35), 0.001, correlation, pairs)


def cpu(correlation: float, pairs: int) -> World:
    """Four rungs as tiny models on a CPU have them: much noise, a steep slope."""
    return World((0.5, 0.47, 0.43, 0.4), (0.5, 0.5, 0.5, 0.5), 0.03, correlation, pairs)


@dataclass(frozen=True, slots=True)
class Ladder:
    """One simulated ladder: evidence by arm; by rung the slope, baselines at T/2, T and 2T, and both A/A halves."""

    evidence: dict[str, list[RungPairs]]
    slopes: list[Slope]
    baselines: list[tuple[Floats, Floats, Floats]]
    aa: list[tuple[Floats, Floats]]


def simulate(world: World, gains: Sequence[Sequence[float]], rng: np.random.Generator) -> Ladder:
    """Run one ladder. `gains` holds the true lnS (in tokens, and in seconds) of each arm at each rung, (arms, rungs).

    All arms are paired with the same baselines, as in a study; arms are named alone:0, alone:1 and so on.
    """
    shared, own = math.sqrt(world.correlation), math.sqrt(1 - world.correlation)
    evidence: dict[str, list[RungPairs]] = {f"alone:{i}": [] for i in range(len(gains))}
    slopes, baselines, aa = [], [], []
    for r, (kappa, b) in enumerate(zip(world.kappas, world.curvatures, strict=True)):

        def loss(ln_tokens: float, noise: Floats, kappa: float = kappa, b: float = b) -> Floats:
            return 3.0 + kappa / b * math.exp(-b * ln_tokens) + world.sigma * noise

        half = loss(-math.log(2), rng.standard_normal(world.seeds))
        two = loss(math.log(2), rng.standard_normal(world.seeds))
        common = rng.standard_normal(world.pairs)
        one = loss(0.0, shared * common + own * rng.standard_normal(world.pairs))
        halves = loss(0.0, rng.standard_normal((2, world.aa_pairs)))
        aa.append((halves[0], halves[1]))
        baselines.append((half, one, two))
        slopes.append(fit_slope(half, one, two, pooled_noise([half, one, two, halves.ravel()])))
        for i, gain in enumerate(gains):
            arm = loss(gain[r], shared * common + own * rng.standard_normal(world.pairs))
            times = world.s_time * rng.standard_normal(world.pairs)
            evidence[f"alone:{i}"].append(RungPairs(slopes[r], one, arm, times, 0.0))
    return Ladder(evidence, slopes, baselines, aa)
