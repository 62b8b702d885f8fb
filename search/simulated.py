"""Searches of a known truth, for testing the rules: screen and confirm as in a real search, and greedy keeping.

Pure: nothing is trained. A run's finished loss is its arm's, plus what its seed shares between arms, plus what is its
own; screens, looks and ends are the very functions of the real search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.setting_tables import read_table
from search import keep
from search.finish import FALSE_DISCOVERY_RATE, end
from search.settings import Looks

Floats = NDArray[np.float64]

BRACKET_RUNS = 8
"""What the calibration spends on the baseline at other learning rates."""


class SearchWorld(BaseModel):
    """The truth of simulated searches, and how they are searched; losses and gains in nats per token.

    Of `proposals`, share_real are gains and share_null are none, the others are harmful. `correlation` is that of two
    runs on one seed; `edit_noise` how many times noisier an edit's own share of the noise is than the baseline's.
    Placebos come on top: one trial in placebo_every.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    proposals: int = Field(default=700, ge=1, le=100_000)
    sigma: float = Field(default=4e-4, gt=0, le=10)
    share_real: float = Field(default=0.04, ge=0, le=1)
    share_null: float = Field(default=0.36, ge=0, le=1)
    mean_gain: float = Field(default=1e-3, gt=0, le=10)
    mean_harm: float = Field(default=1e-3, gt=0, le=10)
    gains: Literal["exponential", "half-normal", "equal"] = "exponential"
    correlation: float = Field(default=0.5, ge=0, lt=1)
    edit_noise: float = Field(default=1.0, gt=0, le=100)
    placebo_every: int = Field(default=20, ge=2)
    calibration_seeds: int = Field(default=8, ge=4)
    confirm_looks: Looks = keep.LOOKS
    searches: int = Field(default=200, ge=2, le=100_000)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _shares_of_one_whole(self) -> Self:
        if self.share_real + self.share_null > 1:
            raise ValueError("share_real and share_null together exceed 1")
        return self

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [search_world] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("search_world", cls, values)

    @property
    def placebos(self) -> int:
        """Placebo trials of one search."""
        return round(self.proposals / (self.placebo_every - 1))

    @property
    def own_sd(self) -> float:
        """Standard deviation of what a run of the baseline does not share with others on its seed."""
        return float(self.sigma * (1 - self.correlation) ** 0.5)


@dataclass(frozen=True, slots=True)
class Truth:
    """The trials of one search, (k,) each: true gains, which are placebos, standard deviations of their own noise."""

    gains: Floats
    placebo: NDArray[np.bool_]
    own_sd: Floats


@dataclass(frozen=True, slots=True)
class Result:
    """What a rule made of one search, (k,) each: what it kept, effects and intervals (nan where none); runs in all."""

    kept: NDArray[np.bool_]
    effect: Floats
    low: Floats
    high: Floats
    runs: int


def draw_truth(world: SearchWorld, rng: np.random.Generator) -> Truth:
    """Draw the trials of one search, placebos spread evenly among them."""
    trials = world.proposals + world.placebos
    placebo = np.zeros(trials, dtype=bool)
    placebo[(world.placebo_every // 2 + np.arange(world.placebos) * world.placebo_every) % trials] = True
    kind = rng.choice(3, trials, p=[world.share_real, world.share_null, 1 - world.share_real - world.share_null])
    harm = rng.exponential(world.mean_harm, trials)
    gains = np.select([placebo | (kind == 1), kind == 0], [0.0, _sizes(world, rng, trials)], -harm)
    return Truth(gains, placebo, world.own_sd * np.where(placebo, 1.0, world.edit_noise))


def _sizes(world: SearchWorld, rng: np.random.Generator, trials: int) -> Floats:
    if world.gains == "equal":
        return np.full(trials, world.mean_gain)
    if world.gains == "half-normal":
        return np.abs(rng.normal(0.0, world.mean_gain * np.sqrt(np.pi / 2), trials))
    return rng.exponential(world.mean_gain, trials)


def screen_and_confirm(world: SearchWorld, truth: Truth, rng: np.random.Generator) -> Result:
    """Search by the rule of `search.keep`; references are run once for all trials."""
    trials = truth.gains.size
    references = keep.references_for(trials)
    shared = rng.normal(0.0, world.sigma * world.correlation**0.5, (world.calibration_seeds, 1))
    calibrating = shared + rng.normal(0.0, world.own_sd, (world.calibration_seeds, references))
    calibration = keep.calibrate(calibrating[:, 0], calibrating[:, 1:])
    seeds = np.arange(trials) % world.calibration_seeds
    # What a seed shares is in both runs of a pair, and leaves no trace in their difference.
    screens = (calibrating - shared).mean(axis=1)[seeds] + truth.gains - rng.normal(0.0, truth.own_sd)
    compared = rng.normal(0.0, world.own_sd, (world.confirm_looks[-1], references)).mean(axis=1)
    noise = rng.standard_normal((trials, compared.size)) * truth.own_sd[:, None]
    differences = compared + truth.gains[:, None] - noise
    passed = keep.screen(screens, calibration)
    confirmed, seen, pairs = _confirm(world, differences, screens, passed, calibration)
    seeds_used = int(pairs.max(initial=0))
    runs = BRACKET_RUNS + calibrating.size + trials + int(pairs.sum()) + seeds_used * references
    return _result(confirmed, seen, pairs, calibration, runs)


def _confirm(
    world: SearchWorld, differences: Floats, screens: Floats, passed: NDArray[np.bool_], calibration: keep.Calibration
) -> tuple[NDArray[np.bool_], Floats, NDArray[np.int64]]:
    """Whether the last look says keep (k,); mean and variance of the differences then seen (2, k); pairs (k,)."""
    keeps, pairs = np.zeros(passed.size, dtype=bool), np.zeros(passed.size, dtype=np.int64)
    seen = np.full((2, passed.size), np.nan)
    going = np.flatnonzero(passed)
    for n in world.confirm_looks:
        looked = keep.judge(differences[going, :n], screens[going], calibration)
        pairs[going], keeps[going] = n, looked.decision == "keep"
        seen[:, going] = looked.effect, looked.own_variance
        going = going[looked.decision == "more"]
    return keeps, seen, pairs


def _result(
    keeps: NDArray[np.bool_], seen: Floats, pairs: NDArray[np.int64], calibration: keep.Calibration, runs: int
) -> Result:
    looked = pairs > 0
    ends = end(seen[0, looked], seen[1, looked], pairs[looked], calibration)
    kept = keeps.copy()
    kept[looked] &= ends.q_value <= FALSE_DISCOVERY_RATE
    effect, low, high = np.full((3, pairs.size), np.nan)
    effect[looked], low[looked], high[looked] = ends.shrunk
    return Result(kept, effect, low, high, runs)


def keep_if_lower(world: SearchWorld, truth: Truth, rng: np.random.Generator) -> Result:
    """Keep whatever ran lower than the best run so far, on one seed, and build upon it; its effect is by how much."""
    kept, effect = np.zeros(truth.gains.size, dtype=bool), np.full(truth.gains.size, np.nan)
    noise = rng.normal(0.0, truth.own_sd)
    level, best = 0.0, float(rng.normal(0.0, world.own_sd))
    for trial, gain in enumerate(truth.gains):
        loss = level - gain + noise[trial]
        if loss < best:
            kept[trial], effect[trial] = True, best - loss
            level, best = level - gain, loss
    none = np.full(truth.gains.size, np.nan)
    return Result(kept, effect, none, none, truth.gains.size + 1)
