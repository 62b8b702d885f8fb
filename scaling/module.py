"""The Lightning module that trains a recipe's model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning
import torch
from torch import Tensor

from data.errors import ScaleproofError
from scaling.ladder import Rung
from scaling.loading import LoadedRecipe
from scaling.stepper import Stepper

EXPLODED_FACTOR = 1.5
"""A mean training loss above this multiple of ln(vocabulary), a fifth of the way or later, has exploded."""


Note = Callable[[Mapping[str, float | str]], None]


class DivergedError(ScaleproofError):
    """The loss is not finite, or has exploded."""


def curve_point(rung: Rung, step: int, seconds: float, loss: float) -> dict[str, float | str]:
    """One point of a run's curve: the mean training loss of the chunk that ends at `step`."""
    return {"name": "train_loss", "step": step, "tokens": step * rung.batch_tokens, "seconds": seconds, "value": loss}


def check_divergence(loss: float, step: int, rung: Rung, vocab_size: int) -> None:
    """Raise `DivergedError` when a chunk's mean training loss, in nats per token, says so at `step`."""
    if not math.isfinite(loss):
        raise DivergedError(f"The training loss is not finite at step {step}.")
    if step >= rung.steps / 5 and loss > EXPLODED_FACTOR * math.log(vocab_size):
        raise DivergedError(f"The training loss has exploded to {loss:.2f} at step {step}.")


class RecipeModule(lightning.LightningModule):
    """Trains a recipe; one Lightning batch is a chunk of several optimiser steps.

    The Trainer costs about a millisecond per batch, which a tiny model would feel: a chunk of steps pays it once. The
    recipe's optimisers are stepped here, so that any number of them works and an edit may bring its own.
    """

    def __init__(
        self,
        recipe: LoadedRecipe,
        rung: Rung,
        knobs: Mapping[str, float],
        vocab_size: int,
        *,
        compiled: bool = False,
        note: Note = lambda point: None,
    ) -> None:
        """Build the model; `rung.steps` is the length of the schedule. `note` is given each point of the curve."""
        super().__init__()
        self.automatic_optimization = False
        self.recipe = recipe
        self.rung = rung
        self.knobs = dict(knobs)
        self.vocab_size = vocab_size
        self.model = recipe.build_model(rung, knobs, vocab_size)
        self.compiled = compiled
        self.steps_done = 0
        self.timed_seconds = 0.0
        self.timed_cpu_seconds = 0.0
        self.timed_steps = 0
        self._write = note
        self._warm = False
        self._random_state: dict[str, Any] | None = None
        self._stepper: Stepper | None = None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Build the recipe's optimisers."""
        optimizers = self.recipe.build_optimizers(self.model, self.rung, self.knobs)
        # Only the inner model is compiled: a compiled LightningModule crashes in self.log on torch 2.12 and 2.13.
        network = torch.compile(self.model) if self.compiled else self.model
        self._stepper = Stepper(self.recipe, network, optimizers, self.rung, self.knobs)
        return optimizers

    def training_step(self, chunk: Tensor, index: int) -> None:
        """Take one optimiser step per row of `chunk`, int64 (steps, batch, context + 1).

        Raises:
            DivergedError: when the chunk's mean loss is not finite or has exploded.
        """
        assert self._stepper is not None
        started, cpu_started = self._clock(), time.process_time()
        total = torch.zeros((), device=self.device)
        for ids in chunk:
            total += self._stepper.step(self.steps_done, ids, self.manual_backward)
            self.steps_done += 1
        loss = self._over_devices(total) / len(chunk)
        if self._warm:  # the first chunk of an attempt is warm-up: allocation, caches, compilation
            self.timed_seconds += self._clock() - started
            self.timed_cpu_seconds += time.process_time() - cpu_started
            self.timed_steps += len(chunk)
        self._warm = True
        self._write(curve_point(self.rung, self.steps_done, self.timed_seconds, loss))
        check_divergence(loss, self.steps_done, self.rung, self.vocab_size)

    @property
    def seconds_per_step(self) -> float:
        """Measured training seconds of one step, outside warm-up, evaluation and checkpoints; NaN when none was."""
        return self.timed_seconds / self.timed_steps if self.timed_steps else math.nan

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of this process over the steps that were timed; NaN on a GPU, whose work they do not show."""
        return math.nan if self.device.type == "cuda" else self.timed_cpu_seconds

    def _over_devices(self, value: Tensor) -> float:
        """Mean over the devices, so that all of them see a divergence at the same step."""
        if self.trainer.world_size > 1:
            value = self.trainer.strategy.reduce(value, reduce_op="mean")
        return float(value)

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the step, the clock and the random state: all that a bit-exact resumption needs."""
        assert self._stepper is not None
        checkpoint["scaleproof"] = {
            "steps_done": self.steps_done,
            "timed_seconds": self.timed_seconds,
            "timed_cpu_seconds": self.timed_cpu_seconds,
            "timed_steps": self.timed_steps,
            "cpu_random_state": torch.get_rng_state(),
            "cuda_random_state": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` added; the random state waits for `on_train_start`."""
        saved = checkpoint["scaleproof"]
        self.steps_done = saved["steps_done"]
        self.timed_seconds = saved["timed_seconds"]
        # A checkpoint of an earlier version does not know them.
        self.timed_cpu_seconds = saved.get("timed_cpu_seconds", math.nan)
        self.timed_steps = saved["timed_steps"]
        self._random_state = saved

    def on_train_start(self) -> None:
        """Restore the random state last of all, since setting up the Trainer may draw from it."""
        if self._random_state is None:
            return
        torch.set_rng_state(self._random_state["cpu_random_state"])
        if self._random_state["cuda_random_state"] is not None:
            # Every device of a run draws alike, so that the first one's state serves all.
            torch.cuda.set_rng_state(self._random_state["cuda_random_state"], self.device)
