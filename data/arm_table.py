"""Tables of runs of several arms, from a file or from arrays: checked once, at the door of a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.arm_checks import (
    arm_names,
    choose_baseline,
    needed_numbers,
    optional_numbers,
    read_statuses,
    require_each_once,
    require_one_text,
    seeds,
)
from data.arm_rungs import Rungs, rungs_by_budget, rungs_by_params
from data.arm_warnings import idle_seeds, without_counterpart
from data.errors import InputError
from data.run_checks import AXES, Array, Mask, Origin, derive_third
from data.run_columns import ComparedOn, choose_arm_columns
from data.run_warnings import unit_warnings
from data.table_files import column_names, read_columns


@dataclass(frozen=True, slots=True, eq=False)
class ArmTable:
    """Runs of a baseline and of what is compared with it, one per row; arrays are float64 (m,) and read-only.

    `loss` in nats per token, NaN where the run did not finish. `params`, `tokens`, `flops` (of the whole run),
    `seconds_per_token`, `learning_rate` and `tuning_trials` are above 0, NaN where unknown; in finished rows the first
    three are known, but on axis 'flops' `flops` alone may be. `seed` is None throughout where there is none.
    `status` is 'finished', 'diverged', 'failed', 'running' or 'queued'. `arms` are those beside `baseline`, in order of
    first appearance.

    Rungs are those of the finished baseline, rising: `rung_params` (R,), NaN where unknown, and `rung_scale` (R,), what
    tells them apart: params, or on axis 'flops' the budgets. `rung` (m,) is each row's, -1 where the baseline has none
    like it. `horizon` (m,) is the baseline's horizon there that the row shares, in tokens, or on axis 'flops' the
    budget; NaN where it shares none. Rows of equal rung and horizon can be compared.

    `rows` (m,) are the `unit`s ('line', 'row', 'position') that users know the rows by. `has_seeds` and `has_times`:
    any row has one; `flops_given`: flops are the table's own. `notes` say what was done, `warnings` what looks wrong.
    """

    arm: tuple[str, ...]
    params: Array
    tokens: Array
    flops: Array
    loss: Array
    seed: tuple[str | None, ...]
    seconds_per_token: Array
    learning_rate: Array
    tuning_trials: Array
    status: tuple[str, ...]
    baseline: str
    arms: tuple[str, ...]
    axis: ComparedOn
    rung: NDArray[np.intp]
    horizon: Array
    rung_params: Array
    rung_scale: Array
    flops_given: bool
    origin: Origin
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.arm)

    @property
    def source(self) -> str:
        """What the table was read from."""
        return self.origin.source

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the rows (m,) as users know them."""
        return self.origin.numbers

    @property
    def unit(self) -> str:
        """What `rows` count: 'line', 'row' or 'position'."""
        return self.origin.unit

    @property
    def finished(self) -> Mask:
        """Which rows (m,) are of finished runs."""
        return np.isfinite(self.loss)

    @property
    def has_seeds(self) -> bool:
        """Whether rows have seeds: then all have one."""
        return any(one is not None for one in self.seed)

    @property
    def has_times(self) -> bool:
        """Whether any finished row has seconds per token."""
        return bool((np.isfinite(self.seconds_per_token) & self.finished).any())

    def of_arm(self, arm: str) -> Mask:
        """Which rows (m,) are of an arm."""
        return np.array([one == arm for one in self.arm], dtype=np.bool_)


def read_arm_table(
    path: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    baseline: str | None = None,
    axis: ComparedOn = "tokens",
) -> ArmTable:
    """Read a .csv, .tsv or .parquet file with one row per run; rows keep their order.

    Needed are `arm`, `loss` and two of `params`, `tokens` and `flops`, the third being derived by C = 6 N D; on axis
    'flops' the column flops does alone. Optional: `seed`, `seconds_per_token` (needed on axis 'seconds'),
    `learning_rate`, `tuning_trials`, `status`, `corpus`, `tokenizer`, `bytes_per_token`. `columns` maps our names to
    the file's, as in {"arm": "optimizer"}. `baseline` names the arm that the others are compared with, 'baseline' by
    default.

    Raises:
        InputError: one sentence that names the file, the column and the rows, and says what to do.
    """
    file, source = Path(path), str(path)
    own = choose_arm_columns(source, column_names(file), columns or {}, axis)
    read = read_columns(file, set(own.values()))
    cells = {name: read.values[column] for name, column in own.items()}
    return _checked(Origin(source, read.unit, np.array(read.numbers, dtype=np.int64), own), cells, baseline, axis)


def arm_table_of(
    table: Mapping[str, Iterable[Any]],
    *,
    columns: Mapping[str, str] | None = None,
    baseline: str | None = None,
    axis: ComparedOn = "tokens",
    source: str = "arrays",
) -> ArmTable:
    """Make the same table, checked as well, of a mapping from names to arrays or lists (m,).

    Errors name rows by their position, from 0, and the table by `source`; the rest is as in `read_arm_table`.

    Raises:
        InputError: as `read_arm_table` does, and for columns that are not one-dimensional or differ in length.
    """
    own = choose_arm_columns(source, tuple(table), columns or {}, axis)
    cells = {name: _cells(source, column, table[column]) for name, column in own.items()}
    lengths = {name: len(column) for name, column in cells.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise InputError(
            f"{source}: the columns are empty or differ in length ({said}); give one value per run in each."
        )
    return _checked(Origin(source, "position", np.arange(lengths["arm"]), own), cells, baseline, axis)


def _cells(source: str, name: str, values: Iterable[Any]) -> list[object]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise InputError(f"{source}: {name} is no one-dimensional array or list; give one value per run.")
    return [cell.strip() if isinstance(cell, str) else cell for cell in values]


def _checked(origin: Origin, cells: Mapping[str, Sequence[object]], wanted: str | None, axis: ComparedOn) -> ArmTable:
    """The table, its third axis derived; what cannot be right raises, what may be meant goes to its warnings."""
    arm = arm_names(origin, cells["arm"])
    baseline, arms = choose_baseline(origin, arm, wanted)
    status, finished, notes = read_statuses(origin, cells.get("status"))
    ours = finished & np.array([one == baseline for one in arm], dtype=np.bool_)
    if not ours.any():
        raise InputError(f"{origin.source} has no finished run of its baseline {baseline!r}; give one to compare with.")
    require_one_text(origin, cells, finished)
    seed = seeds(origin, cells["seed"]) if "seed" in cells else (None,) * len(arm)
    columns, derived = _numbers(origin, cells, finished)
    if axis == "seconds" and not np.isfinite(columns["seconds_per_token"][ours]).any():
        what, remedy = "is empty", "the baseline's are needed on axis 'seconds'"
        raise origin.error("seconds_per_token", ours, what, remedy)
    settings = {name: columns[name] for name in ("params", "flops" if axis == "flops" else "tokens", "learning_rate")}
    require_each_once(origin, arm, seed, settings, finished)
    rungs = _rungs(columns, ours, axis)
    warnings = [
        *_unit_warnings(origin, columns, finished, derived=bool(derived)),
        *idle_seeds(origin, arm, seed, settings, columns["loss"]),
        *without_counterpart(origin, rungs, finished, "flops" if axis == "flops" else "params"),
    ]
    for column in (*columns.values(), rungs.rung, rungs.horizon, rungs.params, rungs.scale):
        column.setflags(write=False)
    return ArmTable(
        **columns,
        arm=arm,
        seed=seed,
        status=status,
        baseline=baseline,
        arms=arms,
        axis=axis,
        rung=rungs.rung,
        horizon=rungs.horizon,
        rung_params=rungs.params,
        rung_scale=rungs.scale,
        flops_given="flops" in cells,
        origin=origin,
        notes=(*notes, *derived),
        warnings=tuple(warnings),
    )


def _numbers(
    origin: Origin, cells: Mapping[str, Sequence[object]], finished: Mask
) -> tuple[dict[str, Array], list[str]]:
    """Every column of numbers, each an array (m,) of its own, and a note on the one that was derived."""
    found = {name: needed_numbers(origin, name, cells[name], finished) for name in (*AXES, "loss") if name in cells}
    found, notes = derive_third(origin, found, finished) if sum(axis in cells for axis in AXES) > 1 else (found, [])
    for name in (*AXES, "seconds_per_token", "learning_rate", "tuning_trials"):
        if name not in found:
            unknown: list[object] = [None] * len(finished)
            found[name] = optional_numbers(origin, name, cells.get(name, unknown))
    return found, notes


def _unit_warnings(origin: Origin, columns: Mapping[str, Array], finished: Mask, *, derived: bool) -> list[str]:
    done = {name: columns[name][finished] for name in (*AXES, "loss")}
    known = {name: column for name, column in done.items() if np.isfinite(column).all()}
    return unit_warnings(origin.take(finished), known, flops_given=not derived and len(known) == len(done))


def _rungs(columns: Mapping[str, Array], baseline: Mask, axis: ComparedOn) -> Rungs:
    if axis == "flops":
        return rungs_by_budget(columns["flops"], columns["params"], baseline)
    return rungs_by_params(columns["params"], columns["tokens"], baseline)
