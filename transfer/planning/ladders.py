"""The ladders that a plan may choose from: what each costs, and how well each rung would tell the saving.

What a rung will say is not a formula of its own: finished losses with the expected mean and spread go through the very
functions that judge real ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from scaling.laws.inputs import FLOPS_PER_PARAM_TOKEN
from transfer.pairs import PairsAt, RungPairs
from transfer.planning.world import Design, Floats, RecommenderSettings
from transfer.saving import Axis
from transfer.saving_estimate import savings_up_the_ladder
from transfer.slope import Noise, Slope, fit_slope

OUTER_HORIZONS = (0.5, 2.0)
HORIZONS = (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Effort:
    """What is done at a rung: tokens per param, where arms run, baseline seeds at T/2 and 2T each, pairs at T."""

    tokens_per_param: float
    design: Design
    seeds: int
    pairs: int

    def runs(self, settings: RecommenderSettings, *, top: bool) -> int:
        """Runs of the rung: baselines, A/A and arms; the landing's at the top."""
        outer = len(OUTER_HORIZONS) * self.seeds * self._arms_outside(settings)
        return self._runs_at_horizon(settings, top=top) + outer

    def flops(self, settings: RecommenderSettings, params: float, *, top: bool) -> float:
        """FLOPs of those runs, each 6 N D; a landing run is counted in full, for it may have nothing to shorten."""
        outer = sum(OUTER_HORIZONS) * self.seeds * self._arms_outside(settings)
        one = FLOPS_PER_PARAM_TOKEN * params**2 * self.tokens_per_param
        return one * (self._runs_at_horizon(settings, top=top) + outer)

    @property
    def pairs_in_all(self) -> int:
        """Pairs of an arm at all horizons."""
        return self.pairs + (len(OUTER_HORIZONS) * self.seeds if self.design == "every" else 0)

    def worth(self, curvature: float) -> float:
        """Pairs at T that all pairs of an arm are worth, when the lnS of the horizons are averaged with equal weight.

        At T/2 and 2T the slope is 2^b and 2^-b times that at T, so the errors of lnS are as many times smaller.
        """
        if self.design == "one":
            return float(self.pairs)
        outer = sum(math.pow(horizon, 2 * curvature) for horizon in OUTER_HORIZONS) / self.seeds
        return len(HORIZONS) ** 2 / (1 / self.pairs + outer)

    def _arms_outside(self, settings: RecommenderSettings) -> int:
        return 1 + (settings.arms if self.design == "every" else 0)

    def _runs_at_horizon(self, settings: RecommenderSettings, *, top: bool) -> int:
        landing = 2 * settings.landing_pairs if top else 0
        return self.pairs * (1 + settings.arms) + 2 * settings.aa_pairs + landing


@dataclass(frozen=True, slots=True, eq=False)
class Ladders:
    """All plans (P,) on the same rungs: `sizes` (R,) are their indices, `plans` the efforts' below the top and there.

    `ln_speedups`, `errors` and `dofs` (P, R) are what each rung is expected to say, `flops` (P,) of all runs.
    """

    sizes: tuple[int, ...]
    plans: list[tuple[int, int]]
    ln_speedups: Floats
    errors: Floats
    dofs: Floats
    flops: Floats


def efforts(settings: RecommenderSettings) -> list[Effort]:
    """Every effort that a rung may be given."""
    choices = product(settings.tokens_per_param, settings.designs, settings.horizon_seeds, settings.pairs)
    return [Effort(*choice) for choice in choices]


def ladders(settings: RecommenderSettings, choices: list[Effort]) -> Iterator[Ladders]:
    """All ladders of 2 to `most_rungs` rungs, as near to geometric as the sizes allow; lowest first.

    The rungs below the top have the same number of pairs, which may be more than at the top: they are cheap.
    """
    params = settings.size_choices
    rungs = _Rungs.of(settings, params, choices)
    plans = [
        (i, j)
        for (i, one), (j, two) in product(enumerate(choices), repeat=2)
        if (one.tokens_per_param, one.design, one.seeds) == (two.tokens_per_param, two.design, two.seeds)
    ]
    for first, last in combinations(range(len(params)), 2):
        for many in range(2, min(settings.most_rungs, last - first + 1) + 1):
            sizes = tuple(int(i) for i in np.rint(np.linspace(first, last, many)))
            yield rungs.ladders(sizes, plans, settings.axis)


def planned_pairs(settings: RecommenderSettings, params: float, effort: Effort) -> RungPairs:
    """A rung's pairs as they are expected where the arm crosses: so many differences, with the expected variance.

    Where arms run at T/2 and 2T too, each pair there counts as a pair at T, and what their slopes make of the noise is
    shared out over all.
    """
    tokens = effort.tokens_per_param * params
    slope = planned_slope(settings, params, effort)
    one = _loss(settings, tokens, 0.0)
    pairs = effort.pairs_in_all
    spread = settings.sigma_at(params) * math.sqrt(
        2 * (1 - settings.correlation) * pairs / effort.worth(settings.law.beta)
    )
    baseline = np.full(pairs, one)
    times = settings.s_time * _spread_out(effort.pairs)
    crossed = PairsAt(settings.ln_speedup(params), baseline, baseline + spread * _spread_out(pairs))
    return RungPairs(slope, (crossed,), times, 0.0)


def planned_slope(settings: RecommenderSettings, params: float, effort: Effort) -> Slope:
    """The slope that the rung's baselines are expected to give, with its errors."""
    tokens = effort.tokens_per_param * params
    half, one, two = (_loss(settings, tokens, math.log(horizon)) for horizon in HORIZONS)
    dof = (effort.pairs - 1) + 2 * (effort.seeds - 1) + (2 * settings.aa_pairs - 1)
    outer = np.ones(effort.seeds)
    noise = Noise(settings.sigma_at(params), dof, assumed=True)
    ln_half, ln_one, ln_two = (math.log(horizon) for horizon in HORIZONS)
    return fit_slope({ln_half: half * outer, ln_one: np.full(effort.pairs, one), ln_two: two * outer}, noise)


def _loss(settings: RecommenderSettings, tokens: float, ln_more: float) -> float:
    """The baseline's loss with e^ln_more times the tokens, above what no tokens remove."""
    return settings.kappa(tokens) / settings.law.beta * math.exp(-settings.law.beta * ln_more)


def _spread_out(many: int) -> Floats:
    """So many numbers with mean 0 and sample variance 1."""
    even = np.linspace(-1.0, 1.0, many)
    spread: Floats = even / even.std(ddof=1)
    return spread


@dataclass(frozen=True, slots=True, eq=False)
class _Rungs:
    """Of each size and effort, (S, K): the pairs that are expected, and FLOPs below the top and at the top."""

    pairs: list[list[RungPairs]]
    flops: Floats
    flops_top: Floats

    @classmethod
    def of(cls, settings: RecommenderSettings, params: Floats, choices: list[Effort]) -> "_Rungs":
        sizes = [float(size) for size in params]
        flops, flops_top = (
            np.array([[one.flops(settings, size, top=top) for one in choices] for size in sizes])
            for top in (False, True)
        )
        return cls([[planned_pairs(settings, size, one) for one in choices] for size in sizes], flops, flops_top)

    def ladders(self, sizes: tuple[int, ...], plans: list[tuple[int, int]], axis: Axis) -> Ladders:
        *lower, last = sizes
        said = np.empty((len(plans), len(sizes), 3))
        for row, (below, top) in enumerate(plans):
            rungs = [*(self.pairs[size][below] for size in lower), self.pairs[last][top]]
            said[row] = [(s.ln_speedup, s.ln_speedup_se, s.dof) for s in savings_up_the_ladder(rungs, axis)]
        below, top = np.array(plans, dtype=np.intp).T
        flops = self.flops[lower][:, below].sum(0) + self.flops_top[last, top]
        return Ladders(sizes, plans, said[..., 0], said[..., 1], said[..., 2], flops)
