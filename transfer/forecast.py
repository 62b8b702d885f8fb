"""The saving at a scale that was not run, with its interval and its record on this ladder.

The arms are differenced first and extrapolated then: dividing two fitted curves multiplies their errors. The main
method is a decay per finding, widened by how far the simple methods disagree with it; formulas: docs/method.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from data.errors import InputError
from transfer.decay import LEAST_FOR_HIERARCHY, Floats, decay_at
from transfer.saving import Axis, Saving, saved

Indices = NDArray[np.intp]
Method = Literal["decay", "last", "mean", "linear"]

METHODS: tuple[Method, ...] = ("decay", "last", "mean", "linear")
PROBABILITIES: Floats = np.array([0.05, 0.5, 0.9, 0.95])
MEDIAN: Floats = np.array([0.5])
NORMAL_95 = float(ndtri(0.95))
DISAGREEMENT = 0.7
EXTRAPOLATED_BEYOND = 4.0
LEAST_SE = 1e-6  # keeps an arm that is measured without error from having infinite weight


@dataclass(frozen=True, slots=True)
class Forecast:
    """The saving expected at `params`, with its two-sided 90 % interval.

    `ln_speedup_upper_90`: the one-sided bound that a gate asks for. `leave_top_rung_out_error`: the saving that the
    method forecasts for the arm's highest rung from those below, less the saving measured there (nan: one rung only);
    `leave_top_rung_out_speedup_error`: the same in speed-ups e^lnS.
    """

    params: float
    axis: Axis
    saving: float
    saving_low: float
    saving_high: float
    ln_speedup: float
    method: Method
    leave_top_rung_out_error: float
    extrapolated: bool
    ln_speedup_upper_90: float
    leave_top_rung_out_speedup_error: float


def forecast(
    params_of_rungs: ArrayLike, savings_per_finding: Mapping[str, Sequence[Saving]], target_params: ArrayLike
) -> dict[str, list[Forecast]]:
    """Forecast every arm at every target by every method: in each list the targets in order, METHODS within each.

    `params_of_rungs` (rungs,) rises; an arm's savings start at rung 0 and may stop early or have rungs without a
    number; an arm without any number gets an empty list. With five or more arms they inform one another, so leave the
    stack to a call of its own. Raises InputError where the rungs do not rise or an arm has more savings than rungs.
    """
    rungs = np.asarray(params_of_rungs, dtype=np.float64)
    targets = np.atleast_1d(np.asarray(target_params, dtype=np.float64))
    if rungs.ndim != 1 or len(rungs) == 0 or not (rungs[0] > 0 and (np.diff(rungs) > 0).all() and (targets > 0).all()):
        raise InputError("A forecast needs rungs in rising order of parameters, and targets above 0.")
    arms = [arm for arm, savings in savings_per_finding.items() if any(s.known for s in savings)]
    result: dict[str, list[Forecast]] = {arm: [] for arm in savings_per_finding}
    if not arms:
        return result
    data = _Data.of(np.log(rungs / rungs[0]), [savings_per_finding[arm] for arm in arms])
    tops = data.last_known()
    record = _record(data, tops)
    for target in targets:
        ln_target = np.full(len(arms), math.log(target / rungs[0]))
        bounds = _bounds(data, ln_target, PROBABILITIES)
        for i, arm in enumerate(arms):
            axis = next(s.axis for s in savings_per_finding[arm] if s.known)
            beyond = bool(target > EXTRAPOLATED_BEYOND * rungs[tops[i]])
            result[arm] += [
                _one(float(target), axis, method, bounds=bounds[method][i], errors=record[method][:, i], beyond=beyond)
                for method in METHODS
            ]
    return result


@dataclass(frozen=True, slots=True)
class _Data:
    """lnS and standard errors, shape (arms, rungs); an error of infinity stands for no measurement."""

    ln_scales: Floats
    ln_speedups: Floats
    errors: Floats

    @classmethod
    def of(cls, ln_scales: Floats, columns: Sequence[Sequence[Saving]]) -> "_Data":
        shape = (len(columns), len(ln_scales))
        ln_speedups, errors, dofs = np.zeros(shape), np.full(shape, np.inf), np.ones(shape)
        for i, column in enumerate(columns):
            if len(column) > len(ln_scales):
                raise InputError(f"An arm has {len(column)} savings on a ladder of {len(ln_scales)} rungs.")
            for j, saving in enumerate(column):
                if saving.known:
                    ln_speedups[i, j], errors[i, j], dofs[i, j] = saving.ln_speedup, saving.ln_speedup_se, saving.dof
        # As wide as Student's t, yet normal: so that what follows stays in closed form.
        return cls(ln_scales, ln_speedups, np.maximum(errors, LEAST_SE) * stdtrit(dofs, 0.95) / NORMAL_95)

    @property
    def known(self) -> Floats:
        return np.isfinite(self.errors).astype(np.float64)

    def last_known(self) -> Indices:
        return np.asarray(self.errors.shape[1] - 1 - np.argmax(self.known[:, ::-1], axis=1), dtype=np.intp)

    def without(self, tops: Indices) -> "_Data":
        errors = self.errors.copy()
        errors[np.arange(len(errors)), tops] = np.inf
        return _Data(self.ln_scales, self.ln_speedups, errors)


def _bounds(data: _Data, ln_targets: Floats, probabilities: Floats) -> dict[Method, Floats]:
    """Quantiles of lnS at one target per arm, shape (arms, probabilities), by method."""
    linear_methods = _coefficients(data, ln_targets)
    bounds: dict[Method, Floats] = {}
    medians: dict[Method, Floats] = {}
    for method, coefficients in linear_methods.items():
        medians[method] = (coefficients * data.ln_speedups).sum(1)
        variance = (coefficients**2 * np.where(data.known > 0, data.errors, 0) ** 2).sum(1)
        bounds[method] = medians[method][:, None] + np.sqrt(variance)[:, None] * ndtri(probabilities)
    hierarchical = len(data.errors) >= LEAST_FOR_HIERARCHY
    decay, plain = decay_at(data.ln_scales, data.ln_speedups, 1 / data.errors**2, ln_targets, hierarchical)
    centre = decay.quantiles(MEDIAN)[:, 0]
    others = (medians["linear"], medians["last"], plain.quantiles(MEDIAN)[:, 0])
    disagreement = np.max([np.abs(other - centre) for other in others], axis=0)
    bounds["decay"] = decay.widened((DISAGREEMENT * disagreement) ** 2).quantiles(probabilities)
    return bounds


def _coefficients(data: _Data, ln_targets: Floats) -> dict[Method, Floats]:
    """Weights of the measured lnS in each simple method, shape (arms, rungs); 0 throughout where none is known."""
    known = data.known
    count = np.maximum(known.sum(1, keepdims=True), 1)
    last = np.zeros_like(known)
    last[np.arange(len(known)), data.last_known()] = 1
    mean = known / count
    centred = (data.ln_scales - (mean * data.ln_scales).sum(1, keepdims=True)) * known
    square = (centred**2).sum(1, keepdims=True)
    reach = ln_targets[:, None] - (mean * data.ln_scales).sum(1, keepdims=True)
    line = mean + reach * np.divide(centred, square, out=np.zeros_like(centred), where=square > 0)
    return {"last": last * known, "mean": mean, "linear": line}


def _record(data: _Data, tops: Indices) -> dict[Method, Floats]:
    """Errors (2, arms) of each arm's highest rung forecast from those below it: of the saving, and of the speed-up."""
    below = data.without(tops)
    measured = data.ln_speedups[np.arange(len(tops)), tops]
    bounds = _bounds(below, data.ln_scales[tops], MEDIAN)
    enough = below.known.any(1)
    return {
        method: np.where(enough, [np.exp(-measured) - np.exp(-found), np.exp(found) - np.exp(measured)], np.nan)
        for method in METHODS
        for found in (bounds[method][:, 0],)
    }


def _one(params: float, axis: Axis, method: Method, *, bounds: Floats, errors: Floats, beyond: bool) -> Forecast:
    low, middle, upper_90, high = (float(bound) for bound in bounds)
    return Forecast(
        params=params,
        axis=axis,
        saving=saved(middle),
        saving_low=saved(low),
        saving_high=saved(high),
        ln_speedup=middle,
        method=method,
        leave_top_rung_out_error=float(errors[0]),
        extrapolated=beyond,
        ln_speedup_upper_90=upper_90,
        leave_top_rung_out_speedup_error=float(errors[1]),
    )
