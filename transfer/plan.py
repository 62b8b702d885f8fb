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
from transfer.factorial.plans import plackett_burman
from transfer.half_stacks import MOST_WITHOUT_PLAN
from transfer.power import POWER, smallest_visible_saving
from transfer.presets import vocabulary
from transfer.settings import TransferSettings

ASSUMED = {"cpu": (0.03, 0.45, 0.01), "gpu": (0.001, 0.16, 0.003)}
"""Until a study has measured its own: sigma and kappa (nats per token) and s_time, by accelerator."""
ASSUMED_CORRELATION = 0.5
ASSUMED_GPU_FLOPS_PER_SECOND = 4e14
"""Forty per cent of an H100's dense bfloat16 peak, 989e12 (NVIDIA H100 data sheet)."""
TIMED_STEPS = 4


@dataclass(frozen=True, slots=True)
class RungPlan:
    """What one rung needs. FLOPs, bytes and seconds of one run at the rung's horizon; `hours` of all runs there."""

    rung: str
    params: int
    params_non_embedding: int
    tokens: int
    flops: float
    memory_bytes: int
    seconds: float
    runs: float
    hours: float
    pairs: int
    smallest_saving: float


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
    measured = {
        row["rung"]: (row["sigma"], row["kappa"])
        for row in Store(study.path).rows("select rung, sigma, kappa from slopes where kappa > 0")
    }
    plans = []
    for index, rung in enumerate(ladder.rungs):
        shape = measure(recipe, rung, ladder.base, vocab_size)
        sigma, kappa, s_time = ASSUMED[ladder.accelerator]
        sigma, kappa = measured.get(index, (sigma, kappa))
        seconds = _seconds_per_run(recipe, ladder, rung, shape, vocab_size)
        is_top = index == len(ladder.rungs) - 1
        pairs = settings.pairs[-1 if is_top else 0]
        runs = _runs(settings, findings, pairs, is_top=is_top)
        plans.append(
            RungPlan(
                rung=rung.name,
                params=shape.params,
                params_non_embedding=shape.params_non_embedding,
                tokens=rung.tokens,
                flops=shape.flops_per_token * float(rung.tokens),
                memory_bytes=_memory_bytes(shape, rung, ladder, vocab_size),
                seconds=seconds,
                runs=runs,
                hours=runs * seconds / workers / 3600,
                pairs=pairs,
                smallest_saving=smallest_visible_saving(
                    sigma=sigma,
                    kappa=kappa,
                    s_time=s_time,
                    pairs=pairs,
                    correlation=ASSUMED_CORRELATION,
                    alpha=settings.alpha,
                    power=POWER["transfers"],
                ),
            )
        )
    return Plan(plans, workers, _notes(ladder, findings, set(measured), len(ladder.rungs)))


def _runs(settings: TransferSettings, findings: int, pairs: int, *, is_top: bool) -> float:
    """Runs of a rung in units of one at its horizon, if no gate stops anything."""
    runs = pairs * (findings + 2) + settings.horizon_seeds * (0.5 + 2.0) + 2 * settings.aa_pairs
    if not is_top:
        return runs
    plan = 0 if findings <= MOST_WITHOUT_PLAN else plackett_burman(findings).shape[0] * (4 if settings.fold_over else 2)
    return runs + pairs * findings + plan + 2 * settings.landing_pairs


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


def _notes(ladder: Ladder, findings: int, measured: set[int], rungs: int) -> list[str]:
    notes = [f"Runs are counted for {findings} findings and the stack, with no arm stopped by a gate."]
    if len(measured) < rungs:
        sigma, kappa, s_time = ASSUMED[ladder.accelerator]
        notes.append(
            f"Noise and slope of rungs not yet measured are assumed: sigma {sigma}, kappa {kappa} nats per token, "
            f"s_time {s_time}, correlation of pairs {ASSUMED_CORRELATION}."
        )
    if ladder.accelerator == "gpu":
        notes.append("Time is assumed at 4e14 FLOPs per second and GPU; it was not measured here.")
    else:
        notes.append(f"Time is that of {TIMED_STEPS} steps of the baseline, timed here and now on one thread.")
    notes.append("The smallest saving is one in tokens, established with 90 % chance by the pairs named.")
    return notes
