"""The plan of a promotion: what each rung costs, and the smallest saving that it could see."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from data.store import Store
from data.study import Study
from data.tokens import CorpusSettings
from scaling.executor import default_workers
from scaling.lab import baseline_recipe
from scaling.ladder import Ladder, Rung, parse_ladder
from scaling.loading import LoadedRecipe, load
from scaling.shape import Shape, measure
from scaling.stepper import Stepper
from search.settings import SearchSettings
from transfer.plan_cost import rung_cost
from transfer.plan_sight import Sight
from transfer.presets import vocabulary
from transfer.settings import TransferSettings

ASSUMED_GPU_FLOPS_PER_SECOND = 4e14
"""Forty per cent of an H100's dense bfloat16 peak, 989e12 (NVIDIA H100 data sheet)."""
TIMED_STEPS = 4


@dataclass(frozen=True, slots=True)
class RungPlan:
    """What one rung needs. FLOPs, bytes and seconds of one run at the rung's horizon; `hours` of all runs there.

    transition: whether the baseline's curve still steepens there; None where no promotion has measured it.
    smallest_saving: what the pairs establish on the study's `axis`; smallest_saving_tokens: the same in tokens.
    """

    rung: str
    params: int
    params_non_embedding: int
    tokens: int
    tokens_per_param: float
    transition: bool | None
    flops: float
    memory_bytes: int
    seconds: float
    runs: float
    hours: float
    pairs: int
    axis: str
    smallest_saving: float
    smallest_saving_tokens: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The rungs, how many runs go at once, and what the numbers rest on."""

    rungs: list[RungPlan]
    workers: int
    notes: list[str]


def make_plan(study: Study) -> Plan:
    """Plan the study's promotion, with the noise and slopes that it has measured, or with assumed ones.

    Raises:
        InputError: for settings that are not valid, or a recipe that does not build.
    """
    ladder = parse_ladder(study.settings.get("ladder", {}))
    settings = TransferSettings.read(study.settings.get("transfer", {}))
    findings = settings.max_findings or max(1, SearchSettings.read(study.settings.get("search", {})).trials // 4)
    corpus = CorpusSettings.read(study.settings.get("corpus", {}))
    vocab_size = vocabulary(corpus)
    recipe, workers = load(baseline_recipe(study)), default_workers(ladder)
    sight = Sight.read(Store(study.path), ladder.accelerator)
    plans = []
    for index, rung in enumerate(ladder.rungs):
        shape = measure(recipe, rung, ladder.base, vocab_size)
        seconds = _seconds_per_run(recipe, ladder, rung, shape, vocab_size)
        is_top = index == len(ladder.rungs) - 1
        pairs = settings.pairs[-1 if is_top or index == 0 else 0]
        runs = rung_cost(settings, findings, pairs, is_bottom=index == 0, is_top=is_top).runs
        plans.append(
            RungPlan(
                rung=rung.name,
                params=shape.params,
                params_non_embedding=shape.params_non_embedding,
                tokens=rung.tokens,
                tokens_per_param=rung.tokens / shape.params,
                transition=sight.transition.get(index),
                flops=shape.flops_per_token * float(rung.tokens),
                memory_bytes=_memory_bytes(shape, rung, ladder, vocab_size),
                seconds=seconds,
                runs=runs,
                hours=runs * seconds / workers / 3600,
                pairs=pairs,
                axis=settings.axis,
                smallest_saving=sight.smallest(index, pairs, settings, settings.axis),
                smallest_saving_tokens=sight.smallest(index, pairs, settings, "tokens"),
            )
        )
    return Plan(plans, workers, _notes(ladder, findings, sight, settings.axis))


def _memory_bytes(shape: Shape, rung: Rung, ladder: Ladder, vocab_size: int) -> int:
    """Weights, gradients and Adam's two moments in float32; activations of one step; logits and their gradient."""
    width_bytes = 2 if ladder.precision == "bf16-mixed" else 4
    per_device = rung.batch_tokens // rung.devices
    activations = per_device * rung.depth * rung.width * 16 * width_bytes
    return shape.params * 16 + activations + per_device * vocab_size * 8


def _seconds_per_run(recipe: LoadedRecipe, ladder: Ladder, rung: Rung, shape: Shape, vocab_size: int) -> float:
    if ladder.accelerator == "gpu":
        return shape.flops_per_token * rung.tokens / (ASSUMED_GPU_FLOPS_PER_SECOND * rung.devices)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    knobs = recipe.resolve(rung, ladder.base)
    model = recipe.build_model(rung, knobs, vocab_size)
    stepper = Stepper(recipe, model, recipe.build_optimizers(model, rung, knobs), rung, knobs)
    ids = torch.randint(vocab_size, (rung.batch_size, rung.context + 1), generator=torch.Generator().manual_seed(0))
    stepper.step(0, ids, torch.Tensor.backward)
    started = time.perf_counter()
    for step in range(TIMED_STEPS):
        stepper.step(step, ids, torch.Tensor.backward)
    spent = time.perf_counter() - started
    torch.set_num_threads(threads)
    return spent / TIMED_STEPS * rung.steps


def _notes(ladder: Ladder, findings: int, sight: Sight, axis: str) -> list[str]:
    notes = [f"Runs are counted for {findings} findings and the stack, with no arm stopped by a gate."]
    if ladder.accelerator == "gpu":
        notes.append("Time is assumed at 4e14 FLOPs per second and GPU; it was not measured here.")
    else:
        notes.append(f"Time is that of {TIMED_STEPS} steps of the baseline, timed here and now on one thread.")
    return [*notes, *sight.notes({index: rung.name for index, rung in enumerate(ladder.rungs)}, axis)]
