"""`scaleproof verdict`: a table of runs or a study in, a word on every arm out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from analysis.verdict_answer import tokens_per_param, verdict_answer
from data.arm_table import ArmTable, read_arm_table
from data.errors import InputError
from data.run_columns import mapped_columns
from scaling.targets import parse_sizes
from transfer.power import ALPHA
from transfer.saving import Axis, delta_of
from transfer.tables.verdict import SMALLEST_SAVING, Ask, judge_table

LARGEST_ALPHA = 0.25
SMALLEST_SIGMA, LARGEST_SIGMA = 1e-9, 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command line as they were typed; all but the axis are for tables in files."""

    baseline: str | None = None
    sigma: float | None = None
    axis: str | None = None
    target: str | None = None
    columns: Sequence[str] = ()
    smallest_saving: float | None = None
    alpha: float | None = None
    report: Path | None = None


def run_verdict(source: Path, asked: Asked) -> dict[str, Any]:
    """Judge the table at `source`, and write its page where one is wanted, or read the verdicts of the study there.

    Raises:
        InputError: for options that cannot be read, and for runs that cannot be compared; one sentence each.
    """
    if asked.axis is not None and asked.axis not in get_args(Axis):
        raise InputError(f"--axis {asked.axis} is unknown: take one of {', '.join(get_args(Axis))}.")
    if source.is_dir():
        return _of_study(source, asked)
    if not source.exists():
        raise InputError(f"There is no file and no study at {source}; give a table of runs, or a study's folder.")
    if asked.sigma is not None and not SMALLEST_SIGMA <= asked.sigma <= LARGEST_SIGMA:
        raise InputError(
            f"--sigma {asked.sigma:g} is no noise level: give nats per token, {SMALLEST_SIGMA:g} to {LARGEST_SIGMA:g}."
        )
    if asked.smallest_saving is not None:
        delta_of(asked.smallest_saving)
    if asked.alpha is not None and not 0 < asked.alpha <= LARGEST_ALPHA:
        raise InputError(f"--alpha {asked.alpha:g} is no level: give one above 0, and {LARGEST_ALPHA:g} at most.")
    axis = cast(Axis, asked.axis or "tokens")
    columns = mapped_columns(asked.columns)
    table = read_arm_table(source, columns=columns, baseline=asked.baseline, axis=axis)
    smallest = SMALLEST_SAVING if asked.smallest_saving is None else asked.smallest_saving
    target = None if asked.target is None else _target(asked.target, table)
    answer = verdict_answer(table, judge_table(table, Ask(asked.sigma, smallest, target, asked.alpha or ALPHA)))
    return answer if asked.report is None else _reported(answer, source, asked, asked.report)


def _reported(answer: dict[str, Any], source: Path, asked: Asked, path: Path) -> dict[str, Any]:
    if path.exists() and path.samefile(source):
        raise InputError(f"--report {path} is the table itself; name another file.")
    from analysis.verdict_report import write_verdict_report

    return {**answer, "report": str(write_verdict_report(answer, _command(source, asked), path))}


def _command(source: Path, asked: Asked) -> str:
    """The call as it can be typed again."""
    given = {
        "--baseline": asked.baseline,
        "--sigma": None if asked.sigma is None else repr(asked.sigma),
        "--axis": asked.axis,
        "--target": asked.target,
        "--smallest-saving": None if asked.smallest_saving is None else repr(asked.smallest_saving),
        "--alpha": None if asked.alpha is None else repr(asked.alpha),
    }
    words = ["scaleproof", "verdict", str(source)]
    words += [word for name, value in given.items() if value is not None for word in (name, value)]
    words += [word for column in asked.columns for word in ("--column", column)]
    return shlex.join([*words, "--report", str(asked.report)])


def _of_study(source: Path, asked: Asked) -> dict[str, Any]:
    # A table needs neither the store nor what reads it.
    from analysis.verdict_study import study_answer
    from data.study import Study

    study = Study.open(source)
    if asked.report is not None:
        raise InputError(
            f"--report is for a table of runs, and {source} is a study; `scaleproof report {source}` makes its page."
        )
    given = {
        "--baseline": asked.baseline,
        "--sigma": asked.sigma,
        "--target": asked.target,
        "--column": asked.columns or None,
        "--smallest-saving": asked.smallest_saving,
        "--alpha": asked.alpha,
    }
    wrong = next((name for name, value in given.items() if value is not None), None)
    if wrong:
        raise InputError(f"{wrong} is for a table of runs, and {source} is a study; leave it out.")
    return study_answer(study.path, asked.axis)


def _target(text: str, table: ArmTable) -> float:
    """The target on the ladder's own scale: params, or on axis flops the root of FLOPs."""
    sizes = parse_sizes(text)
    if len(sizes) > 1 or "tokens" in sizes:
        raise InputError(f"--target {text!r} is one size here: give params=7e9 or flops=1e21.")
    if table.axis == "flops":
        if "flops" not in sizes:
            raise InputError(f"--target {text!r} cannot be found along a frontier of budgets; give flops=1e21.")
        return math.sqrt(sizes["flops"])
    if "params" in sizes:
        return sizes["params"]
    return math.sqrt(sizes["flops"] / (6 * tokens_per_param(table)))
