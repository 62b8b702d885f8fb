"""What the columns of a run table must hold: cells made numbers, one sentence for whatever cannot be right."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AXES = ("params", "tokens", "flops")
"""The three that C = 6 N D binds; two of them suffice."""

MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the rows of a table came from, in the words of its errors.

    `numbers` (m,) are what the user knows the rows by: lines, rows or positions, as `unit` says; `columns` maps our
    names to the table's own.
    """

    source: str
    unit: str
    numbers: NDArray[np.int64]
    columns: Mapping[str, str]

    def take(self, rows: Mask) -> "Origin":
        """Return the origin of some of the rows."""
        return replace(self, numbers=self.numbers[rows])

    def error(self, name: str, wrong: Mask, what: str, remedy: str) -> InputError:
        """One sentence on the rows of column `name` that are wrong (m,); `what` follows the column's name."""
        return InputError(f"{self.source}: {self.column(name)} {what} in {self.places(wrong)}; {remedy}.")

    def column(self, name: str) -> str:
        """Return a column's name as the table has it, and ours where it is another."""
        own = self.columns.get(name, name)
        return name if own == name else f"{own!r} ({name})"

    def places(self, rows: Mask) -> str:
        """Return which rows (m,) these are: 'line 7', 'lines 7, 9 and 12', 'lines 7, 9, 12, 15 and 40 more'."""
        found = self.numbers[rows]
        named = [str(number) for number in found[:MOST_NAMED]]
        if len(found) > MOST_NAMED:
            return f"{self.unit}s {', '.join(named)} and {len(found) - MOST_NAMED:,} more"
        if len(named) == 1:
            return f"{self.unit} {named[0]}"
        return f"{self.unit}s {', '.join(named[:-1])} and {named[-1]}"


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names as a user reads them, the first `most` of them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(short, names[:most])) + more


def numbers(origin: Origin, name: str, cells: Sequence[object]) -> Array:
    """Convert cells (m,), text or numbers, to float64 (m,).

    Raises:
        InputError: for a cell that is empty, or no number.
    """
    found = np.array([number(cell) for cell in cells], dtype=np.float64)
    for row in np.flatnonzero(np.isnan(found)):
        cell = cells[int(row)]
        if cell is None or cell == "":
            empty = np.array([one is None or one == "" for one in cells])
            raise origin.error(name, empty, "is empty", "fill it in, or leave the row out")
        if not _is_nan(cell):
            wrong = np.array([math.isnan(value) and not _is_nan(one) for value, one in zip(found, cells, strict=True)])
            raise _no_number(origin, name, cell, wrong)
    return found


def numbers_where_known(origin: Origin, name: str, cells: Sequence[object]) -> Array:
    """Convert cells (m,) to float64 (m,) as `numbers` does, NaN where a cell is empty or says so itself.

    Raises:
        InputError: for a cell that is no number.
    """
    found = np.array([number(cell) for cell in cells], dtype=np.float64)
    wrong = np.zeros(len(found), np.bool_)
    for row in np.flatnonzero(np.isnan(found)).tolist():
        wrong[row] = not is_unknown(cells[row])
    if wrong.any():
        raise _no_number(origin, name, cells[int(np.argmax(wrong))], wrong)
    return found


def is_unknown(cell: object) -> bool:
    """Whether a cell tells nothing: empty, or not a number by its own word."""
    return cell is None or cell == "" or _is_nan(cell)


def _no_number(origin: Origin, name: str, cell: object, wrong: Mask) -> InputError:
    what = f"holds {short(cell)}, which is no number,"
    return origin.error(name, wrong, what, "write plain numbers such as 7e7, without units or thousands separators")


def number(cell: object) -> float:
    """Return the cell as a float; NaN where it is none."""
    if isinstance(cell, str):
        if "_" in cell:  # Python's own notation, which no other program reads
            return math.nan
        try:
            return float(cell)
        except ValueError:
            return math.nan
    if isinstance(cell, int | float | Decimal | np.floating | np.integer) and not isinstance(cell, bool):
        try:
            return float(cell)
        except (OverflowError, ValueError):
            return math.inf
    return math.nan


def _is_nan(cell: object) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower().lstrip("+-") == "nan"
    return isinstance(cell, float | Decimal | np.floating) and math.isnan(cell)


def short(cell: object) -> str:
    """Quote a cell or a name, long ones cut."""
    said = repr(cell)
    return said if len(said) <= 40 else f"{said[:36]} ...{said[0]}"


def require_positive(
    origin: Origin, name: str, values: Array, remedy: str = "leave out runs that diverged or have no number"
) -> None:
    """Raise InputError unless all `values` (m,) are finite and above 0; `remedy` is for those that are not finite."""
    if not (finite := np.isfinite(values)).all():
        raise origin.error(name, ~finite, f"is not finite ({values[~finite][0]})", remedy)
    if not (above := values > 0).all():
        what = f"is not above 0 ({values[~above][0]:g})"
        raise origin.error(name, ~above, what, "correct it, or leave the row out")


def derive_third(
    origin: Origin, known: Mapping[str, Array], needed: Mask | None = None
) -> tuple[dict[str, Array], list[str]]:
    """Fill in what is missing of params, tokens and flops (m,) from the other two by C = 6 N D, and say so in a note.

    `needed` (m,): the rows that must have a number, all by default; others may be NaN.

    Raises:
        InputError: when the derived values are beyond what float64 holds.
    """
    missing = [axis for axis in AXES if axis not in known]
    if not missing:
        return dict(known), []
    (axis,) = missing
    with np.errstate(over="ignore", under="ignore"):
        if axis == "flops":
            values, formula = 6.0 * known["params"] * known["tokens"], "6 x params x tokens"
        else:
            (other,) = set(AXES) - {axis, "flops"}
            values, formula = known["flops"] / 6.0 / known[other], f"flops / (6 x {other})"
    wrong = ~(np.isfinite(values) & (values > 0))
    if (found := wrong if needed is None else wrong & needed).any():
        raise origin.error(axis, found, f"= {formula} is too large or too small for a number", "check units")
    values[wrong] = math.nan
    return {**known, axis: values}, [f"{axis} were derived as {formula}."]


def split_mask(origin: Origin, cells: Sequence[object]) -> Mask:
    """Which rows (m,) are for training.

    Raises:
        InputError: for a value that is neither 'train' nor 'test'.
    """
    wrong = np.array([cell not in ("train", "test") for cell in cells])
    if wrong.any():
        others = sorted({short(cell) for cell, bad in zip(cells, wrong, strict=True) if bad})
        what = f"holds {', '.join(others[:MOST_NAMED])}"
        raise origin.error("split", wrong, what, "write 'train' or 'test' in every row")
    return np.array([cell == "train" for cell in cells], dtype=np.bool_)


def finished_mask(origin: Origin, cells: Sequence[object]) -> tuple[Mask, list[str]]:
    """Which rows (m,) are of finished runs, and a note on those that are not.

    Raises:
        InputError: when none is.
    """
    finished = np.array([cell == "finished" for cell in cells], dtype=np.bool_)
    others = Counter(str(cell) if cell else "empty" for cell in cells if cell != "finished")
    if not others:
        return finished, []
    counted = ", ".join(f"{short(name)[1:-1]} {count:,}" for name, count in sorted(others.items())[:MOST_NAMED])
    if not finished.any():
        raise InputError(
            f"{origin.source}: {origin.column('status')} says 'finished' in no row ({counted}); only finished runs "
            "can be fitted, so give some, or rename the column if it means something else."
        )
    return finished, [f"{others.total():,} of {len(cells):,} rows were left out: they are not finished ({counted})."]
