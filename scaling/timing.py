"""One block of a timing: two arms timed against each other on one device at one moment, interleaved A B B A.

On a CPU the clock is the process's own CPU time, which other processes of the machine hardly move; on a GPU it is the
device's events. The wall clock is kept beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.batches import train_batch
from data.study import Study
from data.tokens import TokenSet
from scaling.loading import RecipeError, load
from scaling.machine import Load, gpu_state
from scaling.runs import TimingSpec
from scaling.stepper import Stepper
from scaling.training import FailedError

PLACES = 8
"""Evenly spread over the schedule, since what a step costs may depend on progress, as with short sequences first."""
TURN_STEPS = 3
"""Steps timed at each place, after one that is not: what is met there for the first time would count too much."""
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds that some steps took. own: by the clock that counts, NaN where there is none; wall: by the wall clock."""

    own: float
    wall: float

    def __add__(self, other: Lap) -> Lap:
        """Both together."""
        return Lap(self.own + other.own, self.wall + other.wall)

    def per_step(self, steps: int) -> Lap:
        """The mean of so many steps."""
        return Lap(self.own / steps, self.wall / steps)


@dataclass(frozen=True, slots=True)
class Block:
    """What one block measured. clock: of each lap's `own` seconds, "cpu" or "event". arm, baseline: seconds per step.

    load: share of the machine's cores that other processes kept busy meanwhile. started_at, ended_at: Unix seconds.
    state: of the GPU, as JSON text; None on a CPU.
    """

    clock: str
    arm: Lap
    baseline: Lap
    load: float
    started_at: float
    ended_at: float
    state: str | None = None

    def columns(self, batch_tokens: int) -> dict[str, Any]:
        """The columns of the view `timings` that are measured; by the wall clock alone where the other told nothing."""
        told = self.arm.own > 0 and self.baseline.own > 0
        arm, baseline = (self.arm.own, self.baseline.own) if told else (self.arm.wall, self.baseline.wall)
        return {
            "clock": self.clock if told else "wall",
            "seconds_per_token": arm / batch_tokens,
            "baseline_seconds_per_token": baseline / batch_tokens,
            "ln_ratio": math.log(arm / baseline),
            "wall_seconds_per_token": self.arm.wall / batch_tokens,
            "baseline_wall_seconds_per_token": self.baseline.wall / batch_tokens,
            "ln_wall_ratio": math.log(self.arm.wall / self.baseline.wall),
            "load": None if math.isnan(self.load) else self.load,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "state": self.state,
        }


Turn = Callable[[int, Sequence[int]], Lap]
"""What arm 0 or baseline 1 takes for the steps of these indices."""


Measure = Callable[[Study, TimingSpec], Block]
"""Measures one block."""


def time_pair(study_path: Path, spec: TimingSpec) -> None:
    """Time the training steps of an arm and of the baseline, and leave one `timing` row in a spool file of its own."""
    leave_timing(Study.open(study_path), spec, measure)


def leave_timing(study: Study, spec: TimingSpec, measured: Measure) -> None:
    """Write the row of a timing; one that a recipe breaks has a reason in the place of its numbers."""
    row: dict[str, Any] = {**spec.columns(), "run_id": spec.run_id, "device": _device(spec).type}
    try:
        row |= measured(study, spec).columns(spec.rung.batch_tokens)
    except (FailedError, RecipeError) as error:
        row["reason"] = str(error)
    with study.run_writer(spec.run_id)[1] as writer:
        writer.append("timing", **row)
        writer.flush()


def measure(study: Study, spec: TimingSpec) -> Block:
    """Time both in this process, on one thread of a CPU; see `timed_block`."""
    tokens = TokenSet.open(study.tokens)
    batches = timing_batches(tokens, spec)
    with one_thread():
        racers = [
            Racer(spec, (study.recipes / f"{name}.py").read_text(encoding="utf-8"), batches, tokens.vocab_size)
            for name in (spec.recipe_hash, spec.baseline_hash)
        ]
        clock = "event" if racers[0].device.type == "cuda" else "cpu"
        return timed_block(spec, clock, lambda who, indices: racers[who].lap(indices), time.process_time)


def timed_block(spec: TimingSpec, clock: str, turn: Turn, own_seconds: Callable[[], float]) -> Block:
    """Time a block, and what the machine did meanwhile.

    own_seconds: CPU seconds so far of the processes that time or are timed, which are no load.
    """
    load, before, started_at = Load(), own_seconds(), time.time()
    arm, baseline = interleaved(turn, spec.rung.steps, spec.seed + spec.block)
    busy, ended_at = load.share(own_seconds() - before), time.time()
    state = gpu_state() if spec.setting.ladder.accelerator == "gpu" else None
    return Block(clock, arm, baseline, busy, started_at, ended_at, state)


def interleaved(turn: Turn, steps: int, seed: int) -> tuple[Lap, Lap]:
    """Seconds per step of both, means over places along a schedule of `steps`, after a turn of warm-up each.

    All that was timed counts: a median over places would lose a phase in which steps cost more, and what is done once
    in several steps. A neighbour's burst of work meets both, whose turns are short.
    """
    warm_up, *places = _places(steps, seed)
    for who in (0, 1):
        turn(who, warm_up)
    spent = [Lap(0.0, 0.0), Lap(0.0, 0.0)]
    for number, indices in enumerate(places):
        # A B B A, so that a drift of the machine's speed cancels.
        for who in (0, 1) if number % 2 == 0 else (1, 0):
            turn(who, indices[:1])
            spent[who] += turn(who, indices[1:])
    return spent[0].per_step(PLACES * TURN_STEPS), spent[1].per_step(PLACES * TURN_STEPS)


def _places(steps: int, seed: int) -> list[list[int]]:
    """Step indices of the warm-up, and of each place the one that is not timed and those that are; none comes before.

    The places of seeds that follow each other lie between each other's, so that their mean favours no place.
    """
    starts = [int((place + seed * GOLDEN % 1) / PLACES * steps) for place in range(PLACES)]
    warm_up = [min(step, starts[0]) for step in range(TURN_STEPS)]
    ends = [*starts[1:], steps - 1]
    return [
        warm_up,
        *([min(start + step, end) for step in range(1 + TURN_STEPS)] for start, end in zip(starts, ends, strict=True)),
    ]


def timing_batches(tokens: TokenSet, spec: TimingSpec) -> Tensor:
    """What both are timed on, int64 (steps of a turn, batch, context + 1)."""
    train, rung = tokens.shard("train"), spec.rung
    return torch.stack(
        [
            torch.from_numpy(
                train_batch(train, seed=spec.seed, step=step, batch_size=rung.batch_size, context=rung.context)
            )
            for step in range(TURN_STEPS)
        ]
    )


class Racer:
    """One recipe, ready to take steps against the clock."""

    def __init__(self, spec: TimingSpec, text: str, batches: Tensor, vocab_size: int) -> None:
        """Build the model of recipe `text`; `batches` as `timing_batches` gives them."""
        self.device = _device(spec)
        self._batches = batches.to(self.device)
        self._mixed = spec.setting.ladder.precision == "bf16-mixed"
        recipe = load(text)
        knobs = recipe.resolve(spec.rung, spec.setting.ladder.base)
        torch.manual_seed(spec.seed)
        model = recipe.build_model(spec.rung, knobs, vocab_size).to(self.device)
        network = torch.compile(model) if spec.setting.ladder.compile else model
        self._stepper = Stepper(recipe, network, recipe.build_optimizers(model, spec.rung, knobs), spec.rung, knobs)

    def lap(self, indices: Sequence[int]) -> Lap:
        """Take the steps of these indices, a turn of them at most; returns what they took."""
        if self.device.type == "cuda":
            return self._lap_of_events(indices)
        started, own = time.perf_counter(), time.process_time()
        self._steps(indices)
        return Lap(time.process_time() - own, time.perf_counter() - started)

    def _lap_of_events(self, indices: Sequence[int]) -> Lap:
        """On the GPU, by events in its stream: what the host does between launches counts only where the GPU waits."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.cuda.device(self.device):
            torch.cuda.synchronize()
            started = time.perf_counter()
            begin.record()
            self._steps(indices)
            end.record()
            torch.cuda.synchronize()
        return Lap(begin.elapsed_time(end) / 1000, time.perf_counter() - started)

    def _steps(self, indices: Sequence[int]) -> None:
        for index, ids in zip(indices, self._batches, strict=False):
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._mixed):
                self._stepper.step(index, ids, Tensor.backward)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, so that CPU time is the time of the work and not of threads that wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _device(spec: TimingSpec) -> torch.device:
    return torch.device("cuda" if spec.setting.ladder.accelerator == "gpu" else "cpu")
