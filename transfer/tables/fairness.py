"""Whether arms of a table were treated alike: tuning trials, learning-rate grids, divergence, unfinished runs.

A win over a baseline that was tuned less, or over one that alone was unlucky, is no win (docs/verdicts.md, "Fairness").
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.arm_rungs import NEAR, SAME, distinct, nearest
from data.arm_table import ArmTable
from transfer.tables.rows import Place, Places, Rows, rows_by_place

LEAST_GRID = 3
"""Learning rates that make a grid with an inside; of two, the best is always at an edge."""
LOST = ("diverged", "failed")
"""Ends without a loss; what is running or queued may yet have one."""
BEST_RATE = "Of several learning rates the one with the least mean loss counts, arm by arm."
BEST_SIZE = "Of several sizes at one budget the one with the least mean loss counts, arm by arm."


@dataclass(frozen=True, slots=True, eq=False)
class Fairness:
    """Finished rows by arm and place, each arm's at its best learning rate there; and why arms cannot be judged.

    On axis 'flops' they are those of the best size at each budget, too.
    """

    rows: dict[str, dict[Place, Rows]]
    invalid: dict[str, str]
    notes: tuple[str, ...]


def check_fairness(table: ArmTable) -> Fairness:
    """Look at every rung and horizon that an arm shares with the baseline, or would if the baseline had finished."""
    runs = {
        arm: {at: _last_attempts(table, rows) for at, rows in of.items()} for arm, of in rows_by_place(table).items()
    }
    sized = {arm: {at: _at_best_size(table, rows) for at, rows in of.items()} for arm, of in runs.items()}
    kept = {arm: {at: _at_best_rate(table, rows) for at, rows in of.items()} for arm, of in sized.items()}
    baseline = sized[table.baseline]
    lost = np.flatnonzero(table.of_arm(table.baseline) & _nowhere(table) & ~table.finished)
    invalid = {}
    for arm in table.arms:
        shared = {place: rows for place, rows in sized[arm].items() if place in baseline}
        why = _unfair(table, baseline, shared) or _baseline_lost(table, arm, lost)
        if why:
            invalid[arm] = why
    finished = {
        arm: {place: done for place, rows in of.items() if len(done := rows[np.isfinite(table.loss[rows])])}
        for arm, of in kept.items()
    }
    chosen = ((kept, sized, BEST_RATE), (sized, runs, BEST_SIZE))
    return Fairness(finished, invalid, tuple(note for fewer, more, note in chosen if _count(fewer) < _count(more)))


def _count(rows: dict[str, dict[Place, Rows]]) -> int:
    return sum(len(one) for of in rows.values() for one in of.values())


def _last_attempts(table: ArmTable, rows: Rows) -> Rows:
    """The rows without attempts that broke off and were made again; a divergence stands, for trying on is luck."""
    if np.isfinite(table.loss[rows]).all():
        return rows
    done = {_run(table, row) for row in rows.tolist() if math.isfinite(table.loss[row])}
    again = [table.status[row] not in ("finished", "diverged") and _run(table, row) in done for row in rows.tolist()]
    return rows[~np.array(again, dtype=np.bool_)]


def _run(table: ArmTable, row: int) -> tuple[str | None, str, str]:
    return table.seed[row], f"{table.learning_rate[row]:.6g}", f"{table.params[row]:.6g}"


def _at_best_size(table: ArmTable, rows: Rows) -> Rows:
    """On axis 'flops' the rows of the size that reaches the least mean loss at its best learning rate."""
    sizes = distinct(table.params[rows][np.isfinite(table.params[rows])])
    if table.axis != "flops" or len(sizes) < 2:
        return rows
    size = nearest(table.params[rows], sizes, SAME)
    losses = [_mean_loss(table, _at_best_rate(table, rows[size == one])) for one in range(len(sizes))]
    keep: NDArray[np.bool_] = (size == int(np.argmin(losses))) | (size < 0)
    return rows[keep]


def _rates(table: ArmTable, rows: Rows) -> NDArray[np.float64]:
    """The learning rates that were tried to an end, rising: a run that broke off tells nothing of its rate."""
    ended = np.array([table.status[row] in ("finished", "diverged") for row in rows.tolist()], dtype=np.bool_)
    rates = table.learning_rate[rows][ended]
    return np.unique(rates[np.isfinite(rates)])


def _best_rate(table: ArmTable, rows: Rows) -> float | None:
    """The learning rate with the least mean finished loss; None where there are not several."""
    known = table.learning_rate[rows][np.isfinite(table.learning_rate[rows])]
    if not len(known) or known.min() == known.max():
        return None
    rates = _rates(table, rows)
    if not len(rates):
        return None
    means = [_mean_loss(table, rows[table.learning_rate[rows] == rate]) for rate in rates]
    return float(rates[int(np.argmin(means))])


def _mean_loss(table: ArmTable, rows: Rows) -> float:
    """Mean finished loss (nats per token); infinite where a run diverged, or none finished."""
    losses = table.loss[rows]
    finished = losses[np.isfinite(losses)]
    diverged = any(table.status[row] == "diverged" for row in rows.tolist())
    return float(finished.mean()) if len(finished) and not diverged else math.inf


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
    lost = {"it": _unfinished(table, arm), "the baseline": _unfinished(table, baseline)}
    for who, other in (("it", "the baseline"), ("the baseline", "it")):
        # Where both lost the run of one seed in the same way, neither alone was unlucky.
        both = {(table.seed[row], table.status[row]) for row in lost[other] if table.status[row] in LOST}
        alone = [row for row in lost[who] if (table.seed[row], table.status[row]) not in both]
        if alone:
            return _lost(table, alone, who, other)
    return ""


def _unfinished(table: ArmTable, rows: Rows) -> list[int]:
    """Rows without a loss at the best learning rate, and those at any other that may yet beat it."""
    kept = set(_at_best_rate(table, rows).tolist())
    unknown = [row for row in rows.tolist() if not math.isfinite(table.loss[row])]
    return [row for row in unknown if row in kept or table.status[row] not in LOST]


def _lost(table: ArmTable, rows: list[int], who: str, other: str) -> str:
    status = table.status[rows[0]]
    said = _places(table, np.array(rows, dtype=np.intp))
    if status in LOST:
        return f"{who} {status} where {other} was run as well ({said})"
    return f"a run of {who} is not finished but {status} ({said}); wait for it, or leave its rows out"


def _nowhere(table: ArmTable) -> NDArray[np.bool_]:
    """Rows (m,) that stand at no rung and horizon of the finished baseline."""
    return (table.rung < 0) | ~np.isfinite(table.horizon)


def _baseline_lost(table: ArmTable, arm: str, lost: Rows) -> str:
    """Why an arm cannot be judged that finished where the baseline has runs and none finished, which are `lost`."""
    if not len(lost):
        return ""
    done = np.flatnonzero(table.of_arm(arm) & _nowhere(table) & table.finished)
    axes = ((table.flops, SAME),) if table.axis == "flops" else ((table.params, NEAR), (table.tokens, SAME))
    alike = np.ones((len(lost), len(done)), dtype=np.bool_)
    for column, tolerance in axes:
        alike &= np.abs(np.log(column[lost])[:, None] - np.log(column[done])[None, :]) <= tolerance
    rows = lost[alike.any(axis=1)].tolist()
    return _lost(table, rows, "the baseline", "it") if rows else ""


def _at_best_rate(table: ArmTable, rows: Rows) -> Rows:
    best = _best_rate(table, rows)
    return rows if best is None else rows[table.learning_rate[rows] == best]


def _grid_edge(table: ArmTable, baseline: Rows, arm: Rows) -> str:
    for rows, who in ((arm, "its"), (baseline, "the baseline's")):
        best = _best_rate(table, rows)
        if best is None:
            continue
        rates = _rates(table, rows)
        if best in (rates[0], rates[-1]) or len(rates) < LEAST_GRID:
            return (
                f"{who} best learning rate, {best:g}, stands at the edge of those tried, {rates[0]:g} to {rates[-1]:g} "
                f"({_places(table, rows)}), so a better one may lie beyond; widen the grid"
            )
    return ""


def _unequal_tuning(table: ArmTable, baseline: Rows, arm: Rows) -> str:
    ours, theirs = _trials(table, arm), _trials(table, baseline)
    if ours is None or theirs is None or ours == theirs:
        return ""
    where = _places(table, np.concatenate([arm, baseline]))
    said = f"{ours:,} tuning trial{'s' if ours > 1 else ''}"
    return f"it got {said} and the baseline {theirs:,} ({where}); tune both alike"


def _trials(table: ArmTable, rows: Rows) -> int | None:
    """Tuning trials of a cell: those that its rows name, else its learning rates where there are any."""
    named = table.tuning_trials[rows]
    if np.isfinite(named).any():
        return int(np.nanmax(named))
    return len(_rates(table, rows)) or None


def _places(table: ArmTable, rows: Rows) -> str:
    chosen = np.zeros(len(table), dtype=np.bool_)
    chosen[rows] = True
    return table.origin.places(chosen)
