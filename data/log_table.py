"""Logs of other searches: one row per trial, the baseline first, checked once at the door."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from data.run_checks import Origin, is_unknown, listed, number, short
from data.run_columns import own_columns
from data.table_files import column_names, read_columns

Status = Literal["kept", "dropped", "crashed"]

UNITS = {"val_bpb": "bits per byte", "val_loss": "nats per token"}
"""The metrics that a log may hold, the first found is read; lower is better in each."""

STATUS_WORDS: dict[str, Status] = {
    **dict.fromkeys(("keep", "kept"), "kept"),
    **dict.fromkeys(("discard", "discarded", "drop", "dropped"), "dropped"),
    **dict.fromkeys(("crash", "crashed"), "crashed"),
}
NEEDED = ("commit", "status", "description")
MEMORY = "memory_gb"
NAMES = (*NEEDED, *UNITS, MEMORY)
BASELINE = "baseline"
_GIB = 1 << 30  # tools that write gigabytes here divide bytes by 1024 three times


@dataclass(frozen=True, slots=True, eq=False)
class LogTable:
    """A search's log of m rows in its own order, the baseline first.

    `losses` (m,) are in `unit`, NaN where a trial that was not kept has none; those of kept rows are finite and above
    zero. `ids` are distinct. `numbers` (m,) are the file's lines or rows, as `row_unit` says. `columns` maps our names
    to the file's.
    """

    metric: str
    ids: tuple[str, ...]
    losses: NDArray[np.float64]
    statuses: tuple[Status, ...]
    titles: tuple[str, ...]
    memory_bytes: tuple[int | None, ...]
    numbers: tuple[int, ...]
    row_unit: str
    columns: Mapping[str, str]

    @property
    def unit(self) -> str:
        """What a loss is counted in."""
        return UNITS[self.metric]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which rows were kept (m,), the baseline among them."""
        return np.array([status == "kept" for status in self.statuses])


def read_log(path: Path, columns: Mapping[str, str] | None = None) -> LogTable:
    """Read a .csv, .tsv or .parquet file with one row per trial, in the order in which they were tried.

    Needed are `commit` (or whatever tells trials apart), `status` (keep, discard or crash), `description`, and
    `val_bpb` or `val_loss`; `memory_gb` is taken where it is there. `columns` maps these names to the file's. The first
    row is the baseline: kept, and called so in its commit or description.

    Raises:
        InputError: one sentence that names the file, what is wrong in which row, and what to do.
    """
    own = _own_names(path, column_names(path), columns or {})
    read = read_columns(path, set(own.values()))
    cells: dict[str, Sequence[object]] = {name: read.values[column] for name, column in own.items()}
    metric = next(name for name in UNITS if name in own)
    origin = Origin(str(path), read.unit, np.array(read.numbers, dtype=np.int64), own)
    ids, statuses = _ids(origin, cells["commit"]), _statuses(origin, cells["status"])
    titles = tuple(_text(cell) for cell in cells["description"])
    _require_baseline(origin, ids, titles, statuses)
    return LogTable(
        metric=metric,
        ids=ids,
        losses=_losses(origin, metric, cells[metric], statuses),
        statuses=statuses,
        titles=titles,
        memory_bytes=tuple(_bytes(cell) for cell in cells.get(MEMORY, [None] * len(ids))),
        numbers=tuple(read.numbers),
        row_unit=read.unit,
        columns=own,
    )


def _own_names(path: Path, there: Sequence[str], mapped: Mapping[str, str]) -> dict[str, str]:
    """Our names of the columns to read, each with the file's."""
    found = own_columns(str(path), there, mapped, NAMES)
    missing = [name for name in NEEDED if name not in found]
    if not any(metric in found for metric in UNITS):
        missing.append(" or ".join(UNITS))
    if missing:
        raise InputError(
            f"{path} has no column {' and no column '.join(missing)}; it has {listed(there)}: say which one is "
            f"meant, as in --column {missing[0].split()[0]}=NAME."
        )
    return found


def _ids(origin: Origin, cells: Sequence[object]) -> tuple[str, ...]:
    ids = [_text(cell) for cell in cells]
    empty, times = np.array([not one for one in ids]), Counter(ids)
    if empty.any():
        raise origin.error("commit", empty, "is empty", "give every trial a name of its own")
    if (again := np.array([times[one] > 1 for one in ids])).any():
        first = next(one for one in ids if times[one] > 1)
        same = again & np.array([one == first for one in ids])
        raise origin.error("commit", same, f"is {short(first)} more than once,", "give every trial a name of its own")
    return tuple(ids)


def _statuses(origin: Origin, cells: Sequence[object]) -> tuple[Status, ...]:
    words = [_text(cell).lower() for cell in cells]
    unknown = np.array([word not in STATUS_WORDS for word in words])
    if unknown.any():
        first = short(cells[int(unknown.argmax())])
        raise origin.error("status", unknown, f"holds {first}, which is no known word,", "write keep, discard or crash")
    return tuple(STATUS_WORDS[word] for word in words)


def _losses(origin: Origin, metric: str, cells: Sequence[object], statuses: Sequence[Status]) -> NDArray[np.float64]:
    """The losses (m,), NaN where a crashed or a dropped run has none."""
    found = np.array([number(cell) for cell in cells], dtype=np.float64)
    crashed = np.array([status == "crashed" for status in statuses])
    words = np.isnan(found) & ~crashed & np.array([not is_unknown(cell) for cell in cells])
    if words.any():
        first = short(cells[int(words.argmax())])
        raise origin.error(metric, words, f"holds {first}, which is no number,", "write plain numbers such as 0.9731")
    bare = crashed | ~np.isfinite(found) | (found <= 0)
    wrong = bare & np.array([status == "kept" for status in statuses])
    if wrong.any():
        first = short(cells[int(wrong.argmax())])
        raise origin.error(metric, wrong, f"is {first} for a trial that was kept", "give the number it was kept for")
    return np.where(bare, np.nan, found)


def _require_baseline(origin: Origin, ids: Sequence[str], titles: Sequence[str], statuses: Sequence[Status]) -> None:
    if BASELINE not in f"{ids[0]} {titles[0]}".lower() or statuses[0] != "kept":
        raise InputError(
            f"{origin.source}: the first row ({origin.unit} {origin.numbers[0]}) is no baseline; put the run that the "
            "search began with there, with status keep and 'baseline' in its commit or description."
        )
    if len(ids) == 1:
        raise InputError(f"{origin.source} holds a baseline and no trial; give the log of a search.")


def _text(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _bytes(cell: object) -> int | None:
    """Peak memory of a run; 0 is what a crashed one is given."""
    gigabytes = number(cell)
    return round(gigabytes * _GIB) if 0 < gigabytes < 1e9 else None
