"""The rows of a table of arms, gathered by arm, rung and horizon."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from data.arm_table import ArmTable

Rows = NDArray[np.intp]
Place = tuple[int, float]
"""Rung, and the baseline's horizon there, in tokens (on axis 'flops': the budget)."""

Places = Mapping[Place, Rows]


def rows_by_place(table: ArmTable) -> dict[str, dict[Place, Rows]]:
    """Rows (k,) of every arm, the baseline's too, at every rung and horizon of the baseline; places and rows rise."""
    known = np.flatnonzero((table.rung >= 0) & np.isfinite(table.horizon))
    found: dict[str, dict[Place, Rows]] = {arm: {} for arm in (table.baseline, *table.arms)}
    if not len(known):
        return found
    _, arm = np.unique(np.array(table.arm), return_inverse=True)
    order = known[np.lexsort((known, table.horizon[known], table.rung[known], arm[known]))]
    keys = np.column_stack([arm[order], table.rung[order], table.horizon[order]])
    edges = np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1
    for rows in np.split(order, edges):
        first = int(rows[0])
        found[table.arm[first]][int(table.rung[first]), float(table.horizon[first])] = rows
    return found


def at_horizons(places: Places, rung: int) -> dict[float, Rows]:
    """The rows of one rung, by horizon, rising."""
    return {horizon: rows for (where, horizon), rows in places.items() if where == rung}
