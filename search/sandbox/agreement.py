"""Whether two answers to the same tokens say the same, and what one of them gains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST_LOG_PROBABILITY = -14.0
"""Tokens held less likely than this by both of two compared predictions are not compared."""
FLOOR = 2 * LEAST_LOG_PROBABILITY

LEAST_GAIN = 1e-4
"""In nats per token: what is less than this changes no decision of a search."""
GAIN_BOUND = 5.0
"""How far the sum of symmetric differences may be from 0, in roots of the sum of their squares."""


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities (..., V), float64, of float32 logits."""
    return logits.double().log_softmax(-1)


def agree(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether log-probabilities (positions, V) say the same, of what they hold possible.

    tolerance: by how much they may differ, relative to the largest, or to 1. Of logits, one of a token that never
    comes, or a number added to all, would set the scale that hides a look ahead.
    """
    possible = torch.maximum(one, other) > LEAST_LOG_PROBABILITY
    apart = torch.where(possible, (one.clamp(min=FLOOR) - other.clamp(min=FLOOR)).abs(), 0.0)
    scale = float(one.clamp(min=LEAST_LOG_PROBABILITY).abs().max())
    return bool((apart <= tolerance * max(1.0, scale)).all())


def gains(one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
    """How much likelier `one` holds int64 `targets` (positions,) than `other`, in nats; both (positions, V)."""
    first, second = (each.gather(-1, targets[:, None])[:, 0].clamp(min=FLOOR) for each in (one, other))
    return first - second


def gained(differences: Sequence[float]) -> bool:
    """Whether independent differences, in nats, have a mean above 0 that no rounding explains.

    Rounding is as likely up as down. For such differences, whatever their sizes, the sum exceeds x roots of the sum of
    their squares with a probability of at most exp(-x^2 / 2) (Efron 1969, Student's t-test under symmetry conditions):
    4e-6 at 5. It takes more than 25 differences to get there.
    """
    total = math.fsum(differences)
    spread = math.sqrt(math.fsum(one * one for one in differences))
    return total > LEAST_GAIN * len(differences) and total > GAIN_BOUND * spread
