"""Params and FLOPs of the model that is really run, counted on the meta device."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from data.locks import write_aside
from scaling.ladder import Rung
from scaling.loading import LoadedRecipe, RecipeError, check_logits, said
from scaling.optimizer_flops import optimizer_flops_per_step
from scaling.stepper import Stepper

LOOKS = 4
"""Steps from the first to the last at which FLOPs are counted; where they are the same, they are so in between."""
PLACES = 16
"""Steps spread over the schedule at which they are counted where they are not."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a recipe at a rung.

    flops_per_token: of a training step, per trained token: forward and backward of the training loss, and the
    optimisers' matrix products. optimizer_flops_per_token: the optimisers' part of them; None where it could not be
    counted, and `flops_per_token` is the rest alone. A file of sizes that lacks it is of an earlier version.
    """

    params: int
    params_non_embedding: int
    flops_per_token: float
    optimizer_flops_per_token: float | None


def measure(recipe: LoadedRecipe, rung: Rung, base: Rung, vocab_size: int) -> Shape:
    """Count parameters exactly, and FLOPs with torch's FlopCounterMode, without allocating the model.

    FLOPs are those of matrix products, convolutions and attention, 2 per multiply-add, the optimisers' among them:
    element-wise work is not counted, on either side. They are the mean over the schedule, on batches as large as those
    that one device trains on.

    Raises:
        RecipeError: when the model or its training loss does not run on the meta device, its logits have the wrong
            shape, or nothing of it can be counted.
    """
    knobs = recipe.resolve(rung, base)
    # What the recipe compiles runs as it is written: inductor fails on this device.
    with torch.compiler.set_stance("force_eager"):
        with torch.device("meta"):
            model, flops = _model_and_flops(recipe, rung, knobs, vocab_size)
        optimizer = optimizer_flops_per_step(recipe, model, rung, knobs, vocab_size)
    if optimizer is not None:
        optimizer /= rung.batch_tokens  # counted once, however many devices repeat the step: a run is the same on all
    return Shape(*count_params(model), flops + (optimizer or 0.0), optimizer)


def _model_and_flops(
    recipe: LoadedRecipe, rung: Rung, knobs: Mapping[str, float], vocab_size: int
) -> tuple[nn.Module, float]:
    """The model, with gradients, and FLOPs per token without the optimisers'; raises as `measure` does."""
    model = recipe.build_model(rung, knobs, vocab_size)
    ids = torch.zeros(rung.batch_size // rung.devices, rung.context + 1, dtype=torch.long)
    try:
        logits = model(ids[:1, :-1])
    except Exception as error:
        raise RecipeError(f"The recipe does not run on the meta device at rung {rung.name}: {said(error)}.") from error
    check_logits(logits, 1, rung.context, vocab_size)
    # Without optimisers, whose work does not depend on the batch.
    stepper = Stepper(recipe, model, [], rung, knobs)
    try:
        flops = _flops_per_token(stepper, ids)
    except Exception as error:
        raise RecipeError(
            f"The recipe's training step fails at rung {rung.name}: training_loss must also run on the meta "
            f"device: no .item(), no data-dependent shapes ({said(error)})."
        ) from error
    if not 0 < flops < math.inf:
        raise RecipeError(
            f"The recipe's training step counts {flops:g} FLOPs per token at rung {rung.name}, so what it costs is not "
            "known. They are counted on the meta device: do there what is done elsewhere, and by torch's own matrix "
            "products, convolutions and attention."
        )
    return model, flops


def _flops_per_token(stepper: Stepper, ids: Tensor) -> float:
    """Mean over the schedule, whose steps may differ, as with short sequences first."""
    last = stepper.steps - 1
    counts = [_flops(stepper, last * look // (LOOKS - 1), ids) for look in range(LOOKS)]
    if len(set(counts)) > 1:
        counts = [_flops(stepper, (2 * place + 1) * stepper.steps // (2 * PLACES), ids) for place in range(PLACES)]
    return sum(counts) / (len(counts) * ids[:, :-1].numel())


def _flops(stepper: Stepper, index: int, ids: Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        stepper.step(index, ids, Tensor.backward)
    return int(counter.get_total_flops())


def count_params(model: nn.Module) -> tuple[int, int]:
    """Trainable parameters, shared ones once: all of them, and those outside token and position embeddings."""
    seen = {id(p): p.numel() for p in model.parameters() if p.requires_grad}
    embedding = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    total = sum(seen.values())
    return total, total - sum(size for key, size in seen.items() if key in embedding)


def cached(folder: Path, recipe_hash: str, recipe: LoadedRecipe, *, rung: Rung, base: Rung, vocab_size: int) -> Shape:
    """Like `measure`, kept in a file per recipe, rung and horizon: a knob that follows tokens may change the shape."""
    path = shape_file(folder, recipe_hash, (rung, base), vocab_size)
    return read_shape(path) or keep_shape(path, measure(recipe, rung, base, vocab_size))


def shape_file(folder: Path, recipe_hash: str, rungs: tuple[Rung, Rung], vocab_size: int) -> Path:
    """Where the shape of a recipe at a rung, beside its rung 0, is kept."""
    sizes = [one.model_dump(exclude={"name"}) for one in rungs]
    key = hashlib.blake2b(json.dumps([sizes, vocab_size], sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder / f"{recipe_hash}-{key}.json"


def read_shape(path: Path) -> Shape | None:
    """What is kept there, or None."""
    with contextlib.suppress(OSError, ValueError, TypeError):  # not there, or torn by a power cut
        return Shape(**json.loads(path.read_text(encoding="utf-8")))
    return None


def keep_shape(path: Path, shape: Shape) -> Shape:
    """Keep it for the next run, and give it back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, json.dumps(asdict(shape)).encode())
    return shape
