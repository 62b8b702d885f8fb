"""What looks wrong in a table of arms and yet may be meant: one sentence each, for the user to judge."""

from collections.abc import Mapping, Sequence

import numpy as np

from data.arm_checks import run_codes
from data.arm_rungs import Rungs
from data.run_checks import Array, Mask, Origin


def idle_seeds(
    origin: Origin, arm: Sequence[str], seed: Sequence[str | None], scale: Mapping[str, Array], loss: Array
) -> list[str]:
    """Warn of runs that differ in nothing but the seed and end in the same loss to the last digit; all are (m,)."""
    if all(one is None for one in seed):
        return []
    codes = run_codes(arm, [None] * len(arm), {**scale, "loss": loss})
    _, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    idle = (counts[which] > 1) & np.isfinite(loss)
    if not idle.any():
        return []
    return [
        f"{origin.column('loss')} is the same to the last digit for different seeds of one arm in "
        f"{origin.places(idle)}, so these seeds change nothing or the rows are copies; check what the seed sets."
    ]


def without_counterpart(origin: Origin, rungs: Rungs, finished: Mask, by: str) -> list[str]:
    """Warn of `finished` runs (m,) that no finished run of the baseline can be compared with; `by` names the column."""
    said = []
    if (lost := finished & (rungs.rung < 0)).any():
        said.append(_alone(origin, by, lost))
    if (lost := finished & (rungs.rung >= 0) & np.isnan(rungs.horizon)).any():
        said.append(_alone(origin, "tokens", lost))
    return said


def _alone(origin: Origin, name: str, rows: Mask) -> str:
    return (
        f"{origin.column(name)} is like that of no finished baseline run in {origin.places(rows)}, which can be "
        "compared with nothing; run the baseline there too."
    )
