"""Simulated ladders judged as a study's are, and counted: what `transfer.simulation.error_rates` makes its shares from.

A block of ladders has a random stream of its own, so that the counts are the same however blocks are spread over
processes.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from transfer.aa import check
from transfer.power import POWER, Expected, Settling, pair_variance, pairs_for, pairs_needed
from transfer.saving import Saving, difference
from transfer.saving_estimate import savings_of_arms
from transfer.simulation.ladders import Ladder, simulate_arms
from transfer.simulation.worlds import LadderWorld
from transfer.words import STACK, Word, judge

Counts = NDArray[np.int64]

WORDS: tuple[Word, ...] = get_args(Word)
BLOCK = 50
MOST_PLANNED = 128


def right_word(bottom: float, top: float, delta: float) -> Settling:
    """The word that the truth deserves, from lnS at rung 0 and at the top: a top below delta is nothing."""
    if abs(top) < delta:
        return "vanishes"
    if top < 0:
        return "reverses" if bottom > 0 else "harmful"
    if abs(top - bottom) <= delta / 2:
        return "transfers"
    return "grows" if top > bottom else "shrinks"


def planned_pairs(world: LadderWorld, finding: str) -> int | None:
    """Pairs that `transfer.power.pairs_needed` plans for the right word on a finding; None above MOST_PLANNED.

    A reversal must show its gain at rung 0 too, so it needs the pairs of both. No number is planned for a gain that is
    real, but too small to be worth having.
    """
    gain = world.truths[finding]
    top, bottom = float(gain[-1]), float(gain[0])
    if is_too_small(top, world.delta):
        return None
    times = world.s_time if world.axis == "seconds" else [0.0] * len(world.s_time)
    above, below = (pair_variance(world.sigma[r], world.kappas[r], world.correlation[r], times[r]) for r in (-1, 0))
    word = right_word(bottom, top, world.delta)
    pairs = pairs_needed(word, Expected(top, bottom, above, below, world.delta, len(world.gains), world.alpha))
    if word == "reverses":
        gained = pairs_for(bottom, below, alpha=world.alpha, power=POWER[word])
        pairs = None if pairs is None or gained is None else max(pairs, gained)
    return pairs if pairs is not None and pairs <= MOST_PLANNED else None


def is_too_small(top: float, delta: float) -> bool:
    """Whether a true lnS at the top is neither nothing nor worth having; such findings are counted apart."""
    return 0 < abs(top) < delta


@dataclass(slots=True)
class Tally:
    """Counts over ladders. By arm and rung: intervals given and those that hold the truth; by arm and word; by arm.

    `sums`: ladders in which the 90 % interval of the sum of singles holds the stack's truth at the top, and all.
    """

    ladders: int
    given: Counts
    covered: Counts
    words: Counts
    fragile: Counts
    frozen_rungs: int
    sums: Counts

    @classmethod
    def empty(cls, arms: int, rungs: int) -> "Tally":
        """No ladders yet."""
        shape = (arms, rungs)
        given, covered, words, fragile, sums = (
            np.zeros(size, dtype=np.int64) for size in (shape, shape, (arms, len(WORDS)), arms, 2)
        )
        return cls(0, given, covered, words, fragile, 0, sums)

    def __iadd__(self, other: "Tally") -> "Tally":
        """Add the counts of other ladders."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self


def count_block(world: LadderWorld, planned: Mapping[str, int] | None, block: int, ladders: int) -> Tally:
    """Simulate and judge `ladders` of a world; with `planned`, its findings alone, each with so many pairs."""
    stream = [world.seed, zlib.crc32(world.name.encode()), int(planned is not None), block]
    rng = np.random.default_rng(np.random.SeedSequence(stream))
    arms = [arm for arm in world.truths if planned is None or arm in planned]
    seeming = {arm: world.seeming[arm].tolist() for arm in arms}
    measured = world.measured(max(planned.values()) if planned else world.pairs)
    tally = Tally.empty(len(arms), len(world.params))
    truths = np.array([world.truths[arm] for arm in arms])
    for _ in range(ladders):
        _count(world, simulate_arms(measured, seeming, rng, pairs=planned), truths, tally)
    return tally


def _count(world: LadderWorld, ladder: Ladder, truths: NDArray[np.float64], tally: Tally) -> None:
    tally.ladders += 1
    frozen = sum(
        check(*halves, slope, others=others).frozen
        for slope, others, halves in zip(ladder.slopes, ladder.baselines, ladder.aa, strict=True)
    )
    tally.frozen_rungs += frozen
    invalid = dict.fromkeys(ladder.evidence, "a rung is frozen") if frozen else {}
    words = judge(
        ladder.evidence, axis=world.axis, smallest_saving=world.smallest_saving, invalid=invalid, alpha=world.alpha
    )
    tops: dict[str, Saving] = {}
    measured = savings_of_arms(list(ladder.evidence.values()), world.axis)
    for i, (arm, savings) in enumerate(zip(ladder.evidence, measured, strict=True)):
        tops[arm] = savings[-1]
        tally.given[i] += [saving.known for saving in savings]
        tally.covered[i] += [
            saving.known and saving.low <= truth <= saving.high
            for saving, truth in zip(savings, truths[i], strict=True)
        ]
        tally.words[i, WORDS.index(words[arm].word)] += 1
        tally.fragile[i] += words[arm].fragile
    if STACK in tops:
        singles = _sum([tops[name] for name in world.stack])
        tally.sums += [singles.low <= truths[-1, -1] <= singles.high, singles.known]


def _sum(singles: list[Saving]) -> Saving:
    """What adding up findings measured alone would claim of their stack."""
    total = nothing = Saving(singles[0].axis, 0.0, 0.0, math.inf, singles[0].pairs)
    for single in singles:
        total = difference(total, difference(nothing, single))
    return total
