"""Two arms timed against each other on one device, their steps interleaved A B B A."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
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

WARMUP_STEPS = 3
BLOCK_STEPS = 4
ROUNDS = 3
"""A B B A this many times; the median of the rounds' ratios is robust against a neighbour's burst of work."""


Block = Callable[[int, int], float]
"""Seconds that arm 0 or baseline 1 takes for so many steps, on the clock of whoever times."""


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
    """Return seconds per step of the arm and of the baseline, medians over the rounds, after warm-up."""
    tokens = TokenSet.open(study.tokens)
    batches = timing_batches(tokens, spec)
    racers = [
        Racer(spec, (study.recipes / f"{name}.py").read_text(encoding="utf-8"), batches, tokens.vocab_size)
        for name in (spec.recipe_hash, spec.baseline_hash)
    ]
    return interleaved(lambda who, steps: racers[who].seconds(steps))


def interleaved(block: Block) -> tuple[float, float]:
    """Seconds per step of both, medians over rounds of blocks in the order A B B A, after a block of warm-up each."""
    for who in (0, 1):
        block(who, WARMUP_STEPS)
    rounds: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        # A B B A, and B A A B in the next round, so that a drift of the machine's speed cancels within each.
        order = (0, 1, 1, 0) if turn % 2 == 0 else (1, 0, 0, 1)
        spent = [0.0, 0.0]
        for who in order:
            spent[who] += block(who, BLOCK_STEPS)
        rounds.append((spent[0], spent[1]))
    ratios = sorted(math.log(a / b) for a, b in rounds)
    ratio = ratios[len(ratios) // 2]
    baseline = sum(b for _, b in rounds) / (2 * BLOCK_STEPS * ROUNDS)
    return baseline * math.exp(ratio), baseline


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

    def seconds(self, steps: int) -> float:
        """Take the first `steps` steps of a block; returns what they took."""
        started = _clock(self._device)
        for step in range(steps):
            with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
                self._stepper.step(step, self._batches[step], Tensor.backward)
        return _clock(self._device) - started


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _device(spec: TimingSpec) -> torch.device:
    return torch.device("cuda" if spec.setting.ladder.accelerator == "gpu" else "cpu")
