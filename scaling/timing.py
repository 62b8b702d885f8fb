"""Two arms timed against each other on one device, their steps interleaved A B B A."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor

from data.batches import train_batch
from data.study import Study
from data.tokens import TokenSet
from scaling.loading import load
from scaling.runs import TimingSpec
from scaling.stepper import Stepper

WARMUP_STEPS = 3
BLOCK_STEPS = 4
ROUNDS = 3
"""A B B A this many times; the median of the rounds' ratios is robust against a neighbour's burst of work."""


def time_pair(study_path: Path, spec: TimingSpec) -> None:
    """Time the training steps of an arm and of the baseline, and leave one `timing` row in a spool file of its own."""
    study = Study.open(study_path)
    arm, baseline = measure(study, spec)
    with study.run_writer(spec.run_id)[1] as writer:
        writer.append(
            "timing",
            **spec.columns(),
            run_id=spec.run_id,
            seconds_per_token=arm / spec.rung.batch_tokens,
            baseline_seconds_per_token=baseline / spec.rung.batch_tokens,
            ln_ratio=math.log(arm / baseline),
            device=_device(spec).type,
        )
        writer.flush()


def measure(study: Study, spec: TimingSpec) -> tuple[float, float]:
    """Return seconds per step of the arm and of the baseline, medians over the rounds, after warm-up."""
    tokens = TokenSet.open(study.tokens)
    device = _device(spec)
    batches = [
        torch.from_numpy(
            train_batch(
                tokens.shard("train"),
                seed=spec.seed,
                step=step,
                batch_size=spec.rung.batch_size,
                context=spec.rung.context,
            )
        ).to(device)
        for step in range(BLOCK_STEPS)
    ]
    steppers = [_stepper(study, spec, name, tokens.vocab_size) for name in (spec.recipe_hash, spec.baseline_hash)]
    for stepper in steppers:
        _seconds(stepper, batches[:WARMUP_STEPS], spec)
    rounds: list[tuple[float, float]] = []
    for turn in range(ROUNDS):
        # A B B A, and B A A B in the next round, so that a drift of the machine's speed cancels within each.
        order = (0, 1, 1, 0) if turn % 2 == 0 else (1, 0, 0, 1)
        spent = [0.0, 0.0]
        for who in order:
            spent[who] += _seconds(steppers[who], batches, spec)
        rounds.append((spent[0], spent[1]))
    ratios = sorted(math.log(a / b) for a, b in rounds)
    ratio = ratios[len(ratios) // 2]
    baseline = sum(b for _, b in rounds) / (2 * BLOCK_STEPS * ROUNDS)
    return baseline * math.exp(ratio), baseline


def _stepper(study: Study, spec: TimingSpec, recipe_hash: str, vocab_size: int) -> Stepper:
    recipe = load((study.recipes / f"{recipe_hash}.py").read_text(encoding="utf-8"))
    knobs = recipe.resolve(spec.rung, spec.setting.ladder.base)
    torch.manual_seed(spec.seed)
    model = recipe.build_model(spec.rung, knobs, vocab_size).to(_device(spec))
    network = torch.compile(model) if spec.setting.ladder.compile else model
    return Stepper(recipe, network, recipe.build_optimizers(model, spec.rung, knobs), spec.rung, knobs)


def _seconds(stepper: Stepper, batches: list[Tensor], spec: TimingSpec) -> float:
    device = _device(spec)
    mixed = spec.setting.ladder.precision == "bf16-mixed"
    started = _clock(device)
    for step, ids in enumerate(batches):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            stepper.step(step, ids, torch.Tensor.backward)
    return _clock(device) - started


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _device(spec: TimingSpec) -> torch.device:
    return torch.device("cuda" if spec.setting.ladder.accelerator == "gpu" else "cpu")
