"""Ladders with known truth, for testing the method: finished losses on curves of many shapes, with noise pairs share.

Pure: nothing is trained. An arm ends as the baseline would on e^lnS times its tokens; it is looked for where it crosses
by the rule that a study uses.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from transfer.bent_line import drop
from transfer.horizons import MAX_HORIZONS, Request, next_requests
from transfer.pairs import PairsAt, RungPairs
from transfer.slope import LN_2, Slope, fit_slope, pooled_noise

Floats = NDArray[np.float64]
Curve = Literal["power", "double", "transition"]

FLOOR = 3.0  # of the baseline's loss, in nats per token; only differences count
DOUBLE = ((0.6, 0.2), (0.4, 1.2))
"""Shares of the slope at T, and curvatures, of a sum of two exponentials in ln T."""
TRANSITION_SHARE, TRANSITION_AT, TRANSITION_WIDTH = 0.5, 0.7, 0.35
"""Of the slope at T that a logistic fall makes, whose middle lies ahead: in ln tokens beyond T, and its width."""


@dataclass(frozen=True, slots=True)
class World:
    """The truth of a ladder: kappa and curvature per rung, sigma of a run, and how it was measured.

    `correlation` of the two runs of a pair; `s_time` the sd of ln(seconds per token, arm / baseline) between the
    `blocks` of a timing, and `shared_clock` the sd of what all arms' timings in a block have in common; `seeds`
    baselines at T/4 and at T/2; `aa_pairs` pairs of baselines at T on seeds of their own. `sigmas`, `correlations` and
    `s_times` take the place of the one number where rungs differ, one per rung. `curve`: the shape of the loss in ln T;
    `mistuned`: nats over kappa by which the baseline's shorter horizons end too high.
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
    s_times: tuple[float, ...] = ()
    shared_clock: float = 0.0
    blocks: int = 4
    curve: Curve = "power"
    mistuned: float = 0.0

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
    """One simulated ladder: evidence by arm; by rung the slope, baselines at T/4, T/2 and T, and both A/A halves."""

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

    `pairs` gives arms other numbers of pairs than the world's; they are then timed in as many blocks, if those are more
    than the world's. Raises InputError where it gives one more pairs than the world has.
    """
    counts = {arm: (pairs or {}).get(arm, world.pairs) for arm in gains}
    if any(not 1 <= count <= world.pairs for count in counts.values()):
        raise InputError(f"An arm needs 1 to {world.pairs} pairs, which is how many baselines the world has.")
    blocks = {arm: max(world.blocks, counts[arm]) if pairs else world.blocks for arm in gains}
    evidence: dict[str, list[RungPairs]] = {arm: [] for arm in gains}
    slopes, baselines, aa = [], [], []
    for r in range(len(world.kappas)):
        rung = _Rung.of(world, r)
        quarter, half = (
            rung.losses(x, rng.standard_normal(world.seeds)) + world.mistuned * rung.kappa for x in (-2 * LN_2, -LN_2)
        )
        first, second = rung.losses(0.0, rng.standard_normal((2, world.aa_pairs)))
        common = rng.standard_normal(world.pairs)
        one = rung.losses(0.0, rung.paired(common, rng.standard_normal(world.pairs)))
        slope = fit_slope(
            {-2 * LN_2: quarter, -LN_2: half, 0.0: np.concatenate([one, first, second])},
            pooled_noise([quarter, half, one, np.concatenate([first, second])]),
        )
        aa.append((first, second))
        baselines.append((quarter, half, one))
        slopes.append(slope)
        shared = world.shared_clock * rng.standard_normal(max(blocks.values()))
        bench = _Bench(rung, common, one, rng)
        for arm in gains:
            times = shared[: blocks[arm]] + rung.s_time * rng.standard_normal(blocks[arm])
            start = Request(0.0, min(2, counts[arm]))
            evidence[arm].append(RungPairs(slope, (bench.pairs(start, gains[arm][r]),), times, 0.0))
        _cross(evidence, counts, {arm: gain[r] for arm, gain in gains.items()}, bench)
    return Ladder(evidence, slopes, baselines, aa)


def _cross(
    evidence: dict[str, list[RungPairs]], counts: Mapping[str, int], gains: Mapping[str, float], bench: "_Bench"
) -> None:
    """Run every arm where it crosses at the last rung, by the rule of a study."""
    for pairs in sorted(set(counts.values())):
        going = [arm for arm in evidence if counts[arm] == pairs]
        for _ in range(MAX_HORIZONS):
            asked = next_requests([evidence[arm] for arm in going], pairs)
            wanted = {arm: request for arm, request in zip(going, asked, strict=True) if request is not None}
            for arm, request in wanted.items():
                evidence[arm][-1] = evidence[arm][-1].with_point(bench.pairs(request, gains[arm]))
            going = list(wanted)
            if not going:
                break


@dataclass(frozen=True, slots=True)
class _Bench:
    """Makes pairs at one rung: the baseline's runs at T are those that all arms share."""

    rung: "_Rung"
    common: Floats
    baseline: Floats
    rng: np.random.Generator

    def pairs(self, request: Request, gain: float) -> PairsAt:
        chosen = slice(request.first, request.first + request.pairs)
        noise = self.rung.paired(self.common[chosen], self.rng.standard_normal(request.pairs))
        losses = self.rung.losses(gain - request.ln_shortening, noise)
        return PairsAt(request.ln_shortening, self.baseline[chosen], losses, first=request.first)


@dataclass(frozen=True, slots=True)
class _Rung:
    kappa: float
    curvature: float
    sigma: float
    correlation: float
    s_time: float
    curve: Curve

    @classmethod
    def of(cls, world: World, r: int) -> "_Rung":
        sigma = world.sigmas[r] if world.sigmas else world.sigma
        correlation = world.correlations[r] if world.correlations else world.correlation
        s_time = world.s_times[r] if world.s_times else world.s_time
        return cls(world.kappas[r], world.curvatures[r], sigma, correlation, s_time, world.curve)

    def losses(self, ln_tokens: float, noise: Floats) -> Floats:
        return FLOOR - self.kappa * self._drop(ln_tokens) + self.sigma * noise

    def _drop(self, x: float) -> float:
        """How far the loss falls from T to e^x T, in units of kappa."""
        if self.curve == "double":
            return sum(share * float(drop(np.array(x), np.array(b))) for share, b in DOUBLE)
        if self.curve == "transition":
            here, there = (1 / (1 + math.exp(-(ln - TRANSITION_AT) / TRANSITION_WIDTH)) for ln in (0.0, x))
            steepness = here * (1 - here) / TRANSITION_WIDTH
            share = TRANSITION_SHARE
            return share * (there - here) / steepness + (1 - share) * self._power(x)
        return self._power(x)

    def _power(self, x: float) -> float:
        return float(drop(np.array(x), np.array(self.curvature)))

    def paired(self, common: Floats, own: Floats) -> Floats:
        return math.sqrt(self.correlation) * common + math.sqrt(1 - self.correlation) * own
