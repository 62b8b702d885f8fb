"""Whether a plan's own scatter agrees with the noise it was told: replicates, dummy columns, mirrored rows (pure)."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from transfer.factorial.pairs import Mirrors

Array = NDArray[np.float64]
Kind = Literal["replicates", "dummy columns", "pairwise interactions"]

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class PlanCheck:
    """Variance in a part of a plan's results that main effects do not explain, over what the noise alone would make.

    `columns`: the dimensions of that part. `p_value` is one-sided, of "noise alone" (F).
    """

    kind: Kind
    columns: int
    variance_ratio: float
    p_value: float
    folded: bool

    @property
    def passed(self) -> bool:
        """Whether noise alone may well have made it: p >= .05."""
        return self.p_value >= ALPHA

    @property
    def sentence(self) -> str:
        """What was seen, and what it means."""
        seen = {
            "replicates": "Rows that were run again scatter",
            "dummy columns": f"What carries no finding ({self.columns} columns) varies",
            "pairwise interactions": "Rows and their mirror images vary together",
        }[self.kind]
        said = f"{seen} {self.variance_ratio:.2g} times as much as the noise alone would (p = {self.p_value:.2g})"
        return f"{said}, which agrees with it." if self.passed else f"{said}: {self._meaning()}."

    def _meaning(self) -> str:
        if self.kind == "replicates":
            return "the noise is larger than it was said to be, so the intervals are too narrow"
        if self.kind == "pairwise interactions":
            return "some findings interact in pairs, from which the main effects are free"
        if self.folded:
            return "the noise is larger than it was said to be, or three and more findings interact"
        return "the noise is larger than it was said to be, or findings interact and the main effects with them"


def checks_of(
    signs: Array, design: Array, values: Array, covariance: Array, *, dof: float, found: Mirrors | None
) -> tuple[PlanCheck, ...]:
    """Check a plan's results `values` (runs,), given their `covariance` and its degrees of freedom.

    `signs` (runs, findings); `design` (runs, 1 + findings), those and a column of ones. The parts are orthogonal:
    differences between runs of one row, even functions of the signs where the plan is mirrored, and the rest.
    """
    _, row, counts = np.unique(signs, axis=0, return_inverse=True, return_counts=True)
    same = row.reshape(-1)[:, None] == row.reshape(-1)[None, :]
    between = same / counts[row.reshape(-1)]
    explained = design @ np.linalg.pinv(design)
    runs = len(values)
    parts: list[tuple[Kind, Array]] = [("replicates", np.eye(runs) - between)]
    rest = between - explained
    if found is not None:
        even = found.average.T @ (found.average / (found.average**2).sum(1)[:, None])
        even -= np.full((runs, runs), 1 / runs)
        parts.append(("pairwise interactions", even))
        rest = rest - even
    parts.append(("dummy columns", rest))
    made = (_check(kind, part, values, covariance, dof, folded=found is not None) for kind, part in parts)
    return tuple(one for one in made if one is not None)


def _check(kind: Kind, part: Array, values: Array, covariance: Array, dof: float, *, folded: bool) -> PlanCheck | None:
    """Compare values' Q values with its mean tr(Q C) under noise alone; None for an empty part, or no noise in it.

    A correlated noise makes the sum of squares a mixture of chi-squares, whose degrees of freedom are matched
    (Satterthwaite 1946): tr(Q C)^2/tr(Q C Q C).
    """
    columns = round(float(np.trace(part)))
    spread = part @ covariance
    mean = float(np.trace(spread))
    if columns == 0 or mean <= 0:
        return None
    left = part @ values
    ratio = float(left @ left) / mean
    own = mean**2 / float((spread * spread.T).sum())
    p_value = float(fdtrc(own, dof, ratio)) if math.isfinite(dof) else float(chdtrc(own, own * ratio))
    return PlanCheck(kind, columns, ratio, p_value, folded)
