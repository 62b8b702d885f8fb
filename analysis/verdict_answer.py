"""The verdicts on a table as JSON can hold them: speed-ups e^lnS with 90 % intervals, words, trends, forecasts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from data.arm_table import ArmTable
from transfer.forecast import METHODS
from transfer.saving import Saving
from transfer.tables.interactions import TableInteraction, table_interactions
from transfer.tables.measured import Cell, Inverted
from transfer.tables.verdict import ArmVerdict, TableVerdict

LARGEST_LN = 700.0
BY_THE_CURVE = "by the baseline's curve"
"""How losses of a table become savings: no arm was run on just so many tokens that it ends at the baseline's loss."""
BY_ITS_OWN = "by the arm's own curve"
"""The same for cells in which the baseline's loss lies within the arm's horizons, and not the arm's within its own."""


def verdict_answer(table: ArmTable, judged: TableVerdict) -> dict[str, Any]:
    """Everything that `scaleproof verdict` says of a table; unknown numbers are None."""
    interactions, said = table_interactions(judged.pooled, judged.baseline)
    target = _target(table, judged)
    return {
        "source": table.source,
        "axis": judged.axis,
        "baseline": judged.baseline,
        "smallest_saving": judged.smallest_saving,
        "method": BY_THE_CURVE,
        "sigma": {"values": [one.sigma for one in judged.noises], "assumed": [one.assumed for one in judged.noises]},
        "arms": [_arm(judged, one, target) for one in judged.arms],
        "baseline_curves": [_curve(judged, one) for one in judged.curves],
        "interactions": [_interaction(one) for one in interactions],
        "notes": list(dict.fromkeys(judged.notes)),
        "warnings": list(dict.fromkeys([*judged.warnings, *said])),
    }


def _arm(judged: TableVerdict, one: ArmVerdict, target: Mapping[str, float | None]) -> dict[str, Any]:
    verdict = one.verdict
    return {
        "arm": one.arm,
        "rungs": [_cell(cell, judged) for cell in one.cells if judged.axis in cell.savings],
        "pooled": [
            {**_scale(judged, scale), **speedup(saving)} for scale, saving in zip(one.scales, one.savings, strict=True)
        ],
        "verdict": verdict.word,
        "fragile": verdict.fragile,
        "reason": verdict.reason,
        "retention": known(verdict.retention),
        "retention_low": known(verdict.retention_low),
        "retention_high": known(verdict.retention_high),
        "margin": known(verdict.margin),
        "p_holm": known(verdict.p_holm),
        "pairs_to_settle": verdict.pairs_to_settle,
        "trend_per_decade": None if one.trend is None else known(one.trend.ln_speedup),
        "trend_per_decade_low": None if one.trend is None else known(one.trend.low),
        "trend_per_decade_high": None if one.trend is None else known(one.trend.high),
        "vanishing": one.vanishing,
        "forecast": _forecast(one, target),
    }


def _curve(judged: TableVerdict, one: Inverted) -> dict[str, Any]:
    """The curve of a rung, whose slope falls as x^-b from point to point, and the mean finished losses at its points.

    `loss_ref` in nats per token and the slope `kappa_ref` in nats per e-fold are those at the first point.
    """
    curve = one.curve
    return {
        "rung": one.rung,
        "params": one.params,
        "x": "flops" if judged.axis == "flops" else "tokens",
        "loss_ref": curve.loss_ref,
        "kappa_ref": curve.kappa_ref,
        "exponents": curve.shape.exponents.tolist(),
        "misfit_kept": one.misfit_kept,
        "points": curve.points.tolist(),
        "losses": (curve.loss(curve.points) + curve.residuals).tolist(),
    }


def _cell(cell: Cell, judged: TableVerdict) -> dict[str, Any]:
    return {
        "rung": cell.rung,
        "params": known(cell.params),
        "tokens": known(cell.tokens),
        "flops": known(cell.flops),
        **speedup(cell.savings[judged.axis]),
        "method": BY_ITS_OWN if cell.savings[judged.axis].method == "crossing" else BY_THE_CURVE,
        "loss": cell.loss,
        "loss_difference": cell.gain,
        "pairs": cell.savings[judged.axis].pairs,
        "speedup_local_slope": None if cell.local is None else _e_to(cell.local),
        "axes": {axis: speedup(saving) for axis, saving in cell.savings.items()},
    }


def speedup(saving: Saving) -> dict[str, Any]:
    """A speed-up e^lnS with its 90 % interval, the saving 1 - e^-lnS, and lnS itself with its standard error.

    Where only a bound is known, `bound` is 'at least' or 'at most', and but for that end of the interval all is None.
    """
    return {
        "bound": {"gain": "at least", "loss": "at most", "": None}[saving.at_least],
        "speedup": _e_to(saving.ln_speedup),
        "speedup_low": _e_to(saving.low),
        "speedup_high": _e_to(saving.high),
        "saving": known(saving.saving),
        "ln_speedup": known(saving.ln_speedup),
        "ln_speedup_se": known(saving.ln_speedup_se) if saving.known else None,
    }


def _scale(judged: TableVerdict, scale: float) -> dict[str, float]:
    # The scale went through its logarithm: without rounding 1e9 would read 999999999.9999999.
    return {"flops": _rounded(scale**2)} if judged.axis == "flops" else {"params": _rounded(scale)}


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def _target(table: ArmTable, judged: TableVerdict) -> dict[str, float | None]:
    if judged.axis == "flops":
        return {"params": None, "flops": _rounded(judged.target**2)}
    return {"params": judged.target, "flops": 6.0 * judged.target**2 * tokens_per_param(table)}


def _forecast(one: ArmVerdict, target: Mapping[str, float | None]) -> dict[str, Any] | None:
    if not one.forecasts:
        return None
    by_method = {made.method: made for made in one.forecasts}
    main = by_method["decay"]
    return {
        **target,
        "speedup": _e_to(main.ln_speedup),
        "speedup_low": _of_saving(main.saving_low),
        "speedup_high": _of_saving(main.saving_high),
        "method": main.method,
        "extrapolated": main.extrapolated,
        "methods": {
            method: {
                "speedup": _e_to(by_method[method].ln_speedup),
                "leave_top_rung_out_error": known(by_method[method].leave_top_rung_out_speedup_error),
            }
            for method in METHODS
        },
    }


def tokens_per_param(table: ArmTable) -> float:
    """Tokens per param of the baseline's longest horizon at the top rung, which a target keeps."""
    top = (table.rung == len(table.rung_params) - 1) & table.finished & table.of_arm(table.baseline)
    return float((table.tokens[top] / table.params[top]).max())


def _interaction(one: TableInteraction) -> dict[str, Any]:
    return {
        "arm": one.arm,
        "kind": one.kind,
        "members": list(one.members),
        "ln_speedup": one.ln_speedup,
        "ln_speedup_low": one.low,
        "ln_speedup_high": one.high,
        "detail": None if one.detail is None else dict(one.detail),
    }


def known(value: float | None) -> float | None:
    """The value, None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def _e_to(ln_speedup: float) -> float | None:
    return math.exp(ln_speedup) if abs(ln_speedup) < LARGEST_LN else None


def _of_saving(saving: float) -> float | None:
    return 1 / (1 - saving) if saving < 1 and math.isfinite(saving) else None
