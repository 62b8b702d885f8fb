"""Which horizon an arm is run on next, so that it is seen where it ends at the baseline's finished loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transfer.crossing import MAX_SHORTENING, NEARBY, Crossing, last_crossings
from transfer.pairs import RungPairs, joined

MAX_HORIZONS = 5
MAX_STEP = 1.2
"""In ln tokens, beyond the shortest horizon run so far: further on the slope there says little."""
ASSUMED_SHARE = 0.3
"""The error by slope, curvature and misfit over that of pairs and text, at which no further horizon is run."""
LOOK_SHARE, MIN_LOOK = 0.25, 2
"""Of an arm's pairs, those on a horizon where it is looked for; the others follow where it was seen to cross."""
SURE = 0.15
"""Standard error of a crossing, in ln tokens, up to which all pairs are made there at once."""
NEAR_T = 0.1
"""A crossing so near T in ln tokens is looked for at T itself, where the arm has pairs already."""
ROUNDING = 1e-9
MAX_ROUNDS = 2 * MAX_HORIZONS
"""A round fills a horizon that was looked at, or tries a new one; one that fails is left out."""
SAME = 0.02
"""Horizons closer than this in ln tokens are the same."""


@dataclass(frozen=True, slots=True)
class Request:
    """Pairs that an arm still needs on T e^-`ln_shortening` tokens: `pairs` of them, on seeds from `first` on."""

    ln_shortening: float
    pairs: int
    first: int = 0

    @property
    def seeds(self) -> range:
        """Their seeds, numbered within the rung."""
        return range(self.first, self.first + self.pairs)


def next_request(
    rungs: Sequence[RungPairs],
    pairs: int,
    *,
    longest: float = 0.0,
    steps: int | None = None,
    shortest: float = MAX_SHORTENING,
) -> Request | None:
    """What to run next at the last of an arm's `rungs`, to have `pairs` pairs where it crosses; None when it is done.

    Every pair that is made near the crossing counts, on whatever horizon, so that each seed is run there once: a first
    look on a quarter of them, and the others where that puts the crossing. Where slope and curvature still matter
    then, a quarter of them is run there once more.

    `longest`: how far beyond T an arm that is worse may be run, as ln(horizon/T). `steps`: optimiser steps at T, of
    which every horizon has a whole number. `shortest`: the largest shortening to ask for, where an arm fails beyond.
    """
    return next_requests([rungs], pairs, longest=longest, steps=steps, shortest=[shortest])[0]


def next_requests(
    arms: Sequence[Sequence[RungPairs]],
    pairs: int,
    *,
    longest: float = 0.0,
    steps: int | None = None,
    shortest: Sequence[float] = (),
) -> list[Request | None]:
    """`next_request` of many arms, each with its own `shortest` where one is given."""
    bounds = list(shortest) or [MAX_SHORTENING] * len(arms)
    return [
        None if crossing is None else _next(rungs[-1], crossing, pairs, (-longest, bound), steps)
        for rungs, crossing, bound in zip(arms, last_crossings(arms), bounds, strict=True)
    ]


def _next(
    rung: RungPairs, crossing: Crossing, pairs: int, between: tuple[float, float], steps: int | None
) -> Request | None:
    run = {point.ln_shortening: point.seeds for point in rung.points}
    longest, shortest = between
    wanted = min(max(crossing.shortening, longest), shortest, max(*run, 0.0) + MAX_STEP)
    if len(run) >= MAX_HORIZONS:
        wanted = min(run, key=lambda known: abs(known - wanted))
    wanted = whole_steps(wanted, steps, shortest)
    near = {seed for at, seeds in run.items() if abs(at - wanted) <= NEARBY for seed in seeds}
    left = [seed for seed in range(pairs) if seed not in near]
    rest = range(left[0], left[-1] + 1) if left else range(0)
    if not left and (crossing.assumed <= ASSUMED_SHARE * (crossing.noise + crossing.text) or len(run) >= MAX_HORIZONS):
        return None
    if left and abs(wanted) < NEAR_T and len(run.get(0.0, ())) < pairs:
        wanted = 0.0
    unsure = not near and math.sqrt(crossing.noise + crossing.assumed) > SURE and len(run) < MAX_HORIZONS - 1
    request = _request(wanted, range(look_pairs(pairs)) if unsure or not left else rest, run)
    return _request(wanted, rest, run) if request is None and left else request


def _request(wanted: float, seeds: range, run: Mapping[float, range]) -> Request | None:
    """The request, in which a horizon that was run already keeps its seeds; None where it has all of them."""
    same = next((known for known in run if abs(known - wanted) < SAME), None)
    if same is None:
        return Request(wanted, len(seeds), seeds.start)
    both = joined(run[same], seeds)
    return None if both == run[same] else Request(same, len(both), both.start)


def expected_shortening(crossing: Crossing | None) -> float:
    """Where an arm is first looked for that should cross as another, or as it did at the rung below; T without one."""
    return 0.0 if crossing is None else min(max(crossing.shortening, 0.0), MAX_SHORTENING)


def look_pairs(pairs: int) -> int:
    """How many of an arm's `pairs` are made where it is looked for."""
    return min(pairs, max(MIN_LOOK, math.ceil(LOOK_SHARE * pairs)))


def whole_steps(ln_shortening: float, steps: int | None, shortest: float = math.inf) -> float:
    """The nearest shortening, none beyond `shortest`, at which a horizon has a whole number of `steps`, one at least.

    Without `steps` horizons may have any length.
    """
    if steps is None:
        return min(ln_shortening, shortest)
    count = max(1, round(steps * math.exp(-ln_shortening)))
    if math.log(steps / count) > shortest + ROUNDING:
        count = math.ceil(steps * math.exp(-shortest) - ROUNDING)
    return math.log(steps / count)
