"""How often small studies drawn from a bank of real runs are right: intervals, words, landings, kept placebos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search import keep
from transfer.crossing import crossings_up_the_ladder
from transfer.landing import judge_landing, landing_margin
from transfer.pairs import RungPairs
from transfer.saving import Axis, Saving
from transfer.saving_estimate import savings_of_arms
from transfer.simulation.real_runs import BASELINE, BankRung, Draw, Truth, holds, measured, truth
from transfer.timing import time_ratios
from transfer.words import STACK, Word, judge

Floats = NDArray[np.float64]

TIMING_BLOCKS = 6
"""Of each arm and rung in a study, drawn alike from the quiet hours of the bank and from the busy ones."""
CALIBRATION_SEEDS = 8
LANDING_PAIRS = 8
PLACEBO = "placebo"


@dataclass(frozen=True, slots=True, eq=False)
class Bank:
    """All rungs, lowest first, and the timing blocks by (rung, arm): ln CPU-time ratios (blocks,), quiet and busy."""

    rungs: tuple[BankRung, ...]
    quiet: Mapping[tuple[int, str], Floats]
    busy: Mapping[tuple[int, str], Floats]

    @property
    def arms(self) -> list[str]:
        """What was run at every rung beside the baseline."""
        return sorted(set.intersection(*(set(rung.losses) for rung in self.rungs)) - {BASELINE})


@dataclass(slots=True)
class Cell:
    """One arm at one rung with so many pairs: intervals given, those that hold the truth, their width, runs of T."""

    given: int = 0
    held: int = 0
    widths: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)

    @property
    def coverage(self) -> float:
        """Share of the intervals given; nan where none was."""
        return self.held / self.given if self.given else math.nan


@dataclass(slots=True)
class Counts:
    """By (axis, arm, rung, pairs): cells; by (axis, arm, pairs): words; landings that stood and all; placebos kept."""

    cells: dict[tuple[Axis, str, int, int], Cell] = field(default_factory=dict)
    words: dict[tuple[Axis, str, int], dict[Word, int]] = field(default_factory=dict)
    landings: list[bool] = field(default_factory=list)
    placebos_kept: list[bool] = field(default_factory=list)

    def coverage(self, axis: Axis) -> tuple[float, float]:
        """Mean and lowest coverage over the cells of an axis that have numbers."""
        shares = [cell.coverage for key, cell in self.cells.items() if key[0] == axis and cell.given]
        return float(np.mean(shares)), float(np.min(shares))

    def wrong_words(self, axis: Axis) -> float:
        """Share of placebos that got another word than inconclusive or vanishes."""
        counted = [words for (one, arm, _), words in self.words.items() if one == axis and arm.startswith(PLACEBO)]
        wrong = sum(count for words in counted for word, count in words.items() if word not in HARMLESS)
        return wrong / max(sum(sum(words.values()) for words in counted), 1)


HARMLESS: tuple[Word, ...] = ("inconclusive", "vanishes")


def count_studies(
    bank: Bank,
    *,
    studies: int,
    pairs: Sequence[int],
    rng: np.random.Generator,
    smallest_saving: float = 0.05,
) -> Counts:
    """Draw so many studies for each number of pairs, measure and judge them as a study does, and count.

    The truth in tokens is made of seeds and documents that the study does not have; the truth of seconds per token is
    the mean of all quiet blocks, by CPU time.
    """
    counts, groups = Counts(), len(bank.rungs[0].weights)
    for count in pairs:
        for _ in range(studies):
            chosen = rng.permutation(groups)[: groups // 2]
            draws = [Draw.of(rung, chosen, rng) for rung in bank.rungs]
            ladders = {arm: measured(draws, arm, count, _times(bank, arm, rng)) for arm in bank.arms}
            truths = {arm: [truth(draw, arm, count) for draw in draws] for arm in bank.arms}
            for axis in ("tokens", "seconds") if bank.quiet else ("tokens",):
                _count(counts, axis, count, bank, ladders=ladders, truths=truths)
                _judge(counts, axis, count, ladders, smallest_saving)
            if STACK in ladders:
                _land(counts, draws[-1], ladders[STACK], count, smallest_saving)
            counts.placebos_kept += _kept(draws[0])
    return counts


def _times(bank: Bank, arm: str, rng: np.random.Generator) -> list[Floats | None]:
    if (0, arm) not in bank.quiet:
        return [None] * len(bank.rungs)
    half = TIMING_BLOCKS // 2
    return [
        np.concatenate([rng.permutation(blocks[rung, arm])[:half] for blocks in (bank.quiet, bank.busy)])
        for rung in range(len(bank.rungs))
    ]


def _count(
    counts: Counts,
    axis: Axis,
    pairs: int,
    bank: Bank,
    *,
    ladders: Mapping[str, list[RungPairs]],
    truths: Mapping[str, list[Truth]],
) -> None:
    savings = dict(zip(ladders, savings_of_arms(list(ladders.values()), axis), strict=True))
    for arm, own in savings.items():
        for rung, saving in enumerate(own):
            cell = counts.cells.setdefault((axis, arm, rung, pairs), Cell())
            cell.runs.append(sum(p.pairs * math.exp(-p.ln_shortening) for p in ladders[arm][rung].points) / pairs)
            if not saving.known:
                continue
            cell.given += 1
            cell.widths.append(saving.high - saving.low)
            cell.held += holds(saving, _on(axis, truths[arm][rung], bank, rung, arm))


def _on(axis: Axis, known: Truth, bank: Bank, rung: int, arm: str) -> Truth:
    """The truth on an axis: in seconds, less the arm's time per token, whose own error is allowed for."""
    if axis == "tokens":
        return known
    (time,) = time_ratios([bank.quiet[rung, arm]])
    return Truth(known.ln_speedup - time.mean, math.hypot(known.se, math.sqrt(time.variance)))


def _judge(
    counts: Counts, axis: Axis, pairs: int, ladders: Mapping[str, list[RungPairs]], smallest_saving: float
) -> None:
    verdicts = judge(ladders, axis=axis, smallest_saving=smallest_saving, invalid={})
    for arm, verdict in verdicts.items():
        words = counts.words.setdefault((axis, arm, pairs), {})
        words[verdict.word] = words.get(verdict.word, 0) + 1


def _land(counts: Counts, draw: Draw, stack: list[RungPairs], pairs: int, smallest_saving: float) -> None:
    """The landing run of the stack, on the bank's horizon next to the printed saving."""
    (savings,) = savings_of_arms([stack], "tokens")
    saving: Saving = savings[-1]
    crossing = crossings_up_the_ladder(stack)[-1]
    if not saving.known or crossing is None:
        return
    base, own, there = draw.landing(STACK, max(saving.ln_speedup, 0.0), pairs, LANDING_PAIRS)
    # What the nearest horizon is off by is taken out of the losses by the stack's own slope.
    moved = own + crossing.slope * (saving.ln_speedup - there)
    margin = landing_margin(crossing.slope, smallest_saving, saving.ln_speedup - saving.low)
    counts.landings.append(judge_landing(base, moved, margin).stands)


def _kept(draw: Draw) -> list[bool]:
    """Whether keep-or-drop keeps a placebo, the other one being the reference beside the baseline, at rung 0."""
    placebos = [arm for arm in draw.rung.losses if arm.startswith(PLACEBO)]
    kept = []
    for trial in placebos:
        others = [arm for arm in placebos if arm != trial]
        losses = {arm: draw.mean(draw.rung.losses[arm][0.0][draw.seeds]) for arm in (BASELINE, *placebos)}
        references = np.column_stack([losses[arm] for arm in (BASELINE, *others)])
        known = keep.calibrate(references[:CALIBRATION_SEEDS, 0], references[:CALIBRATION_SEEDS, 1:])
        differences = references.mean(1) - losses[trial]
        kept.append(_is_kept(differences, known))
    return kept


def _is_kept(differences: Floats, known: keep.Calibration) -> bool:
    if not keep.screen([differences[0]], known)[0]:
        return False
    confirmed = differences[CALIBRATION_SEEDS:]
    for look in keep.LOOKS:
        if look > len(confirmed):
            break
        decision = keep.confirm(confirmed[:look], float(differences[0]), known).decision
        if decision != "more":
            return decision == "keep"
    return False
