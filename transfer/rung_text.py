"""How much a rung's mean gaps depend on the choice of the held-out text, from the losses that runs keep by document."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data.store import Store
from transfer.held_out_text import text_variance

Floats = NDArray[np.float64]


class DocumentLosses:
    """Losses by document of the runs that were asked for, each read from the store once."""

    def __init__(self, store: Store) -> None:
        """Read from `store`."""
        self._store = store
        self._known: dict[str, tuple[Floats, Floats]] = {}

    def variance(self, baseline: Sequence[str], arm: Sequence[str]) -> tuple[float, float]:
        """Variance of the mean gap between paired runs, by their ids, and its degrees of freedom; see `text_variance`.

        Nothing, where runs of an older study did not keep them.
        """
        self._read([*baseline, *arm])
        found = [self._known[run_id] for run_id in (*baseline, *arm) if run_id in self._known]
        if len(found) < len(baseline) + len(arm):
            return 0.0, math.inf
        losses = np.array([one for one, _ in found])
        return text_variance(losses[: len(baseline)] - losses[len(baseline) :], found[0][1])

    def _read(self, run_ids: Sequence[str]) -> None:
        missing = [run_id for run_id in run_ids if run_id not in self._known]
        if not missing:
            return
        rows = self._store.rows(
            "select run_id, losses, sequences from evaluations where list_contains($ids, run_id)", {"ids": missing}
        )
        self._known |= {
            row["run_id"]: (np.array(json.loads(row["losses"])), np.array(json.loads(row["sequences"]))) for row in rows
        }
