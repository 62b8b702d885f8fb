"""The number itself: finished loss, computed by the harness from a model's logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from scaling.loading import check_logits


@dataclass(frozen=True, slots=True, eq=False)
class Evaluated:
    """Finished loss in nats per token, and the mean loss of each sequence, float64 (count,)."""

    mean: float
    sequences: NDArray[np.float64]


def mean_loss(model: nn.Module, sequences: Tensor, batch_size: int, vocab_size: int) -> float:
    """Cross-entropy in nats per token of int64 `sequences`; see `evaluate`."""
    return evaluate(model, sequences, batch_size, vocab_size).mean


def evaluate(model: nn.Module, sequences: Tensor, batch_size: int, vocab_size: int) -> Evaluated:
    """Cross-entropy of int64 `sequences` (count, context + 1), on the model's device.

    Summed in float64, with the model in evaluation mode.

    Raises:
        RecipeError: when the logits have the wrong shape.
    """
    device = next(model.parameters()).device
    total, parts = 0.0, []
    was_training = model.training
    model.eval()
    for rows in torch.split(sequences, batch_size):
        ids = rows.to(device)
        losses = token_losses(logits_of(model, ids[:, :-1], vocab_size), ids[:, 1:])
        total += summed(losses)
        parts.append(by_sequence(losses, len(rows)))
    model.train(was_training)
    return Evaluated(per_token(total, sequences), np.concatenate(parts))


@torch.inference_mode()
def logits_of(model: nn.Module, ids: Tensor, vocab_size: int) -> Tensor:
    """Logits (B, T, V), float32, of token ids (B, T), of a model in evaluation mode.

    Raises:
        RecipeError: when the logits have the wrong shape.
    """
    logits = model(ids)
    check_logits(logits, ids.shape[0], ids.shape[1], vocab_size)
    wide: Tensor = logits.float()
    return wide


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of each target (B, T) under float32 logits (B, T, V), flat (B * T)."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")


def summed(losses: Tensor) -> float:
    """Sum in float64 of one batch's losses."""
    return float(losses.double().sum())


def by_sequence(losses: Tensor, count: int) -> NDArray[np.float64]:
    """Mean loss (count,) of each sequence of a batch, from the flat losses of its targets."""
    means: NDArray[np.float64] = losses.double().view(count, -1).mean(1).cpu().numpy()
    return means


def per_token(total: float, sequences: Tensor) -> float:
    """Mean over all targets of int64 `sequences` (count, context + 1)."""
    return total / (sequences.shape[0] * (sequences.shape[1] - 1))


def bits_per_byte(val_loss: float, bytes_per_token: float) -> float:
    """Bits per byte of text, from nats per token."""
    return val_loss / math.log(2) / bytes_per_token
