"""Two arms timed against each other on one device, their steps interleaved A B B A."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.batches import train_batch
from data.study import Study
from data.tokens import TokenSet
from scaling.loading import RecipeError, load
from scaling.runs import TimingSpec
from scaling.stepper import Stepper
from scaling.training import FailedError

PLACES = 8
"""Evenly spread over the schedule, since what a step costs may depend on progress, as with short sequences first."""
BLOCK_STEPS = 3
"""Steps timed at each place, after one that is not: what is met there for the first time would count too much."""
GOLDEN = (math.sqrt(5) - 1) / 2


Block = Callable[[int, Sequence[int]], float]
"""Seconds that arm 0 or baseline 1 takes for the steps of these indices, on the clock of whoever times."""


Measure = Callable[[Study, TimingSpec], tuple[float, float]]
"""Seconds per step of the arm and of the baseline."""


def time_pair(study_path: Path, spec: TimingSpec) -> None:
    """Time the training steps of an arm and of the baseline, and leave one `timing` row in a spool file of its own."""
    leave_timing(Study.open(study_path), spec, measure)


def leave_timing(study: Study, spec: TimingSpec, measured: Measure) -> None:
    """Write the row of a timing; one that a recipe breaks has a reason in the place of its numbers."""
    row: dict[str, Any] = {**spec.columns(), "run_id": spec.run_id, "device": _device(spec).type}
    try:
        arm, baseline = measured(study, spec)
    except (FailedError, RecipeError) as error:
        row["reason"] = str(error)
    else:
        row |= {
            "seconds_per_token": arm / spec.rung.batch_tokens,
            "baseline_seconds_per_token": baseline / spec.rung.batch_tokens,
            "ln_ratio": math.log(arm / baseline),
        }
    with study.run_writer(spec.run_id)[1] as writer:
        writer.append("timing", **row)
        writer.flush()


def measure(study: Study, spec: TimingSpec) -> tuple[float, float]:
    """Return seconds per step of the arm and of the baseline; see `interleaved`."""
    tokens = TokenSet.open(study.tokens)
    batches = timing_batches(tokens, spec)
    racers = [
        Racer(spec, (study.recipes / f"{name}.py").read_text(encoding="utf-8"), batches, tokens.vocab_size)
        for name in (spec.recipe_hash, spec.baseline_hash)
    ]
    return interleaved(lambda who, indices: racers[who].seconds(indices), spec.rung.steps, spec.seed)


def interleaved(block: Block, steps: int, seed: int) -> tuple[float, float]:
    """Seconds per step of both, means over places along a schedule of `steps`, after a block of warm-up each.

    All that was timed counts: a median over places would lose a phase in which steps cost more, and what is done once
    in several steps. A neighbour's burst of work meets both, whose turns are short.
    """
    warm_up, *places = _places(steps, seed)
    for who in (0, 1):
        block(who, warm_up)
    spent = [0.0, 0.0]
    for number, indices in enumerate(places):
        # A B B A, so that a drift of the machine's speed cancels.
        for who in (0, 1) if number % 2 == 0 else (1, 0):
            block(who, indices[:1])
            spent[who] += block(who, indices[1:])
    return spent[0] / (PLACES * BLOCK_STEPS), spent[1] / (PLACES * BLOCK_STEPS)


def _places(steps: int, seed: int) -> list[list[int]]:
    """Step indices of the warm-up, and of each place the one that is not timed and those that are; none comes before.

    The places of seeds that follow each other lie between each other's, so that their mean favours no place.
    """
    starts = [int((place + seed * GOLDEN % 1) / PLACES * steps) for place in range(PLACES)]
    warm_up = [min(step, starts[0]) for step in range(BLOCK_STEPS)]
    ends = [*starts[1:], steps - 1]
    return [
        warm_up,
        *([min(start + step, end) for step in range(1 + BLOCK_STEPS)] for start, end in zip(starts, ends, strict=True)),
    ]


def timing_batches(tokens: TokenSet, spec: TimingSpec) -> Tensor:
    """What both are timed on, int64 (steps of a block, batch, context + 1)."""
    train, rung = tokens.shard("train"), spec.rung
    return torch.stack(
        [
            torch.from_numpy(
                train_batch(train, seed=spec.seed, step=step, batch_size=rung.batch_size, context=rung.context)
            )
            for step in range(BLOCK_STEPS)
        ]
    )


class Racer:
    """One recipe, ready to take steps against the clock."""

    def __init__(self, spec: TimingSpec, text: str, batches: Tensor, vocab_size: int) -> None:
        """Build the model of recipe `text`; `batches` as `timing_batches` gives them."""
        self._device = _device(spec)
        self._batches = batches.to(self._device)
        self._mixed = spec.setting.ladder.precision == "bf16-mixed"
        recipe = load(text)
        knobs = recipe.resolve(spec.rung, spec.setting.ladder.base)
        torch.manual_seed(spec.seed)
        model = recipe.build_model(spec.rung, knobs, vocab_size).to(self._device)
        network = torch.compile(model) if spec.setting.ladder.compile else model
        self._stepper = Stepper(recipe, network, recipe.build_optimizers(model, spec.rung, knobs), spec.rung, knobs)

    def seconds(self, indices: Sequence[int]) -> float:
        """Take the steps of these indices, a block of them at most; returns what they took."""
        started = _clock(self._device)
        for index, ids in zip(indices, self._batches, strict=False):
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
                self._stepper.step(index, ids, Tensor.backward)
        return _clock(self._device) - started


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _device(spec: TimingSpec) -> torch.device:
    return torch.device("cuda" if spec.setting.ladder.accelerator == "gpu" else "cpu")
