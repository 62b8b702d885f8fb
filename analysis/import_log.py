"""`scaleproof import`: the log of another search in, a study that holds its trials out."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.log_table import LogTable, read_log
from data.run_columns import mapped_columns
from data.spool import SpoolWriter
from data.store import Store
from data.study import OF_A_LOG, Study
from search.foreign import DECIMALS, Steps, against_best
from search.repeats import BEST, repeated_run

IMPORTED, SEED_SWAPS = "imported", "seed_swaps"
"""Facts of an imported study: where its trials came from, and what is known of their noise."""
PROPOSER = "import"


def run_import(log: Path, study_path: Path, columns: Sequence[str] = (), seed_swap: float | None = None) -> bool:
    """Take the log of another search into the study at `study_path`, which is made where there is none.

    `columns` are texts like "val_bpb=loss", our name and the log's. `seed_swap`, in the log's unit, is what a change of
    seed alone did to its metric; it counts before what the log's own repeats say. Returns False, having done nothing,
    when the study holds the log already, and the seed swap where one is given.

    Raises:
        InputError: for a log that cannot be read, and a study that holds something else.
    """
    if seed_swap is not None and not (math.isfinite(seed_swap) and seed_swap > 0):
        raise InputError(f"--seed-swap {seed_swap:g} is no noise; give a number above 0, in the log's own unit.")
    table = read_log(log, mapped_columns(columns, "val_bpb=loss"))
    source = {"source": log.name, "digest": _digest(log), "columns": dict(table.columns)}
    study = _study(study_path, log, source)
    with study.lock():
        held = {
            row["name"]: json.loads(row["value"]) for row in Store(study.path).rows("SELECT name, value FROM facts")
        }
        known = held.get(SEED_SWAPS, {})
        if IMPORTED in held and seed_swap in (None, known.get("given")):
            return False
        with study.writer() as writer:
            if IMPORTED in held:
                _fact(writer, SEED_SWAPS, {**known, "given": seed_swap})
            else:
                _write(writer, table, source, seed_swap)
        Store(study.path).ingest()
    return True


def _study(path: Path, log: Path, source: dict[str, Any]) -> Study:
    """The study that holds this log, or is to hold it."""
    if not (path / "study.toml").exists():
        return Study.create(path, {OF_A_LOG: source})
    study = Study.open(path)
    held = study.settings.get(OF_A_LOG)
    if held is None:
        raise InputError(f"{path} is a study with runs of its own; give another folder for what {log} holds.")
    if held.get("digest") != source["digest"]:
        raise InputError(
            f"{path} holds the log {held.get('source')} as it was, and {log} differs from it; give another folder."
        )
    if held.get("columns") != source["columns"]:
        raise InputError(f"{path} holds {log} with other columns; give another folder, or the same --column as then.")
    return study


def _write(writer: SpoolWriter, table: LogTable, source: dict[str, Any], seed_swap: float | None) -> None:
    """Append the log's rows, and last the fact that says that they are all there."""
    steps = against_best(table.losses, table.kept)
    repeats = _repeats(table, steps)
    for row in range(len(table.ids)):
        writer.append("run", **_run(table, row))
        if row:
            writer.append("trial", **_trial(table, steps, row), placebo=row in repeats, source=_place(table, row))
    _fact(writer, SEED_SWAPS, {"given": seed_swap, "measured": _seed_swaps(table, repeats)})
    told = {"unit": table.unit, "metric": table.metric, "baseline": table.ids[0], "rows": len(table.ids)}
    _fact(writer, IMPORTED, {**source, **told, "compared": int(np.isfinite(steps.gains).sum())})
    writer.flush()


def _run(table: LogTable, row: int) -> dict[str, Any]:
    """The run behind a row; crashed ones, and those without a number, failed."""
    return {
        "run_id": f"import-{table.ids[row]}",
        "arm": f"trial:{table.ids[row]}" if row else "baseline",
        "purpose": "import",
        "status": "finished" if math.isfinite(table.losses[row]) else "failed",
        table.metric: table.losses[row],
        "peak_memory_bytes": table.memory_bytes[row],
    }


def _trial(table: LogTable, steps: Steps, row: int) -> dict[str, Any]:
    """A row as a trial: its effect has no interval, since it is one run against one run."""
    best, gain = table.ids[steps.best[row]], steps.gains[row]
    against = f"against {best}, the best kept before it: one run each, so without an interval"
    return {
        "trial_id": table.ids[row],
        "proposer": PROPOSER,
        "title": table.titles[row] or table.ids[row],
        "status": table.statuses[row],
        "effect": gain,
        "reason": against if math.isfinite(gain) else "the log has no number for it",
    }


def _repeats(table: LogTable, steps: Steps) -> dict[int, int]:
    """Rows of trials that changed the seed alone, each with the row of the run that it repeats."""
    found = {}
    for row in range(1, len(table.ids)):
        said = repeated_run(table.titles[row], table.ids[0], table.ids[:row])
        if said is not None:
            found[row] = int(steps.best[row]) if said == BEST else table.ids.index(said)
    return found


def _seed_swaps(table: LogTable, repeats: dict[int, int]) -> list[dict[str, Any]]:
    """What the repeats that have a number measured: their loss less that of the run they repeat."""
    changes = {
        row: round(float(table.losses[row] - table.losses[against]), DECIMALS) for row, against in repeats.items()
    }
    return [
        {"trial": table.ids[row], "against": table.ids[repeats[row]], "change": change}
        for row, change in changes.items()
        if math.isfinite(change)
    ]


def _place(table: LogTable, row: int) -> str:
    return f"{table.row_unit} {table.numbers[row]}"


def _fact(writer: SpoolWriter, name: str, value: dict[str, Any]) -> None:
    writer.append("fact", name=name, value=value)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
