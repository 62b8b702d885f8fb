"""What an imported log says: its keeps against the noise of its own seed swaps, as numbers and as sentences."""

import math
from dataclasses import dataclass
from typing import Any

from analysis.evidence import Evidence, Rows
from analysis.import_log import IMPORTED, SEED_SWAPS
from analysis.wording import count_of, listed, number
from search.foreign import (
    Noise,
    beyond_chance,
    expected_lowest,
    expected_lucky_keeps,
    larger,
    noise_of,
    noise_of_repeats,
)

SETTLE = (
    "Pairs settle it: each keep against its own baseline on fresh seeds. With the log's code as the recipe of a "
    "study (`scaleproof init`), `scaleproof search` confirms every change with 2, 4, then 8 such pairs and measures "
    "its false keeps with placebos; `scaleproof promote` asks whether what is left still helps on a larger model."
)


@dataclass(frozen=True, slots=True)
class Level:
    """One size that the noise may have: the standard deviation of the difference of two runs, and what it leaves.

    `larger`: keeps with a gain above it. `beyond_chance`: keeps with a gain that no fluke of all tries would reach.
    """

    name: str
    sd: float
    larger: int
    beyond_chance: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """An imported log in numbers; gains and noise are in `unit`, `keeps` rows with finding_id, title and effect.

    `compared`: trials that have a number. `noise` is None where nothing tells it, `levels` is then empty.
    `lucky_keeps` and `lucky_gain`: what the same number of trials that change nothing would have kept, and how far
    below the truth their last number would lie.
    """

    source: str
    unit: str
    baseline: str
    trials: int
    kept: int
    dropped: int
    crashed: int
    kept_swaps: int
    compared: int
    keeps: Rows
    swaps: Rows
    given: bool
    noise: Noise | None
    levels: tuple[Level, ...]
    lucky_keeps: float
    lucky_gain: float | None

    @property
    def larger(self) -> int | None:
        """How many keeps gain more than one seed swap; None where nothing tells it."""
        return None if self.noise is None else larger(self.gains, self.noise.sd)

    @property
    def decimals(self) -> int:
        """Decimals that show gains to a hundredth of the seed swap, or of the smallest gain."""
        size = min((gain for gain in self.gains if gain > 0), default=1.0) if self.noise is None else self.noise.sd
        return max(0, 2 - math.floor(math.log10(size)))

    @property
    def gains(self) -> list[float]:
        """The keeps' gains over the best before them."""
        return [float(row["effect"]) for row in self.keeps]


def is_imported(evidence: Evidence) -> bool:
    """Whether the study holds the log of another search instead of runs of its own."""
    return IMPORTED in evidence.facts


def summarise(evidence: Evidence) -> ImportSummary:
    """Return the numbers of an imported study; keeps come with the largest gain first."""
    told: dict[str, Any] = evidence.facts[IMPORTED]
    swaps: dict[str, Any] = evidence.facts.get(SEED_SWAPS, {})
    keeps = sorted(evidence.findings, key=lambda row: (-row["effect"], row["finding_id"]))
    noise, compared = _noise(swaps), int(told["compared"])
    gains = [float(row["effect"]) for row in keeps]
    return ImportSummary(
        source=str(told["source"]),
        unit=str(told["unit"]),
        baseline=str(told["baseline"]),
        trials=evidence.trials_where() + evidence.trials_where(placebo=True),
        kept=len(keeps),
        dropped=evidence.trials_where("dropped") + evidence.trials_where("dropped", placebo=True),
        crashed=evidence.trials_where("crashed") + evidence.trials_where("crashed", placebo=True),
        kept_swaps=evidence.trials_where("kept", placebo=True),
        compared=compared,
        keeps=keeps,
        swaps=swaps.get("measured", []),
        given=swaps.get("given") is not None,
        noise=noise,
        levels=() if noise is None else _levels(noise, gains, compared),
        lucky_keeps=expected_lucky_keeps(compared),
        # A difference of two runs has twice the variance of one.
        lucky_gain=None if noise is None else expected_lowest(compared + 1) * noise.sd / math.sqrt(2),
    )


def _noise(swaps: dict[str, Any]) -> Noise | None:
    if swaps.get("given") is not None:
        return noise_of(float(swaps["given"]))
    changes: dict[str, list[float]] = {}
    for one in swaps.get("measured", []):
        changes.setdefault(one["against"], []).append(float(one["change"]))
    return noise_of_repeats(list(changes.values()))


def _levels(noise: Noise, gains: list[float], tries: int) -> tuple[Level, ...]:
    measured = "the seed swap" if noise.dof == 1 else f"the {noise.dof} seed swaps"
    sizes = {"low end of its 90 % interval": noise.low, measured: noise.sd, "high end of its 90 % interval": noise.high}
    return tuple(
        Level(name, sd, larger(gains, sd), larger(gains, beyond_chance(sd, max(tries, 1))))
        for name, sd in sizes.items()
    )


def headline(said: ImportSummary) -> str:
    """Return the answer of an imported log in one sentence."""
    if not said.kept:
        return f"None of {count_of(said.trials, 'trial')} in {said.source} was kept for a change."
    keeps = f"{said.kept} {'keep' if said.kept == 1 else 'keeps'}"
    if said.noise is None:
        return (
            f"{said.source} has {keeps} among {count_of(said.trials, 'trial')}, and nothing in it tells how much the "
            "metric moves with the seed alone: give what one seed swap did with `--seed-swap`."
        )
    count, swap = said.larger or 0, f"{_whose(said)} ({number(said.noise.sd)} {said.unit})"
    if said.kept == 1:
        return f"The log's only keep is {'larger' if count else 'not larger'} than {swap}."
    rest = said.kept - count
    luck = f"; the other {rest} may be luck" if rest and count else "; all of them may be luck" if rest else ""
    verb = "is" if count == 1 else "are"
    return f"{count} of the log's {keeps} {verb} larger than {swap}{luck}."


def _whose(said: ImportSummary) -> str:
    if said.given:
        return "the given seed swap"
    assert said.noise is not None
    return "its own seed swap" if said.noise.dof == 1 else f"the noise of its {said.noise.dof} seed swaps"


def swap_sentence(said: ImportSummary) -> str:
    """Return where the noise comes from, and how little one swap says of it."""
    if said.noise is None:
        zero = " Its repeats ended at the very same number, so they repeat the seed as well." if said.swaps else ""
        return (
            "No trial of the log tells what the seed alone does ('random seed', 'rerun', 'same config' and the like), "
            f"so nothing tells which keep is larger than chance.{zero}"
        )
    level, low, high = said.levels[1], said.levels[0], said.levels[2]
    return (
        f"{_source_of_noise(said)} {_draws(said.noise.dof)}: the noise of a difference of two runs lies between "
        f"{number(said.noise.low)} and {number(said.noise.high)} (90 %, chi-square). At the low end {low.larger} of "
        f"{said.kept} keeps are larger, at the high end {high.larger}. A larger one is no proof: a change that does "
        "nothing beats its rival by more than that noise one time in six, and "
        f"{level.beyond_chance or 'none'} of the keeps {'is' if level.beyond_chance < 2 else 'are'} larger than any "
        f"fluke of {said.compared} tries would be."
    )


def _source_of_noise(said: ImportSummary) -> str:
    assert said.noise is not None
    if said.given:
        return f"The seed swap of {number(said.noise.sd)} was given with `--seed-swap`."
    parts = [f"{one['trial']} against {one['against']} ({_signed(one['change'])})" for one in said.swaps]
    if len(parts) == 1:
        return f"One trial changed the seed alone: {parts[0]}."
    more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
    shown = ", ".join(parts[:8]) + more if more else listed(parts)
    return f"{len(parts)} trials changed the seed alone: {shown}; pooled, a difference has {number(said.noise.sd)}."


def _signed(change: float) -> str:
    return f"{change:+.4g}".replace("-", "−")


def _draws(dof: int) -> str:
    return "One swap is one draw" if dof == 1 else f"{dof} swaps are {dof} draws"


def luck_sentence(said: ImportSummary) -> str:
    """Return what selection alone does: keeping the lowest of many numbers keeps luck."""
    text = (
        f"Had none of the {said.compared} trials with a number changed anything, keeping whatever is lower than the "
        f"best so far would still have kept {said.lucky_keeps:.1f} of them on average"
    )
    if said.lucky_gain is None:
        return f"{text}."
    return (
        f"{text}, and the last number kept would lie {number(round(said.lucky_gain, 6))} below what the same code "
        "gives on a fresh seed, at the noise of the swap. Every kept number is the lowest of many, so each is too "
        f"good, and each gain is over a number that is.{_came_back(said)}"
    )


def _came_back(said: ImportSummary) -> str:
    """What repeats of what was kept measured of that luck themselves."""
    changes = [float(one["change"]) for one in said.swaps if one["against"] != said.baseline]
    if not changes:
        return ""
    mean = sum(changes) / len(changes)
    who = "The repeat of a kept run" if len(changes) == 1 else f"{len(changes)} repeats of kept runs"
    average = "" if len(changes) == 1 else " on average"
    return f" {who} came out {number(round(abs(mean), 6))} {'worse' if mean > 0 else 'better'}{average}."
