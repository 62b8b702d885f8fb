"""The minder of one run: outside the cell, it feeds, takes the time, and computes the loss from logits itself.

Of what an inmate says only this is believed: its losses while it trains, which are points of a curve; its FLOPs and
parameters, which a recipe can misstate by patching what counts them, though fewer weights than parameters are refused;
on a GPU its peak memory and the device's name. Its steps are known from what it was fed, at most one chunk ahead of
what it says it has done. A recipe can spend more work than it should on the chunks that it holds; the minder's clock
sees that, outside the first chunk of an attempt, which is warm-up.
"""

from __future__ import annotations

import math
import os
import resource
import secrets
import shutil
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from data.study import Study
from data.tokens import TokenSet
from scaling.module import Note
from scaling.runs import RunSpec
from scaling.training import finished, leave_rows, note_finished
from search.sandbox import inside
from search.sandbox.bubblewrap import Mount
from search.sandbox.cell import Cell
from search.sandbox.feeding import Feeding
from search.sandbox.judging import judged
from search.sandbox.naming import naming_the_limit
from search.sandbox.resuming import CheckpointError, Progress
from search.sandbox.sight import out_of_sight
from search.sandbox.sizes import Sizes, limits_of
from search.sandbox.talk import Talk


def train(study_path: Path, spec: RunSpec) -> None:
    """Make one run in cells and leave its rows in a spool file of its own, as `scaling.training.train` does.

    Raises:
        ScaleproofError: when this machine cannot do the run; whatever the recipe does ends in a row.
    """
    study = Study.open(study_path)
    leave_rows(study, spec, make)
    _remove(_folder(study, spec))
    _progress(study, spec).forget()


def make(study: Study, spec: RunSpec, note: Note) -> dict[str, Any]:
    """Train in one cell and evaluate in two others; gives the columns of a finished run.

    Raises:
        FailedError, RecipeError, DivergedError: how the run ended otherwise.
        ScaleproofError: when this machine cannot do the run.
    """
    folder = _folder(study, spec)
    _clear_but_for_the_checkpoint(folder)
    try:
        return _made(study, spec, note)
    except CheckpointError:
        _remove(folder)  # its checkpoint may be a folder by now
        _clear_but_for_the_checkpoint(folder)
        return _made(study, spec, note)


def _made(study: Study, spec: RunSpec, note: Note) -> dict[str, Any]:
    gpu = spec.setting.ladder.accelerator == "gpu"
    tokens = TokenSet.open(study.tokens)
    text = (study.recipes / f"{spec.recipe_hash}.py").read_text(encoding="utf-8")
    task, limits = inside.Task(text, spec, tokens.vocab_size), limits_of(study, spec, tokens.vocab_size)
    own, hidden = Mount(_folder(study, spec), inside.RUN_FOLDER, writable=True), out_of_sight(study)
    first = Cell([own], limits, gpu, loopback=spec.rung.devices > 1, hidden=hidden)
    second, third = (Cell([], limits, gpu, hidden=hidden) for _ in range(2))
    # An inmate is a fork: no shard may be open here before it runs, or it would hold it in its memory. The cells are
    # closed together at the end, which takes a while; the first is empty before the others are filled.
    with naming_the_limit(study, limits, first, second, third), ExitStack() as cells:
        talk = Talk(cells.enter_context(first), lambda channel: _train_in_its_folder(task, channel), text)
        for cell in (second, third):
            cells.enter_context(cell)
        feeding = Feeding(talk, tokens, spec, note, _progress(study, spec))
        trained = feeding.to_the_end(Sizes(study, spec, tokens), limits.weights_bytes)
        first.kill()
        talk = Talk(second, lambda channel: inside.evaluate(task, channel), text)
        copied = Talk(third, lambda channel: inside.evaluate(task, channel), text)
        evaluated = judged(talk, copied, trained, tokens, spec)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    row = finished(
        spec,
        tokens,
        trained.size,
        evaluated=evaluated,
        seconds=trained.seconds,
        cpu_seconds=math.nan if gpu else trained.cpu_seconds,
        seconds_per_step=trained.seconds_per_step,
    )
    note_finished(note, spec, row)
    where = (trained.peak_memory_bytes, trained.device) if gpu else (peak, "cpu")
    return {**row, "peak_memory_bytes": where[0], "device": where[1]}


def _train_in_its_folder(task: inside.Task, channel: socket.socket) -> None:
    """Train; checkpoints are written by way of the folder for temporary files, where /tmp would be too small."""
    tempfile.tempdir = os.environ["TMPDIR"] = inside.RUN_FOLDER
    inside.train(task, channel)


def _progress(study: Study, spec: RunSpec) -> Progress:
    return Progress(_folder(study, spec) / inside.CHECKPOINT.name, study.checkpoints / f"{spec.run_id}.json")


def _folder(study: Study, spec: RunSpec) -> Path:
    """The one folder that the run may write; it outlives an attempt that was killed."""
    return study.checkpoints / spec.run_id


def _clear_but_for_the_checkpoint(folder: Path) -> None:
    """Make the run's folder, or remove from it what an attempt that was killed left half written."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for inner in _folders(folder):
        _remove(inner)
    for left in folder.iterdir():
        if left.name != inside.CHECKPOINT.name:
            left.unlink()


def _remove(folder: Path) -> None:
    """Remove what is left of a run that has ended, whatever rights it gave its folders, and no link's target.

    Folders come up before they go, since they may lie deeper than a path can be long, or a call can call itself. Each
    is listed once for its folders, and once for its files.
    """
    folder.chmod(0o700)
    waiting = _folders(folder)
    while waiting:
        inner = waiting.pop()
        inner.chmod(0o700)
        for below in _folders(inner):
            below.chmod(0o700)
            waiting.append(below.rename(folder / secrets.token_hex(8)))
        shutil.rmtree(inner)
    shutil.rmtree(folder)


def _folders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(one.path) for one in entries if one.is_dir(follow_symlinks=False)]
