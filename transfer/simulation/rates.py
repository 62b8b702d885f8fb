"""From counts over simulated ladders to error rates: by finding, by world, and over all worlds, the worst one named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.simulation.counts import WORDS, Tally, is_too_small, right_word
from transfer.simulation.worlds import LadderWorld
from transfer.words import GAIN_WORDS, Word

MIN_GIVEN = 20
CLAIMS: tuple[Word, ...] = ("transfers", "gains", "grows")


@dataclass(frozen=True, slots=True)
class ArmRates:
    """One finding, or the stack, over a world's ladders; shares of ladders unless said otherwise.

    `coverage` by rung: of the 90 % intervals given, those that hold the truth (0 where none was given); `unknown`:
    savings without a number.
    `claimed`: called transfers, gains or grows; `gained`: shrinks too. `planned_pairs` and what they achieve are None
    where no number is planned, or none up to 128 would do.
    """

    right_word: Word
    gain_at_top: float
    apart: bool
    coverage: list[float]
    unknown: float
    words: dict[Word, float]
    right: float
    claimed: float
    gained: float
    fragile: float
    planned_pairs: int | None = None
    planned_right: float | None = None


@dataclass(frozen=True, slots=True)
class WorldRates:
    """Error rates in one world. `worst_coverage` of any arm at any rung, which `worst_at` names.

    `wrong_claims`: findings with no gain at the top that are called transfers, gains or grows, `wrong_gains`: shrinks
    too (None: there is no such finding). `right` and `planned_right`: mean over findings that are not apart.
    `aa_frozen`: rungs frozen, though all is well. `sum_of_singles`: ladders in which the interval of the findings' sum
    holds what their stack truly gains.
    """

    name: str
    ladders: int
    tuned: bool
    coverage: float
    worst_coverage: float
    worst_at: str
    coverage_by_rung: list[float]
    wrong_claims: float | None
    wrong_gains: float | None
    right: float | None
    planned_right: float | None
    worst_planned: str
    aa_frozen: float
    fragile: float
    sum_of_singles: float | None
    arms: dict[str, ArmRates]


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Error rates over the worlds whose baseline is tuned, each counted alike, with the worst world named; and apart.

    Standard errors of a share over n ladders are at most sqrt(.25/n). `unequal_tuning`: the words
    that findings with no gain at the top get where the baseline was tuned less than the arms, by world.
    """

    ladders: int
    coverage: float
    worst_coverage: float
    worst_coverage_at: str
    wrong_claims: float | None
    worst_wrong_claims: float | None
    worst_wrong_claims_at: str
    wrong_gains: float | None
    planned_right: float | None
    worst_planned_right: float | None
    worst_planned_right_at: str
    right: float | None
    aa_frozen: float
    worst_aa_frozen: float
    fragile: float
    apart_claimed: float | None
    unequal_tuning: dict[str, dict[Word, float]]
    worlds: list[WorldRates]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, dicts and numbers, for JSON."""
        return asdict(self)


def world_rates(world: LadderWorld, plain: Tally, planned: Tally, pairs: Mapping[str, int]) -> WorldRates:
    """Shares of one world: `plain` counts ladders as the world has them, `planned` those with `pairs` by finding."""
    # Of a cell that hardly ever has a number there is no share to speak of.
    covered = np.where(plain.given >= MIN_GIVEN, plain.covered / np.maximum(plain.given, 1), 1.0)
    names = list(world.truths)
    arm, rung = np.unravel_index(int(covered.argmin()), covered.shape)
    arms = {name: _arm_rates(world, name, i, plain, (planned, pairs)) for i, name in enumerate(names)}
    counted = [one for one in arms.values() if not one.apart]
    nothing = [one for one in arms.values() if one.gain_at_top == 0]
    planned_right = {name: one.planned_right for name, one in arms.items() if one.planned_right is not None}
    return WorldRates(
        name=world.name,
        ladders=plain.ladders,
        tuned=not any(world.untuned),
        coverage=float(plain.covered.sum() / max(plain.given.sum(), 1)),
        worst_coverage=float(covered.min()),
        worst_at=f"{names[arm]} at rung {rung}",
        coverage_by_rung=_shares(plain.covered.sum(0), plain.given.sum(0)),
        wrong_claims=_mean([one.claimed for one in nothing]),
        wrong_gains=_mean([one.gained for one in nothing]),
        right=_mean([one.right for one in counted]),
        planned_right=_mean(list(planned_right.values())),
        worst_planned=min(planned_right, key=lambda name: planned_right[name], default=""),
        aa_frozen=plain.frozen_rungs / (plain.ladders * len(world.params)),
        fragile=float(plain.fragile.sum() / (plain.ladders * len(names))),
        sum_of_singles=float(plain.sums[0] / plain.sums[1]) if plain.sums[1] else None,
        arms=arms,
    )


def overall(worlds: Sequence[WorldRates], ladders: int) -> ErrorRates:
    """Means over the tuned worlds (all of them, where none is tuned), the worst of each rate, and who has it."""
    tuned = [world for world in worlds if world.tuned] or list(worlds)
    claims = {world.name: world.wrong_claims for world in tuned if world.wrong_claims is not None}
    planned = {
        f"{world.name}: {name}": arm.planned_right
        for world in tuned
        for name, arm in world.arms.items()
        if arm.planned_right is not None
    }
    least = min(tuned, key=lambda world: world.worst_coverage)
    worst_claim, worst_plan = (
        max(claims, key=claims.__getitem__, default=""),
        min(planned, key=planned.__getitem__, default=""),
    )
    return ErrorRates(
        ladders=ladders,
        coverage=float(np.mean([world.coverage for world in tuned])),
        worst_coverage=least.worst_coverage,
        worst_coverage_at=f"{least.name}: {least.worst_at}",
        wrong_claims=_mean(list(claims.values())),
        worst_wrong_claims=claims.get(worst_claim),
        worst_wrong_claims_at=worst_claim,
        wrong_gains=_mean([world.wrong_gains for world in tuned if world.wrong_gains is not None]),
        planned_right=_mean(list(planned.values())),
        worst_planned_right=planned.get(worst_plan),
        worst_planned_right_at=worst_plan,
        right=_mean([world.right for world in tuned if world.right is not None]),
        aa_frozen=float(np.mean([world.aa_frozen for world in tuned])),
        worst_aa_frozen=max(world.aa_frozen for world in tuned),
        fragile=float(np.mean([world.fragile for world in tuned])),
        apart_claimed=_mean([arm.claimed for world in tuned for arm in world.arms.values() if arm.apart]),
        unequal_tuning={w.name: _mean_words(w) for w in worlds if not w.tuned and w.wrong_claims is not None},
        worlds=list(worlds),
    )


def _arm_rates(
    world: LadderWorld, name: str, i: int, plain: Tally, planned: tuple[Tally, Mapping[str, int]]
) -> ArmRates:
    top, bottom = float(world.truths[name][-1]), float(world.truths[name][0])
    right = right_word(bottom, top, world.delta)
    words = dict(zip(WORDS, _shares(plain.words[i], plain.ladders), strict=True))
    tally, pairs = planned
    row = list(pairs).index(name) if name in pairs else None
    return ArmRates(
        right_word=right,
        gain_at_top=top,
        apart=is_too_small(top, world.delta),
        coverage=_shares(plain.covered[i], plain.given[i]),
        unknown=1 - float(plain.given[i].sum() / (plain.ladders * len(world.params))),
        words=words,
        right=words[right],
        claimed=sum(words[word] for word in CLAIMS),
        gained=sum(words[word] for word in GAIN_WORDS),
        fragile=float(plain.fragile[i] / plain.ladders),
        planned_pairs=pairs.get(name),
        planned_right=None if row is None else float(tally.words[row, WORDS.index(right)] / tally.ladders),
    )


def _mean_words(world: WorldRates) -> dict[Word, float]:
    nothing = [arm.words for arm in world.arms.values() if arm.gain_at_top == 0]
    return {word: float(np.mean([words[word] for words in nothing])) for word in WORDS}


def _shares(counts: NDArray[np.int64], of: NDArray[np.int64] | int) -> list[float]:
    return [float(share) for share in counts / np.maximum(of, 1)]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
