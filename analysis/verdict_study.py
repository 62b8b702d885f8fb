"""The verdicts of a study's promotion, read from its store in the shape that a table's have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.answer import main_axis
from analysis.evidence import Evidence, Row, read_evidence
from analysis.verdict_answer import known
from data.errors import InputError
from data.store import Store
from transfer.forecast import METHODS

SIZES = """\
SELECT arm, rung, any_value(runs.params) AS params, slopes.tokens AS tokens,
       max(runs.flops / runs.tokens) * slopes.tokens AS flops
FROM runs JOIN slopes USING (rung)
WHERE purpose IN ('pair', 'plan') AND status = 'finished' GROUP BY arm, rung, slopes.tokens"""
DEFAULT_SMALLEST_SAVING = 0.01


def study_answer(path: Path, axis: str | None) -> dict[str, Any]:
    """What the latest promotion of a study says, keys as in `verdict_answer`.

    Raises:
        InputError: when nothing was promoted yet, or the promotion judged another axis than the one that is asked for.
    """
    store = Store(path)
    evidence = read_evidence(store)
    if not evidence.verdicts:
        raise InputError(f"{path} holds no verdict yet; run `scaleproof promote {path}` first.")
    present = {row["axis"] for row in evidence.verdicts}
    judged = axis if axis in present else main_axis(evidence)
    if axis not in (None, judged):
        raise InputError(
            f'{path} was judged on the axis {judged}; set axis = "{axis}" under [transfer] in its settings and promote '
            "it again."
        )
    sizes = {(row["arm"], row["rung"]): row for row in store.rows(SIZES)}
    return {
        "source": str(path),
        "axis": judged,
        "baseline": "baseline",
        "smallest_saving": evidence.smallest_saving or DEFAULT_SMALLEST_SAVING,
        "sigma": {"values": [row["sigma"] for row in evidence.slopes], "assumed": [False] * len(evidence.slopes)},
        "arms": [_arm(evidence, row, sizes) for row in evidence.verdicts if row["axis"] == judged],
        "interactions": [_interaction(row) for row in evidence.interactions],
        "notes": [],
        "warnings": [
            f"The A/A check froze rung {row['rung']}: the baseline differs from itself there."
            for row in evidence.aa
            if row["frozen"]
        ],
    }


def _arm(evidence: Evidence, verdict: Row, sizes: Mapping[tuple[str, int], Row]) -> dict[str, Any]:
    arm, axis = verdict["arm"], verdict["axis"]
    rungs = sorted({row["rung"] for row in evidence.savings if row["arm"] == arm})
    cells = [_cell(evidence, arm, axis, rung, sizes) for rung in rungs]
    measured = [one for one in cells if one["ln_speedup"] is not None]
    return {
        "arm": arm,
        "rungs": measured,
        "pooled": [{key: one[key] for key in ("params", *_SPEEDUP)} for one in measured],
        "verdict": verdict["verdict"],
        "fragile": verdict["fragile"],
        "reason": verdict["reason"],
        "retention": verdict["retention"],
        "p_holm": verdict["p_holm"],
        "pairs_to_settle": verdict["pairs_to_settle"],
        "trend_per_decade": _trend(measured),
        "forecast": _forecast(evidence, arm, axis, measured),
    }


_SPEEDUP = ("speedup", "speedup_low", "speedup_high", "saving", "ln_speedup")


def _cell(evidence: Evidence, arm: str, axis: str, rung: int, sizes: Mapping[tuple[str, int], Row]) -> dict[str, Any]:
    rows = {row["axis"]: row for row in evidence.savings if row["arm"] == arm and row["rung"] == rung}
    size = sizes.get((arm, rung), {})
    return {
        "rung": rung,
        "params": rows[axis]["params"] if axis in rows else None,
        "tokens": size.get("tokens"),
        "flops": size.get("flops"),
        **_speedup(rows.get(axis)),
        "pairs": rows[axis]["pairs"] if axis in rows else None,
        "axes": {name: _speedup(row) for name, row in rows.items() if row["saving"] is not None},
    }


def _speedup(row: Row | None) -> dict[str, float | None]:
    if row is None:
        return dict.fromkeys(_SPEEDUP)
    return {
        "speedup": _of(row["saving"]),
        "speedup_low": _of(row["saving_low"]),
        "speedup_high": _of(row["saving_high"]),
        "saving": row["saving"],
        "ln_speedup": row["ln_speedup"],
    }


def _of(saving: float | None) -> float | None:
    return None if saving is None or saving >= 1 else 1 / (1 - saving)


def _trend(cells: Sequence[Row]) -> float | None:
    """Least squares of lnS on log10 params."""
    if len({one["params"] for one in cells}) < 2:
        return None
    scale = np.log10([one["params"] for one in cells])
    centred = scale - scale.mean()
    return known(float(centred @ np.array([one["ln_speedup"] for one in cells]) / (centred @ centred)))


def _forecast(evidence: Evidence, arm: str, axis: str, cells: Sequence[Row]) -> dict[str, Any] | None:
    rows = [row for row in evidence.forecasts if row["arm"] == arm and row["axis"] == axis]
    if not rows:
        return None
    furthest = max(row["params"] for row in rows)
    by_method = {row["method"]: row for row in rows if row["params"] == furthest}
    main, top = by_method["decay"], cells[-1]["saving"] if cells else None
    return {
        "params": main["params"],
        "flops": 6.0 * main["params"] * main["tokens"],
        "speedup": _of(main["saving"]),
        "speedup_low": _of(main["saving_low"]),
        "speedup_high": _of(main["saving_high"]),
        "method": "decay",
        "extrapolated": main["extrapolated"],
        "methods": {
            name: {
                "speedup": _of(by_method[name]["saving"]),
                "leave_top_rung_out_error": _error(by_method[name]["leave_top_rung_out_error"], top),
            }
            for name in METHODS
            if name in by_method
        },
    }


def _error(of_saving: float | None, top: float | None) -> float | None:
    """The error of a forecast speed-up, from that of the saving and the saving that was measured."""
    if of_saving is None or top is None or not (top < 1 and top + of_saving < 1):
        return None
    return known(1 / (1 - top - of_saving) - 1 / (1 - top)) if math.isfinite(of_saving) else None


def _interaction(row: Row) -> dict[str, Any]:
    kind, _, member = row["arm"].partition(":")
    return {
        "arm": row["arm"],
        "kind": {"without": "contribution", "plan": "main effect"}.get(kind, "plan"),
        "members": [member] if member else [],
        "ln_speedup": row["ln_speedup"],
        "ln_speedup_low": row["low"],
        "ln_speedup_high": row["high"],
        "detail": None,
    }
