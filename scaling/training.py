"""One training run, from spec to spool."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch

from data.batches import evaluation_documents, evaluation_sequences, train_batch
from data.errors import ScaleproofError
from data.study import Study
from data.tokens import TokenSet
from scaling import shape
from scaling.checkpoints import checkpoint_path, remove_checkpoint
from scaling.chunks import Chunks
from scaling.course import Course, device_name, peak_memory_bytes, quiet
from scaling.evaluation import Evaluated, bits_per_byte, evaluate
from scaling.loading import RecipeError, load, said
from scaling.module import DivergedError, Note, RecipeModule
from scaling.preflight import SAMPLE_SEQUENCES, check
from scaling.ranks import peers
from scaling.runs import REJECTED, RunSpec

LADDER_SHARD = "final"
DOCUMENTS = "documents"
"""Beside the columns of a finished run: what goes into a row of its own, of kind `evaluation`."""

Make = Callable[[Study, RunSpec, Note], dict[str, Any]]
"""Makes a run; gives the columns that a finished run adds to the view `runs`."""


class FailedError(ScaleproofError):
    """The run has failed, and not this machine; what it says is the reason in the run's row."""


def train(study_path: Path, spec: RunSpec) -> None:
    """Make one run in this process and leave its rows in a spool file of its own; see `leave_rows`.

    A checkpoint of an earlier attempt is resumed.
    """
    study = Study.open(study_path)
    leave_rows(study, spec, _in_this_process)
    remove_checkpoint(checkpoint_path(study, spec))


def leave_rows(study: Study, spec: RunSpec, make: Make) -> None:
    """Make one run and leave its rows, and the points of its curve, in a spool file of its own.

    What the recipe does wrong ends the run as `failed`, a non-finite or exploding loss as `diverged`; what the machine
    does wrong (a full disk, no memory) is raised and leaves the run unfinished.
    """
    attempt, opened = study.run_writer(spec.run_id)
    with opened as writer:

        def note(point: Mapping[str, float | str]) -> None:
            writer.append("point", run_id=spec.run_id, attempt=attempt, **point)

        row: dict[str, Any] = {**spec.columns(), "attempt": attempt, "started_at": time.time()}
        writer.append("run", **row, status="running")
        try:
            row |= make(study, spec, note)
        except DivergedError as error:
            row |= {"status": "diverged", "reason": str(error)}
        except RecipeError as error:
            row |= {"status": "failed", "reason": f"{REJECTED}{error}" if spec.preflight else str(error)}
        except FailedError as error:
            row |= {"status": "failed", "reason": str(error)}
        except (OSError, MemoryError, ScaleproofError):
            raise
        except (Exception, SystemExit) as error:
            row |= {"status": "failed", "reason": said(error)}
        documents = row.pop(DOCUMENTS, None)
        if documents is not None:
            writer.append("evaluation", run_id=spec.run_id, attempt=attempt, **documents)
        writer.append("run", **row, ended_at=time.time())
        writer.flush()


def finished(
    spec: RunSpec,
    tokens: TokenSet,
    size: shape.Shape,
    *,
    evaluated: Evaluated,
    seconds: float,
    cpu_seconds: float,
    seconds_per_step: float,
) -> dict[str, Any]:
    """The columns of a finished run, but for those that say where it ran; losses in nats per token.

    cpu_seconds may be NaN, where nobody measured them.

    Raises:
        DivergedError: when the loss is not finite.
    """
    val_loss = evaluated.mean
    if not math.isfinite(val_loss):
        raise DivergedError("The finished loss is not finite.")
    trained = spec.rung.steps * spec.rung.batch_tokens
    return {
        "status": "finished",
        "val_loss": val_loss,
        "val_bpb": bits_per_byte(val_loss, tokens.bytes_per_token(spec.shard)),
        "params": size.params,
        "params_non_embedding": size.params_non_embedding,
        "tokens": trained,
        "flops": size.flops_per_token * float(trained),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds if math.isfinite(cpu_seconds) else None,
        "tokens_per_second": spec.rung.batch_tokens / seconds_per_step,
        DOCUMENTS: document_losses(spec, tokens, evaluated),
    }


def document_losses(spec: RunSpec, tokens: TokenSet, evaluated: Evaluated) -> dict[str, list[float]] | None:
    """Mean loss in nats, and number of sequences, by document of the held-out text that the ladder is judged on.

    They tell how much an arm's gain depends on the choice of that text. Of other shards nothing is kept.
    """
    if spec.shard != LADDER_SHARD:
        return None
    found = evaluation_documents(
        tokens.shard(spec.shard), len(evaluated.sequences), spec.rung.context, tokens.vocab_size - 1
    )
    counts = np.bincount(found)
    sums = np.bincount(found, evaluated.sequences)
    known = counts > 0
    return {
        "losses": np.round(sums[known] / counts[known], 6).tolist(),
        "sequences": counts[known].tolist(),
    }


def note_finished(note: Note, spec: RunSpec, row: Mapping[str, Any]) -> None:
    """Put the finished loss at the end of the run's curve."""
    where = {"step": spec.rung.steps, "tokens": row["tokens"], "seconds": row["seconds"]}
    note({"name": "val_loss", **where, "value": row["val_loss"]})


def sample(tokens: TokenSet, spec: RunSpec) -> torch.Tensor:
    """The real text of a preflight, int64 (sequences, context + 1), the same for every run at a rung 0."""
    context = spec.base.context
    return torch.from_numpy(
        train_batch(tokens.shard("train"), seed=0, step=0, batch_size=SAMPLE_SEQUENCES, context=context)
    )


def held_out(tokens: TokenSet, spec: RunSpec) -> torch.Tensor:
    """The sequences of a run's evaluation, int64 (count, context + 1)."""
    count = spec.setting.ladder.evaluation_sequences
    return torch.from_numpy(evaluation_sequences(tokens.shard(spec.shard), count, spec.rung.context))


def _in_this_process(study: Study, spec: RunSpec, note: Note) -> dict[str, Any]:
    with quiet(), peers(_train_as_peer, study.path, spec):
        return _train(study, spec, note)


def _train_as_peer(study_path: Path, spec: RunSpec) -> None:
    """Train along on another device; a divergence is seen by all and reported by the first."""
    study = Study.open(study_path)
    with quiet(), contextlib.suppress(DivergedError):
        _fit(_course(study, spec), study, lambda point: None)


def _train(study: Study, spec: RunSpec, note: Note) -> dict[str, Any]:
    tokens = TokenSet.open(study.tokens)
    # A recipe's globals may keep what they saw: what is counted is not what is trained.
    counted = _course(study, spec).recipe
    size = shape.cached(
        study.shapes, spec.recipe_hash, counted, rung=spec.rung, base=spec.base, vocab_size=tokens.vocab_size
    )
    course = _course(study, spec)
    if spec.preflight:
        check(course.recipe, spec.setting.ladder, tokens.vocab_size, sample(tokens, spec))
    trainer, module = _fit(course, study, note)
    module.to(trainer.strategy.root_device)  # Lightning leaves the model on the CPU
    with trainer.precision_plugin.val_step_context():
        batch_size = spec.rung.batch_size // spec.rung.devices
        evaluated = evaluate(module.model, held_out(tokens, spec), batch_size, tokens.vocab_size)
    row = finished(
        spec,
        tokens,
        size,
        evaluated=evaluated,
        seconds=module.timed_seconds,
        cpu_seconds=module.cpu_seconds,
        seconds_per_step=module.seconds_per_step,
    )
    note_finished(note, spec, row)
    return {
        **row,
        "peak_memory_bytes": peak_memory_bytes(module.device),
        "device": device_name(module.device),
    }


def _course(study: Study, spec: RunSpec) -> Course:
    recipe = load((study.recipes / f"{spec.recipe_hash}.py").read_text(encoding="utf-8"))
    return Course(recipe, spec, TokenSet.open(study.tokens).vocab_size, checkpoint_path(study, spec))


def _fit(course: Course, study: Study, note: Note) -> tuple[lightning.Trainer, RecipeModule]:
    tokens, spec = TokenSet.open(study.tokens).shard("train"), course.spec
    return course.fit(
        lambda first, device: Chunks(tokens, spec.rung, seed=spec.seed, first=first, device_index=device), note
    )
