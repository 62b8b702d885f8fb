"""The course of one run: a recipe's model trained to the end of its schedule, whoever feeds it."""

from __future__ import annotations

import contextlib
import logging
import resource
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from scaling.checkpoints import Checkpoints, steps_done
from scaling.loading import LoadedRecipe
from scaling.module import Note, RecipeModule
from scaling.runs import RunSpec

Feed = Callable[[int, int], IterableDataset[Tensor]]
"""Gives the chunks, from the first step that is still to be taken, for one of the run's devices."""


@dataclass(frozen=True, slots=True)
class Course:
    """What one device needs to train: the recipe, the run, the size of the vocabulary, and where checkpoints stand."""

    recipe: LoadedRecipe
    spec: RunSpec
    vocab_size: int
    checkpoint: Path

    def fit(self, feed: Feed, note: Note) -> tuple[lightning.Trainer, RecipeModule]:
        """Train to the end of the schedule, from the checkpoint where there is one.

        Raises:
            DivergedError: when the training loss is not finite or has exploded.
            RecipeError: when the recipe breaks its contract; else whatever it raises.
        """
        spec = self.spec
        torch.manual_seed(spec.seed)
        knobs = self.recipe.resolve(spec.rung, spec.base)
        module = RecipeModule(
            self.recipe, spec.rung, knobs, self.vocab_size, compiled=spec.setting.ladder.compile, note=note
        )
        first = steps_done(self.checkpoint)
        trainer = self._trainer()
        trainer.fit(
            module,
            DataLoader(feed(first, trainer.global_rank), batch_size=None),
            ckpt_path=self.checkpoint if first else None,
            weights_only=False,
        )
        return trainer, module

    def _trainer(self) -> lightning.Trainer:
        ladder, devices = self.spec.setting.ladder, self.spec.rung.devices
        return lightning.Trainer(
            accelerator=ladder.accelerator,
            devices=devices,
            strategy="ddp" if devices > 1 else "auto",
            precision=ladder.precision,
            max_epochs=1,
            callbacks=[Checkpoints(self.checkpoint, ladder.checkpoint_seconds)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process held: on the GPU that it used, or else at all."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: torch.device) -> str:
    """How the view `runs` names a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's banners and advice, which would tear the progress display."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
