"""One block of a timing in cells: by the CPU time that the kernel counts for each, seen from outside.

A recipe that patches what answers the minder could say that it is done before it is: what a run's own training took,
in which the weights had to be made, is what to hold a timing against. A GPU's events could be read by the inmate alone,
so that there the minder's wall clock counts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from data.study import Study
from data.tokens import TokenSet
from scaling.runs import TimingSpec
from scaling.timing import Block, Lap, leave_timing, timed_block, timing_batches
from search.sandbox import inside
from search.sandbox.cell import Cell
from search.sandbox.feeding import as_bytes
from search.sandbox.naming import naming_the_limit
from search.sandbox.sight import out_of_sight
from search.sandbox.sizes import limits_of
from search.sandbox.talk import Talk

SETTLE_SECONDS = 0.001
"""The kernel counts a thread's time to the last nanosecond once it sleeps, as an inmate does soon after it answers."""


def time_pair(study_path: Path, spec: TimingSpec) -> None:
    """Time an arm against the baseline, each in a cell, and leave one `timing` row, as `scaling.timing` does.

    Raises ScaleproofError when this machine cannot do it.
    """
    leave_timing(Study.open(study_path), spec, measure)


def measure(study: Study, spec: TimingSpec) -> Block:
    """Time both, each in a cell; see `scaling.timing.timed_block`."""
    gpu = spec.setting.ladder.accelerator == "gpu"
    tokens = TokenSet.open(study.tokens)
    limits = limits_of(study, spec, tokens.vocab_size)
    texts = [
        (study.recipes / f"{name}.py").read_text(encoding="utf-8") for name in (spec.recipe_hash, spec.baseline_hash)
    ]
    cells = [Cell([], limits, gpu, hidden=out_of_sight(study)) for _ in texts]
    with naming_the_limit(study, limits, *cells), ExitStack() as open_cells:
        racers = [
            _racer(open_cells.enter_context(cell), spec, text, tokens.vocab_size)
            for cell, text in zip(cells, texts, strict=True)
        ]
        batches = as_bytes(timing_batches(tokens, spec))
        for talk in racers:
            talk.send("start", batches)
            talk.hear("ready")

        def own_seconds() -> float:
            return time.process_time() + sum(talk.cpu_seconds() for talk in racers)

        return timed_block(spec, "cpu", lambda who, indices: _lap(racers[who], indices, gpu=gpu), own_seconds)


def _racer(cell: Cell, spec: TimingSpec, text: str, vocab_size: int) -> Talk:
    return Talk(cell, lambda channel: inside.race(spec, text, vocab_size, channel), text)


def _lap(talk: Talk, indices: Sequence[int], *, gpu: bool) -> Lap:
    own, started = talk.cpu_seconds(), time.perf_counter()
    talk.send("turn", indices=indices)
    talk.hear("done")
    wall = time.perf_counter() - started
    if gpu:
        return Lap(math.nan, wall)
    time.sleep(SETTLE_SECONDS)
    return Lap(talk.cpu_seconds() - own, wall)
