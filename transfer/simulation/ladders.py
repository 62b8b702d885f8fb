"""Ladders with known truth, for testing the method: finished losses of a power law, with noise that pairs share.

Pure: nothing is trained. At rung r the baseline's loss at T tokens is E + B T^-b; an arm behaves as if it had e^lnS
times the tokens.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from transfer.saving import RungPairs
from transfer.slope import LN_2, Slope, fit_slope, pooled_noise

Floats = NDArray[np.float64]

FLOOR = 3.0  # of the baseline's loss, in nats per token; only differences count


@dataclass(frozen=True, slots=True)
class World:
    """The truth of a ladder: kappa and curvature per rung, sigma of a run, and how it was measured.

    `correlation` of the two runs of a pair; `s_time` the sd of ln(seconds per token, arm / baseline) per pair;
    `seeds` baselines at T/2 and at 2T; `aa_pairs` pairs of baselines at T on seeds of their own. `sigmas` and
    `correlations` take the place of `sigma` and `correlation` where rungs differ, one per rung.
    """

    kappas: tuple[float, ...]
    curvatures: tuple[float, ...]
    sigma: float
    correlation: float
    pairs: int
    s_time: float = 0.01
    seeds: int = 2
    aa_pairs: int = 2
    sigmas: tuple[float, ...] = ()
    correlations: tuple[float, ...] = ()

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

    Arms are named alone:0, alone:1 and so on.
    """
    return simulate_arms(world, {f"alone:{i}": gain for i, gain in enumerate(gains)}, rng)


def simulate_arms(
    world: World,
    gains: Mapping[str, Sequence[float]],
    rng: np.random.Generator,
    *,
    pairs: Mapping[str, int] | None = None,
) -> Ladder:
    """Run one ladder with the arms named in `gains`, all paired with the same baselines, as in a study.

    `pairs` gives arms other numbers of pairs than the world's. Raises InputError where it gives one more than those.
    """
    counts = {arm: (pairs or {}).get(arm, world.pairs) for arm in gains}
    if any(not 1 <= count <= world.pairs for count in counts.values()):
        raise InputError(f"An arm needs 1 to {world.pairs} pairs, which is how many baselines the world has.")
    evidence: dict[str, list[RungPairs]] = {arm: [] for arm in gains}
    slopes, baselines, aa = [], [], []
    for r in range(len(world.kappas)):
        rung = _Rung.of(world, r)
        half, two = (rung.losses(x, rng.standard_normal(world.seeds)) for x in (-LN_2, LN_2))
        first, second = rung.losses(0.0, rng.standard_normal((2, world.aa_pairs)))
        common = rng.standard_normal(world.pairs)
        one = rung.losses(0.0, rung.paired(common, rng.standard_normal(world.pairs)))
        slope = fit_slope(half, one, two, pooled_noise([half, one, two, np.concatenate([first, second])]))
        aa.append((first, second))
        baselines.append((half, one, two))
        slopes.append(slope)
        noise = rung.paired(common, rng.standard_normal((len(gains), world.pairs)))
        times = world.s_time * rng.standard_normal((len(gains), world.pairs))
        for i, (arm, gain) in enumerate(gains.items()):
            n = counts[arm]
            evidence[arm].append(RungPairs(slope, one[:n], rung.losses(gain[r], noise[i, :n]), times[i, :n], 0.0))
    return Ladder(evidence, slopes, baselines, aa)


@dataclass(frozen=True, slots=True)
class _Rung:
    drop: float
    curvature: float
    sigma: float
    correlation: float

    @classmethod
    def of(cls, world: World, r: int) -> "_Rung":
        sigma = world.sigmas[r] if world.sigmas else world.sigma
        correlation = world.correlations[r] if world.correlations else world.correlation
        return cls(world.kappas[r] / world.curvatures[r], world.curvatures[r], sigma, correlation)

    def losses(self, ln_tokens: float, noise: Floats) -> Floats:
        return FLOOR + self.drop * math.exp(-self.curvature * ln_tokens) + self.sigma * noise

    def paired(self, common: Floats, own: Floats) -> Floats:
        return math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own
