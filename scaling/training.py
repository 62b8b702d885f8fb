"""One training run, from spec to spool."""

from __future__ import annotations

import contextlib
import logging
import math
import resource
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from data.batches import evaluation_sequences, train_batch
from data.errors import ScaleproofError
from data.spool import SpoolWriter, new_attempt
from data.study import Study
from data.tokens import TokenSet
from scaling import shape
from scaling.evaluation import bits_per_byte, mean_loss
from scaling.ladder import Rung
from scaling.loading import RecipeError, load
from scaling.module import DivergedError, RecipeModule
from scaling.preflight import check
from scaling.runs import REJECTED, RunSpec

CHUNK_STEPS = 10
REASON_CHARACTERS = 600

TokenArray = np.ndarray[Any, np.dtype[Any]]


class Chunks(IterableDataset[Tensor]):
    """The harness's order of the data, from step `first` to the end of the schedule, in chunks of several steps.

    It begins where the checkpoint stopped: a plain DataLoader would repeat data after a mid-epoch resumption.
    """

    def __init__(
        self, tokens: TokenArray, rung: Rung, *, seed: int, first: int, device_index: int, devices: int
    ) -> None:
        """Read from `tokens`, a one-dimensional array of token ids."""
        self._tokens, self._rung, self._seed, self._first = tokens, rung, seed, first
        self._device_index, self._devices = device_index, devices

    def __iter__(self) -> Iterator[Tensor]:
        """Yield int64 tensors (steps, batch / devices, context + 1)."""
        rung = self._rung
        for start in range(self._first, rung.steps, CHUNK_STEPS):
            rows = [
                torch.from_numpy(
                    train_batch(
                        self._tokens,
                        seed=self._seed,
                        step=step,
                        batch_size=rung.batch_size,
                        context=rung.context,
                        device_index=self._device_index,
                        devices=self._devices,
                    )
                )
                for step in range(start, min(start + CHUNK_STEPS, rung.steps))
            ]
            yield torch.stack(rows)


class Checkpoints(lightning.Callback):
    """Saves the run every so many seconds, aside first and then renamed."""

    def __init__(self, path: Path, every_seconds: float) -> None:
        """Save to `path`."""
        self._path, self._every = path, every_seconds
        self._last = time.monotonic()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        """Save when it is due."""
        if time.monotonic() - self._last < self._every:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(".tmp")
        trainer.save_checkpoint(aside)
        aside.replace(self._path)
        self._last = time.monotonic()


def train(study_path: Path, spec: RunSpec) -> None:
    """Make one run in this process and leave its rows in a spool file of its own.

    A checkpoint of an earlier attempt is resumed. What the recipe does wrong ends the run as `failed`, a non-finite or
    exploding loss as `diverged`; what the machine does wrong (a full disk, no memory) is raised and leaves the run
    unfinished.
    """
    study = Study.open(study_path)
    attempt, path = new_attempt(study.spool, f"runs/{spec.run_id}")
    with SpoolWriter(path) as writer:
        row: dict[str, Any] = {**spec.columns(), "attempt": attempt, "started_at": time.time()}
        writer.append("run", **row, status="running")
        try:
            with _quiet():
                row |= _train(study, spec, writer, attempt)
        except DivergedError as error:
            row |= {"status": "diverged", "reason": str(error)}
        except RecipeError as error:
            row |= {"status": "failed", "reason": f"{REJECTED}{error}" if spec.preflight else str(error)}
        except (OSError, MemoryError, ScaleproofError):
            raise
        except Exception as error:
            row |= {"status": "failed", "reason": _reason(error)}
        writer.append("run", **row, ended_at=time.time())
        writer.flush()
    _checkpoint_path(study, spec).unlink(missing_ok=True)


def _train(study: Study, spec: RunSpec, writer: SpoolWriter, attempt: int) -> dict[str, Any]:
    ladder, rung = spec.setting.ladder, spec.rung
    tokens = TokenSet.open(study.tokens)
    recipe = load((study.recipes / f"{spec.recipe_hash}.py").read_text(encoding="utf-8"))
    size = shape.cached(
        study.recipes / "shapes", spec.recipe_hash, recipe, rung=rung, base=spec.base, vocab_size=tokens.vocab_size
    )

    if spec.preflight:
        check(recipe, ladder, tokens.vocab_size)

    torch.manual_seed(spec.seed)
    knobs = recipe.resolve(rung, spec.base)
    module = RecipeModule(recipe, rung, knobs, tokens.vocab_size, compiled=ladder.compile)
    checkpoint = _checkpoint_path(study, spec)
    resumed = checkpoint.is_file()
    first = _steps_done(checkpoint) if resumed else 0
    trainer = _trainer(spec, checkpoint)
    chunks = Chunks(
        tokens.shard("train"),
        rung,
        seed=spec.seed,
        first=first,
        device_index=trainer.global_rank,
        devices=trainer.world_size,
    )
    try:
        trainer.fit(
            module,
            DataLoader(chunks, batch_size=None),
            ckpt_path=checkpoint if resumed else None,
            weights_only=False,
        )
    finally:
        for point in module.points:
            writer.append("point", run_id=spec.run_id, attempt=attempt, name="train_loss", **point)

    sequences = torch.from_numpy(
        evaluation_sequences(tokens.shard(spec.shard), ladder.evaluation_sequences, rung.context)
    )
    with trainer.precision_plugin.val_step_context():
        val_loss = mean_loss(module.model, sequences, rung.batch_size, tokens.vocab_size)
    if not math.isfinite(val_loss):
        raise DivergedError("The finished loss is not finite.")
    trained = rung.steps * rung.batch_tokens
    writer.append(
        "point",
        run_id=spec.run_id,
        attempt=attempt,
        name="val_loss",
        step=rung.steps,
        tokens=trained,
        seconds=module.timed_seconds,
        value=val_loss,
    )
    return {
        "status": "finished",
        "val_loss": val_loss,
        "val_bpb": bits_per_byte(val_loss, tokens.bytes_per_token(spec.shard)),
        "params": size.params,
        "params_non_embedding": size.params_non_embedding,
        "tokens": trained,
        "flops": size.flops_per_token * float(trained),
        "seconds": module.timed_seconds,
        "tokens_per_second": rung.batch_tokens / module.seconds_per_step,
        "peak_memory_bytes": _peak_memory_bytes(module.device),
        "device": _device_name(module.device),
    }


def _trainer(spec: RunSpec, checkpoint: Path) -> lightning.Trainer:
    ladder = spec.setting.ladder
    return lightning.Trainer(
        accelerator=ladder.accelerator,
        devices=spec.rung.devices,
        precision=ladder.precision,
        max_epochs=1,
        callbacks=[Checkpoints(checkpoint, ladder.checkpoint_seconds)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _checkpoint_path(study: Study, spec: RunSpec) -> Path:
    return study.checkpoints / f"{spec.run_id}.ckpt"


def _steps_done(checkpoint: Path) -> int:
    saved = torch.load(checkpoint, map_location="cpu", weights_only=False)
    return int(saved["scaleproof"]["steps_done"])


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _reason(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__}: {error} (line {last.lineno} of {Path(last.filename).name})"
    return said[:REASON_CHARACTERS]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners and advice, which would tear the progress display."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
