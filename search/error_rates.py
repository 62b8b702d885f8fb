"""How often the rules of a search err, on simulated searches whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.simulated import Result, SearchWorld, Truth, draw_truth, keep_if_lower, screen_and_confirm

Floats = NDArray[np.float64]

SCREEN_AND_CONFIRM = "screen and confirm"
KEEP_IF_LOWER = "greedy"


@dataclass(frozen=True, slots=True)
class Rate:
    """A value and its standard error over searches; None where nothing was there to count, or to compare."""

    value: float | None
    se: float | None


@dataclass(frozen=True, slots=True)
class RuleRates:
    """What a rule does, per search, share or nats per token.

    kept: changes kept per search, placebos apart, as in all that follows. false_share: harmful or null among the kept.
    null_keep_rate: kept among the true nulls. placebo_keep_rate: kept among the placebos. power: kept among the real
    gains. runs_per_proposal: all runs, of calibration, references and placebos too, over the proposals.
    effect_bias: mean effect less true gain of the kept. effect_coverage: kept whose 90 % interval holds the true gain.
    """

    kept: Rate
    false_share: Rate
    null_keep_rate: Rate
    placebo_keep_rate: Rate
    power: Rate
    runs_per_proposal: Rate
    effect_bias: Rate
    effect_coverage: Rate


@dataclass(frozen=True, slots=True)
class SearchErrorRates:
    """Error rates in `world`, by rule: "screen and confirm", "greedy"."""

    world: SearchWorld
    rules: Mapping[str, RuleRates]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON: {"world": settings, "rules": {rule: {rate: {"value", "se"}}}}."""
        return {
            "world": self.world.model_dump(mode="json"),
            "rules": {rule: asdict(rates) for rule, rates in self.rules.items()},
        }


def error_rates(world: SearchWorld) -> SearchErrorRates:
    """Simulate `world.searches` searches by both rules; each has random streams of its own, from `world.seed`."""
    counts: dict[str, list[dict[str, tuple[float, float]]]] = {SCREEN_AND_CONFIRM: [], KEEP_IF_LOWER: []}
    for number in range(world.searches):
        truth_rng, confirm_rng, greedy_rng = np.random.default_rng([world.seed, number]).spawn(3)
        truth = draw_truth(world, truth_rng)
        counts[SCREEN_AND_CONFIRM].append(_count(world, truth, screen_and_confirm(world, truth, confirm_rng)))
        counts[KEEP_IF_LOWER].append(_count(world, truth, keep_if_lower(world, truth, greedy_rng)))
    return SearchErrorRates(world, {rule: _rates(one) for rule, one in counts.items()})


def _count(world: SearchWorld, truth: Truth, result: Result) -> dict[str, tuple[float, float]]:
    """Numerator and denominator of every rate, in one search."""
    proposed = ~truth.placebo
    kept = result.kept & proposed
    null, real = proposed & (truth.gains == 0), truth.gains > 0
    known = kept & np.isfinite(result.low)
    covered = (result.low <= truth.gains) & (truth.gains <= result.high)
    pairs = {
        "kept": (kept.sum(), 1),
        "false_share": ((kept & ~real).sum(), kept.sum()),
        "null_keep_rate": ((kept & null).sum(), null.sum()),
        "placebo_keep_rate": ((result.kept & truth.placebo).sum(), truth.placebo.sum()),
        "power": ((kept & real).sum(), real.sum()),
        "runs_per_proposal": (result.runs, world.proposals),
        "effect_bias": ((result.effect - truth.gains)[kept].sum(), kept.sum()),
        "effect_coverage": (covered[known].sum(), known.sum()),
    }
    return {name: (float(part), float(whole)) for name, (part, whole) in pairs.items()}


def _rates(counts: Sequence[Mapping[str, tuple[float, float]]]) -> RuleRates:
    return RuleRates(**{name: _ratio(np.array([one[name] for one in counts])) for name in counts[0]})


def _ratio(counts: Floats) -> Rate:
    """Ratio of the sums of counts (searches, 2); its standard error by linearisation (Cochran 1977, section 6)."""
    parts, wholes = counts.T
    total = float(wholes.sum())
    if total == 0:
        return Rate(None, None)
    value = float(parts.sum()) / total
    searches = len(counts)
    return Rate(value, float(np.sqrt(searches / (searches - 1) * np.sum((parts - value * wholes) ** 2)) / total))
