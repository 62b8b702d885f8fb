"""Checkpoints of a run that has not ended."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import lightning
import torch

from data.study import Study
from scaling.runs import RunSpec


def checkpoint_path(study: Study, spec: RunSpec) -> Path:
    """Where the run's checkpoint stands while it has not ended."""
    return study.checkpoints / f"{spec.run_id}.ckpt"


def steps_done(checkpoint: Path) -> int:
    """How many optimiser steps a checkpoint holds; 0 when there is none that can be read."""
    if not checkpoint.is_file():
        return 0
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=False)
        return int(saved["scaleproof"]["steps_done"])
    except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError):
        return 0


def remove_checkpoint(checkpoint: Path) -> None:
    """Remove what is left of a run that has ended, a half-written checkpoint too."""
    for path in (checkpoint, _aside(checkpoint)):
        path.unlink(missing_ok=True)


def _aside(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".tmp")


class Checkpoints(lightning.Callback):
    """Saves the run every so many seconds, aside first and then renamed; the first device decides for all."""

    def __init__(self, path: Path, every_seconds: float) -> None:
        """Save to `path`."""
        self._path, self._every = path, every_seconds
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Save when it is due."""
        due = time.monotonic() - self._last >= self._every
        if trainer.world_size > 1:
            due = trainer.strategy.broadcast(due)
        if not due:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(self._path)
        trainer.save_checkpoint(aside)
        if trainer.is_global_zero:
            with aside.open("rb") as saved:
                os.fsync(saved.fileno())
            aside.replace(self._path)
        self._last = time.monotonic()
