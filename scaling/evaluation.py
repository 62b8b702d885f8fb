"""The number itself: finished loss, computed by the harness from a model's logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling.loading import check_logits


def mean_loss(model: nn.Module, sequences: Tensor, batch_size: int, vocab_size: int) -> float:
    """Cross-entropy in nats per token of int64 `sequences` (count, context + 1), on the model's device.

    Summed in float64, with the model in evaluation mode.

    Raises:
        RecipeError: when the logits have the wrong shape.
    """
    device = next(model.parameters()).device
    total = 0.0
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for rows in torch.split(sequences, batch_size):
            ids = rows.to(device)
            logits = model(ids[:, :-1])
            check_logits(logits, len(ids), ids.shape[1] - 1, vocab_size)
            losses = functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            total += float(losses.double().sum())
    model.train(was_training)
    return total / (sequences.shape[0] * (sequences.shape[1] - 1))


def bits_per_byte(val_loss: float, bytes_per_token: float) -> float:
    """Bits per byte of text, from nats per token."""
    return val_loss / math.log(2) / bytes_per_token
