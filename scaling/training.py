"""One training run, from spec to spool."""

from __future__ import annotations

import contextlib
import logging
import math
import resource
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from data.batches import evaluation_sequences
from data.errors import ScaleproofError
from data.spool import SpoolWriter
from data.study import Study
from data.tokens import TokenSet
from scaling import shape
from scaling.checkpoints import Checkpoints, checkpoint_path, remove_checkpoint, steps_done
from scaling.chunks import Chunks
from scaling.evaluation import bits_per_byte, mean_loss
from scaling.loading import LoadedRecipe, RecipeError, load, said
from scaling.module import DivergedError, Note, RecipeModule
from scaling.preflight import check
from scaling.ranks import peers
from scaling.runs import REJECTED, RunSpec


def train(study_path: Path, spec: RunSpec) -> None:
    """Make one run in this process and leave its rows in a spool file of its own.

    A checkpoint of an earlier attempt is resumed. What the recipe does wrong ends the run as `failed`, a non-finite or
    exploding loss as `diverged`; what the machine does wrong (a full disk, no memory) is raised and leaves the run
    unfinished.
    """
    study = Study.open(study_path)
    attempt, opened = study.run_writer(spec.run_id)
    with opened as writer:
        row: dict[str, Any] = {**spec.columns(), "attempt": attempt, "started_at": time.time()}
        writer.append("run", **row, status="running")
        try:
            with _quiet(), peers(_train_as_peer, study_path, spec):
                row |= _Run(study, spec).train(writer, attempt)
        except DivergedError as error:
            row |= {"status": "diverged", "reason": str(error)}
        except RecipeError as error:
            row |= {"status": "failed", "reason": f"{REJECTED}{error}" if spec.preflight else str(error)}
        except (OSError, MemoryError, ScaleproofError):
            raise
        except (Exception, SystemExit) as error:
            row |= {"status": "failed", "reason": said(error)}
        writer.append("run", **row, ended_at=time.time())
        writer.flush()
    remove_checkpoint(checkpoint_path(study, spec))


def _train_as_peer(study_path: Path, spec: RunSpec) -> None:
    """Train along on another device; a divergence is seen by all and reported by the first."""
    with _quiet(), contextlib.suppress(DivergedError):
        _Run(Study.open(study_path), spec).fit(lambda point: None)


class _Run:
    """The parts of a run that every device needs, and those that only the first does."""

    def __init__(self, study: Study, spec: RunSpec) -> None:
        self.spec, self.ladder, self.rung = spec, spec.setting.ladder, spec.rung
        self.tokens = TokenSet.open(study.tokens)
        self.recipe: LoadedRecipe = load((study.recipes / f"{spec.recipe_hash}.py").read_text(encoding="utf-8"))
        self.checkpoint = checkpoint_path(study, spec)
        self.shapes = study.shapes

    def train(self, writer: SpoolWriter, attempt: int) -> dict[str, Any]:
        """Check, fit and evaluate; returns the columns of the view `runs` that a finished run adds."""
        spec, vocab_size = self.spec, self.tokens.vocab_size
        size = shape.cached(
            self.shapes, spec.recipe_hash, self.recipe, rung=self.rung, base=spec.base, vocab_size=vocab_size
        )
        if spec.preflight:
            check(self.recipe, self.ladder, vocab_size)

        def note(point: Mapping[str, float | str]) -> None:
            writer.append("point", run_id=spec.run_id, attempt=attempt, **point)

        trainer, module = self.fit(note)
        module.to(trainer.strategy.root_device)  # Lightning leaves the model on the CPU
        val_loss = self._evaluate(trainer, module)
        trained = self.rung.steps * self.rung.batch_tokens
        note(
            {
                "name": "val_loss",
                "step": self.rung.steps,
                "tokens": trained,
                "seconds": module.timed_seconds,
                "value": val_loss,
            }
        )
        return {
            "status": "finished",
            "val_loss": val_loss,
            "val_bpb": bits_per_byte(val_loss, self.tokens.bytes_per_token(spec.shard)),
            "params": size.params,
            "params_non_embedding": size.params_non_embedding,
            "tokens": trained,
            "flops": size.flops_per_token * float(trained),
            "seconds": module.timed_seconds,
            "tokens_per_second": self.rung.batch_tokens / module.seconds_per_step,
            "peak_memory_bytes": _peak_memory_bytes(module.device),
            "device": _device_name(module.device),
        }

    def fit(self, note: Note) -> tuple[lightning.Trainer, RecipeModule]:
        """Train to the end of the schedule, from the checkpoint where there is one."""
        torch.manual_seed(self.spec.seed)
        knobs = self.recipe.resolve(self.rung, self.spec.base)
        module = RecipeModule(
            self.recipe, self.rung, knobs, self.tokens.vocab_size, compiled=self.ladder.compile, note=note
        )
        first = steps_done(self.checkpoint)
        trainer = self._trainer()
        chunks = Chunks(
            self.tokens.shard("train"),
            self.rung,
            seed=self.spec.seed,
            first=first,
            device_index=trainer.global_rank,
        )
        trainer.fit(
            module,
            DataLoader(chunks, batch_size=None),
            ckpt_path=self.checkpoint if first else None,
            weights_only=False,
        )
        return trainer, module

    def _evaluate(self, trainer: lightning.Trainer, module: RecipeModule) -> float:
        held_out = self.tokens.shard(self.spec.shard)
        sequences = evaluation_sequences(held_out, self.ladder.evaluation_sequences, self.rung.context)
        with trainer.precision_plugin.val_step_context():
            batch_size = self.rung.batch_size // self.rung.devices
            loss = mean_loss(module.model, torch.from_numpy(sequences), batch_size, module.vocab_size)
        if not math.isfinite(loss):
            raise DivergedError("The finished loss is not finite.")
        return loss

    def _trainer(self) -> lightning.Trainer:
        return lightning.Trainer(
            accelerator=self.ladder.accelerator,
            devices=self.rung.devices,
            strategy="ddp" if self.rung.devices > 1 else "auto",
            precision=self.ladder.precision,
            max_epochs=1,
            callbacks=[Checkpoints(self.checkpoint, self.ladder.checkpoint_seconds)],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's banners and advice, which would tear the progress display."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
