"""Two arms timed against each other in cells, by the minder's clock, their steps interleaved A B B A.

A recipe that patches what answers the minder could say that it is done before it is: what a run's own training took,
in which the weights had to be made, is what to hold a timing against.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from data.study import Study
from data.tokens import TokenSet
from scaling.runs import TimingSpec
from scaling.timing import interleaved, leave_timing, timing_batches
from search.sandbox import inside
from search.sandbox.cell import Cell
from search.sandbox.feeding import as_bytes
from search.sandbox.naming import naming_the_limit
from search.sandbox.sight import out_of_sight
from search.sandbox.sizes import limits_of
from search.sandbox.talk import Talk


def time_pair(study_path: Path, spec: TimingSpec) -> None:
    """Time an arm against the baseline, each in a cell, and leave one `timing` row, as `scaling.timing` does.

    Raises ScaleproofError when this machine cannot do it.
    """
    leave_timing(Study.open(study_path), spec, measure)


def measure(study: Study, spec: TimingSpec) -> tuple[float, float]:
    """Return seconds per step of the arm and of the baseline; see `scaling.timing.interleaved`."""
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
        return interleaved(lambda who, indices: _seconds(racers[who], indices), spec.rung.steps, spec.seed)


def _racer(cell: Cell, spec: TimingSpec, text: str, vocab_size: int) -> Talk:
    return Talk(cell, lambda channel: inside.race(spec, text, vocab_size, channel), text)


def _seconds(talk: Talk, indices: Sequence[int]) -> float:
    started = time.perf_counter()
    talk.send("block", indices=indices)
    talk.hear("done")
    return time.perf_counter() - started
