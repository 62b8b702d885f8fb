"""How much a mean loss difference depends on the choice of the held-out text: all pairs of a rung share that luck."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MIN_DOCUMENTS = 4


def text_variance(differences: ArrayLike, sequences: ArrayLike) -> tuple[float, float]:
    """Variance of the mean difference by the documents that happen to be held out, and its degrees of freedom.

    differences: (pairs, documents), baseline less arm, nats per token. sequences: (documents,), how many evaluation
    sequences lie in each. Documents are the clusters of a cluster sample (Cochran 1977, ch. 11: a ratio estimator);
    what single pairs add to the scatter of a document's mean is taken out. Zero, with infinite degrees of freedom,
    where fewer than MIN_DOCUMENTS tell.
    """
    gaps, weights = np.atleast_2d(np.asarray(differences, dtype=np.float64)), np.asarray(sequences, dtype=np.float64)
    if len(weights) < MIN_DOCUMENTS or not np.isfinite(gaps).all():
        return 0.0, math.inf
    shares = weights / weights.sum()
    by_document = gaps.mean(0)
    centred = by_document - shares @ by_document
    squares = float((shares**2 * centred**2).sum())
    if len(gaps) > 1:
        squares -= _by_pairs(gaps, shares)
    # A document is part of the mean that it is compared with: E (y_k - d)^2 = s^2 (1 - 2 w_k + sum w^2).
    total = float((shares**2).sum())
    seen = float((shares**2 * (1 - 2 * shares + total)).sum())
    variance = squares * total / seen if seen > 0 else 0.0
    # Satterthwaite's, as if documents differed alike: few long ones tell less than many short ones.
    dof = total**2 / float((shares**4).sum()) - 1
    return max(variance, 0.0), max(dof, 1.0)


def _by_pairs(gaps: Floats, shares: Floats) -> float:
    """What the scatter of single runs, document by document, adds to the squares between documents."""
    pairs = len(gaps)
    own = gaps - gaps.mean(0)
    own = own - (own @ shares)[:, None]
    within = (own**2).sum(0) / (pairs - 1)
    return float((shares**2 * within).sum() / pairs)
