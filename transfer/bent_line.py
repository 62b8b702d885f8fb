"""How far a loss falls along ln tokens where its slope changes as e^(-b u): one law, b of either sign."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRIOR_CURVATURE, PRIOR_CURVATURE_SD = 0.3, 0.5
CURVATURE_RANGE = (-1.5, 2.0)
STRAIGHT = 1e-4
"""Exponents that are nearer to 0 are taken by their series, which is then exact to 1e-8."""


def drop(u: Floats, b: Floats) -> Floats:
    """(1 - e^(-b u))/b at u for b, which is u where b = 0; the two broadcast."""
    straight = np.abs(b) < STRAIGHT
    safe = np.where(straight, 1.0, b)
    return np.where(straight, u - b * u**2 / 2, -np.expm1(-safe * u) / safe)


def drop_by_exponent(u: Floats, b: Floats) -> Floats:
    """The derivative of `drop` by b at u for b; the two broadcast."""
    straight = np.abs(b) < STRAIGHT
    safe = np.where(straight, 1.0, b)
    bent = (u * np.exp(-safe * u) + np.expm1(-safe * u) / safe) / safe
    return np.where(straight, -(u**2) / 2 + b * u**3 / 3, bent)


def drop_inverse(q: Floats, b: Floats) -> Floats:
    """The u at which `drop` is q for b, -ln(1 - b q)/b; nan where b q >= 1, beyond the floor. The two broadcast."""
    straight = np.abs(b) < STRAIGHT
    safe = np.where(straight, 1.0, b)
    left = np.where(b * q < 1, b * q, np.nan)
    return np.where(straight, q + b * q**2 / 2, -np.log1p(-left) / safe)
