"""What the columns of a table of arms must hold: names, statuses, seeds and numbers, one text for all, no run twice."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError
from data.run_checks import (
    MOST_NAMED,
    Array,
    Mask,
    Origin,
    is_unknown,
    listed,
    numbers,
    numbers_where_known,
    require_positive,
    short,
)

STATUSES = ("finished", "diverged", "failed", "running", "queued")
BASELINE = "baseline"
BYTES_TOLERANCE = 0.01
"""Bytes per token may differ so much, relatively, between runs on the same text with the same tokeniser."""


def texts(origin: Origin, name: str, cells: Sequence[object]) -> tuple[str | None, ...]:
    """Convert cells (m,), text or numbers, to text, None where a cell tells nothing; whole numbers are written plainly.

    Raises:
        InputError: for a cell that is neither text nor a number.
    """
    found = [_text(cell) for cell in cells]
    wrong = np.array([one is None and not is_unknown(cell) for one, cell in zip(found, cells, strict=True)])
    if wrong.any():
        what = f"holds {short(cells[int(np.argmax(wrong))])}, which is neither text nor a number,"
        raise origin.error(name, wrong, what, "write a name or a number")
    return tuple(found)


def arm_names(origin: Origin, cells: Sequence[object]) -> tuple[str, ...]:
    """Each run's arm, (m,). Raises InputError for a name that is blank."""
    found = texts(origin, "arm", cells)
    if not all(found):
        raise origin.error("arm", np.array([not one for one in found]), "is blank", "name the arm of every run")
    return tuple(one for one in found if one)


def choose_baseline(origin: Origin, arm: Sequence[str], wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """The baseline, and the other arms in order of first appearance, given each run's arm (m,).

    Raises:
        InputError: where the arm `wanted`, or without a name the arm 'baseline', is not there, or no other is.
    """
    arms = tuple(dict.fromkeys(arm))
    if len(arms) == 1:
        raise InputError(
            f"{origin.source}: {origin.column('arm')} is {short(arms[0])} in every row; give the runs of a baseline "
            "and of what is compared with it."
        )
    name = BASELINE if wanted is None else wanted.strip()
    if name not in arms:
        raise InputError(f"{origin.source} has no arm {short(name)}; give --baseline one of its arms: {listed(arms)}.")
    return name, tuple(one for one in arms if one != name)


def read_statuses(origin: Origin, cells: Sequence[object] | None) -> tuple[tuple[str, ...], Mask, list[str]]:
    """Each run's status (m,), which are finished (m,), and a note on the others; without cells all are finished.

    Raises:
        InputError: for a word that is none of STATUSES.
    """
    if cells is None:
        m = len(origin.numbers)
        return ("finished",) * m, np.ones(m, np.bool_), []
    found = [_text(cell) for cell in cells]
    status = tuple(one for one in found if one in STATUSES)
    if len(status) < len(found):
        wrong = np.array([one not in STATUSES for one in found])
        others = sorted({"nothing" if one is None else short(one) for one in found if one not in STATUSES})
        what = f"holds {', '.join(others[:MOST_NAMED])}"
        raise origin.error("status", wrong, what, f"write one of {', '.join(STATUSES)}")
    counts = Counter(one for one in status if one != "finished")
    said = ", ".join(f"{name} {counts[name]:,}" for name in STATUSES if counts[name])
    notes = [f"{counts.total():,} of {len(status):,} runs did not finish ({said})."] if counts else []
    return status, np.array([one == "finished" for one in status], dtype=np.bool_), notes


def seeds(origin: Origin, cells: Sequence[object]) -> tuple[str | None, ...]:
    """Each run's seed, (m,), None throughout where there is none. Raises InputError where only some rows have one."""
    found = tuple(map(_seed, texts(origin, "seed", cells)))
    missing = np.array([one is None for one in found])
    if missing.any() and not missing.all():
        raise origin.error("seed", missing, "is empty", "give every run its seed, or leave the column out")
    return found


def needed_numbers(origin: Origin, name: str, cells: Sequence[object], finished: Mask) -> Array:
    """A needed column as float64 (m,): above 0 in `finished` rows (m,), elsewhere NaN where there is no such number.

    Losses of runs that did not finish are never read.

    Raises:
        InputError: for a finished row whose cell is empty, no number, not finite or not above 0, and for text that is
            no number in any row.
    """
    values = np.full(len(cells), math.nan)
    kept = origin.take(finished)
    part = numbers(kept, name, [cell for cell, done in zip(cells, finished.tolist(), strict=True) if done])
    remedy = "correct it" if name != "loss" else "write 'diverged' or 'failed' in a column status"
    require_positive(kept, name, part, f"{remedy}, or leave the row out")
    values[finished] = part
    if name != "loss" and not finished.all():
        rest = [cell for cell, done in zip(cells, finished.tolist(), strict=True) if not done]
        others = numbers_where_known(origin.take(~finished), name, rest)
        values[~finished] = np.where(np.isfinite(others) & (others > 0), others, math.nan)
    return values


def optional_numbers(origin: Origin, name: str, cells: Sequence[object]) -> Array:
    """An optional column as float64 (m,), NaN where unknown.

    Raises:
        InputError: for a cell that is no number, not finite or not above 0, or a part of a tuning trial.
    """
    values = numbers_where_known(origin, name, cells)
    known = ~np.isnan(values)
    require_positive(origin.take(known), name, values[known], "correct it, or leave the cell empty")
    if name == "tuning_trials" and (broken := known & (values != np.floor(values))).any():
        what = f"is not a whole number ({values[broken][0]:g})"
        raise origin.error(name, broken, what, "count the trials, 1 where nothing was tuned")
    return values


def require_one_text(origin: Origin, cells: Mapping[str, Sequence[object]], finished: Mask) -> None:
    """Raise InputError unless all `finished` runs (m,) were judged on one corpus, cut into tokens in one way.

    `cells` may hold the columns corpus, tokenizer and bytes_per_token. Their losses could not be compared otherwise.
    """
    for name, what in (("corpus", "corpora"), ("tokenizer", "tokenisers")):
        if name in cells:
            found = texts(origin, name, cells[name])
            counted = Counter(one for one, done in zip(found, finished.tolist(), strict=True) if one and done)
            if len(counted) > 1:
                most = counted.most_common(1)[0][0]
                others = np.array([one not in (None, "", most) for one in found]) & finished
                raise _mixed(origin, name, others, f"mixes {what} ({listed(sorted(counted), MOST_NAMED)})")
    if "bytes_per_token" in cells:
        widths = np.where(finished, optional_numbers(origin, "bytes_per_token", cells["bytes_per_token"]), math.nan)
        known = widths[np.isfinite(widths)]
        if len(known) and known.max() > known.min() * (1 + BYTES_TOLERANCE):
            span = f"goes from {known.min():.4g} to {known.max():.4g}, so tokenisers are mixed"
            raise _mixed(origin, "bytes_per_token", widths > known.min() * (1 + BYTES_TOLERANCE), span)


def _mixed(origin: Origin, name: str, rows: Mask, what: str) -> InputError:
    remedy = "losses are comparable on one corpus and one tokeniser alone, so give one table for each"
    return origin.error(name, rows, what, remedy)


def require_each_once(
    origin: Origin, arm: Sequence[str], seed: Sequence[str | None], scale: Mapping[str, Array], finished: Mask
) -> None:
    """Raise InputError where two `finished` rows are the same run: arm, seed and each of `scale` (all (m,)) agree."""
    codes = run_codes(arm, seed, scale)
    codes[~finished] = -1 - np.flatnonzero(~finished)
    _, first, counts = np.unique(codes, return_index=True, return_counts=True)
    if not (counts > 1).any():
        return
    begins = int(first[counts > 1].min())
    rows = codes == codes[begins]
    seeded = any(one is not None for one in seed)
    names = [
        "arm",
        *(name for name, values in scale.items() if np.isfinite(values).any()),
        *(["seed"] if seeded else []),
    ]
    what = f"and {', '.join(names[1:])} are the same"
    remedy = "leave one out" if seeded else "tell the runs apart by a column seed, or leave one out"
    raise origin.error("arm", rows, what, remedy)


def run_codes(arm: Sequence[str], seed: Sequence[str | None], scale: Mapping[str, Array]) -> NDArray[np.int64]:
    """One number per row (m,), the same for rows that agree in all of these; NaN agrees with NaN."""
    columns = [_numbered(arm), _numbered(seed)]
    columns += [np.unique(values, return_inverse=True)[1] for values in scale.values()]
    return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _numbered(names: Sequence[str | None]) -> NDArray[np.intp]:
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], dtype=np.intp)


def _text(cell: object) -> str | None:
    """A cell as text, None where it is none."""
    if isinstance(cell, bool) or is_unknown(cell):
        return None
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating | Decimal):
        return str(int(cell)) if math.isfinite(cell) and cell == int(cell) else str(cell)
    return None


def _seed(text: str | None) -> str | None:
    """'3' where it says '3.0': programs write a column of whole numbers so as soon as one is missing."""
    if text is None:
        return None
    whole, _, rest = text.partition(".")
    return whole if whole.isdecimal() and rest and not rest.strip("0") else text
