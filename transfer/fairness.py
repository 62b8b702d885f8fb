"""Whether arms of a table were treated alike: tuning trials, learning-rate grids, divergence, unfinished runs.

A win over a baseline that was tuned less, or over one that alone was unlucky, is no win (docs/method.md, "Fairness").
"""

import math
from dataclasses import dataclass

import numpy as np

from data.arm_table import ArmTable
from transfer.table_rows import Place, Places, Rows, rows_by_place

LEAST_GRID = 3
"""Learning rates that make a grid with an inside; of two, the best is always at an edge."""


@dataclass(frozen=True, slots=True, eq=False)
class Fairness:
    """Finished rows by arm and place, each arm's at its best learning rate there; and why arms cannot be judged."""

    rows: dict[str, dict[Place, Rows]]
    invalid: dict[str, str]
    notes: tuple[str, ...]


def check_fairness(table: ArmTable) -> Fairness:
    """Look at every rung and horizon that an arm shares with the baseline."""
    every = rows_by_place(table)
    kept = {arm: {place: _at_best_rate(table, rows) for place, rows in of.items()} for arm, of in every.items()}
    swept = any(len(kept[arm][place]) < len(rows) for arm, of in every.items() for place, rows in of.items())
    baseline = every[table.baseline]
    invalid = {}
    for arm in table.arms:
        why = _unfair(table, baseline, {place: rows for place, rows in every[arm].items() if place in baseline})
        if why:
            invalid[arm] = why
    finished = {
        arm: {place: done for place, rows in of.items() if len(done := rows[np.isfinite(table.loss[rows])])}
        for arm, of in kept.items()
    }
    notes = ("Of several learning rates the one with the least mean loss counts, arm by arm.",) if swept else ()
    return Fairness(finished, invalid, notes)


def _best_rate(table: ArmTable, rows: Rows) -> float | None:
    """The learning rate with the least mean finished loss; None where there are not several."""
    rates = np.unique(table.learning_rate[rows][np.isfinite(table.learning_rate[rows])])
    if len(rates) < 2:
        return None
    means = [_mean_loss(table, rows[table.learning_rate[rows] == rate]) for rate in rates]
    return float(rates[int(np.argmin(means))])


def _mean_loss(table: ArmTable, rows: Rows) -> float:
    losses = table.loss[rows]
    return float(losses.mean()) if np.isfinite(losses).all() else math.inf


def _unfair(table: ArmTable, baseline: Places, arm: Places) -> str:
    """Why an arm cannot be judged, empty where it can; `arm` holds the places that it shares with the baseline."""
    checks = (_lost_runs, _grid_edge, _unequal_tuning)
    for check in checks:
        for place in sorted(arm):
            why = check(table, baseline[place], arm[place])
            if why:
                return why
    return ""


def _lost_runs(table: ArmTable, baseline: Rows, arm: Rows) -> str:
    for rows, who, other in ((arm, "it", "the baseline"), (baseline, "the baseline", "it")):
        kept = _at_best_rate(table, rows)
        lost = kept[~np.isfinite(table.loss[kept])]
        if len(lost):
            status = table.status[int(lost[0])]
            said = _places(table, lost)
            if status in ("diverged", "failed"):
                return f"{who} {status} where {other} was run as well ({said})"
            return f"a run of {who} is not finished but {status} ({said}); wait for it, or leave its rows out"
    return ""


def _at_best_rate(table: ArmTable, rows: Rows) -> Rows:
    best = _best_rate(table, rows)
    return rows if best is None else rows[table.learning_rate[rows] == best]


def _grid_edge(table: ArmTable, baseline: Rows, arm: Rows) -> str:
    for rows, who in ((arm, "its"), (baseline, "the baseline's")):
        best = _best_rate(table, rows)
        if best is None:
            continue
        rates = table.learning_rate[rows]
        low, high = float(np.nanmin(rates)), float(np.nanmax(rates))
        if best in (low, high) or len(np.unique(rates)) < LEAST_GRID:
            return (
                f"{who} best learning rate, {best:g}, stands at the edge of those tried, {low:g} to {high:g} "
                f"({_places(table, rows)}), so a better one may lie beyond; widen the grid"
            )
    return ""


def _unequal_tuning(table: ArmTable, baseline: Rows, arm: Rows) -> str:
    ours, theirs = _trials(table, arm), _trials(table, baseline)
    if ours is None or theirs is None or ours == theirs:
        return ""
    where = _places(table, np.concatenate([arm, baseline]))
    return f"it got {ours:,} tuning trials and the baseline {theirs:,} ({where}); tune both alike"


def _trials(table: ArmTable, rows: Rows) -> int | None:
    """Tuning trials of a cell: those that its rows name, else its learning rates where there are any."""
    named = table.tuning_trials[rows]
    if np.isfinite(named).any():
        return int(np.nanmax(named))
    rates = table.learning_rate[rows]
    return len(np.unique(rates[np.isfinite(rates)])) if np.isfinite(rates).any() else None


def _places(table: ArmTable, rows: Rows) -> str:
    chosen = np.zeros(len(table), dtype=np.bool_)
    chosen[rows] = True
    return table.origin.places(chosen)
