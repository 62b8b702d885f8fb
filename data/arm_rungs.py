"""Which rung and horizon of the baseline each run of a table stands at (pure)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.run_checks import Array, Mask

SAME = math.log(1.02)
"""Sizes, horizons and budgets as near as that, in ln, are meant to be the same."""
NEAR = 0.15
"""An arm may have so many params more or fewer than the baseline of its rung, in ln: it may add some."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Rungs:
    """The baseline's rungs, rising: `scale` (R,), what tells them apart, and `params` (R,), NaN where unknown.

    `rung` (m,) is each row's, -1 where the baseline has none like it; `horizon` (m,) the baseline's horizon that the
    row shares, NaN where it shares none.
    """

    scale: Array
    params: Array
    rung: NDArray[np.intp]
    horizon: Array


def rungs_by_params(params: Array, tokens: Array, baseline: Mask) -> Rungs:
    """Rungs by size, horizons by tokens, from columns (m,); `baseline` (m,) marks the baseline's finished rows.

    Baseline sizes within 2 % are one rung; a row belongs to the nearest within .15 in ln. Horizons: 2 % both times.
    """
    scale = distinct(params[baseline])
    rung = nearest(params, scale, NEAR)
    horizon = np.full(len(params), math.nan)
    order = np.argsort(rung, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(rung[order])) + 1):
        if len(rows) and rung[rows[0]] >= 0:
            horizons = distinct(tokens[rows[baseline[rows]]])
            which = nearest(tokens[rows], horizons, SAME)
            horizon[rows] = np.where(which >= 0, horizons[which], math.nan)
    return Rungs(scale, scale.copy(), rung, horizon)


def rungs_by_budget(flops: Array, params: Array, baseline: Mask) -> Rungs:
    """Rungs by FLOPs, 2 % apart at most, each row's horizon being its rung's budget; arguments as above."""
    scale = distinct(flops[baseline])
    rung = nearest(flops, scale, SAME)
    sizes = np.full(len(scale), math.nan)
    known = baseline & np.isfinite(params)
    for here in np.unique(rung[known]).tolist():
        sizes[here] = np.median(params[known & (rung == here)])
    return Rungs(scale, sizes, rung, np.where(rung >= 0, scale[rung], math.nan))


def distinct(values: Array) -> Array:
    """Values (m,) above 0 gathered into groups that span 2 % at most: the middle row of each, rising."""
    rising = np.sort(values)
    ln_rising = np.log(rising)
    middles = []
    begin = 0
    while begin < len(rising):
        end = int(np.searchsorted(ln_rising, ln_rising[begin] + SAME + ROUNDING, side="right"))
        middles.append(rising[(begin + end - 1) // 2])
        begin = end
    return np.array(middles, dtype=np.float64)


def nearest(values: Array, scale: Array, tolerance: float) -> NDArray[np.intp]:
    """Index of the nearest of `scale` (R,), rising, to each of `values` (m,) in ln; -1 beyond `tolerance`, or NaN."""
    found = np.full(len(values), -1, dtype=np.intp)
    known = np.isfinite(values)
    if not (len(scale) and known.any()):
        return found
    ln_values, ln_scale = np.log(values[known]), np.log(scale)
    index = np.searchsorted((ln_scale[1:] + ln_scale[:-1]) / 2, ln_values)
    found[known] = np.where(np.abs(ln_values - ln_scale[index]) <= tolerance + ROUNDING, index, -1)
    return found
