"""`scaleproof fit`: a table or a study in, the law and its predictions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from data.errors import InputError
from data.run_columns import ParamsCount, mapped_columns
from data.run_table import RunTable, of_study, read_run_table
from scaling.fit_answer import FitOptions, Fitted, fit_runs
from scaling.fitting import Say
from scaling.laws.question import Objective
from scaling.targets import complete, parse_target

if TYPE_CHECKING:
    from data.study import Study


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command line as they were typed; the first four are for tables in files."""

    split_column: str | None
    columns: Sequence[str]
    drop_largest_losses: int
    params_count: str | None
    form: str
    targets: Sequence[str]
    loss: str
    draws: int | None
    seed: int
    report: Path | None


def run_fit(source: Path, asked: Asked, say: Say) -> Fitted:
    """Fit the table or the study at `source`, and write the report where one is wanted.

    A study keeps its fit: what it holds already is read, not fitted again.

    Raises:
        InputError: for options that cannot be read and runs that cannot be fitted; one sentence, with what to do.
    """
    if asked.loss not in get_args(Objective):
        raise InputError(f"--loss {asked.loss} is unknown: take one of {', '.join(get_args(Objective))}.")
    sizes = [parse_target(text) for text in asked.targets]
    study = _study(source, asked)
    say("reading the runs")
    table = (
        _table(source, asked) if study is None else of_study(source, params_count=_count(asked) or "with embeddings")
    )
    options = FitOptions(
        form=asked.form,
        targets=tuple(complete(sizes, table)),
        objective=cast(Objective, asked.loss),
        draws=asked.draws,
        seed=asked.seed,
    )
    if study is None:
        fitted = fit_runs(table, options, curve=asked.report is not None, say=say)
    else:
        from scaling.fit_session import fit_study

        fitted = fit_study(study, table, options, anew=asked.report is not None, say=say)
    if asked.report is None or fitted.outcome is None:
        return fitted
    say("drawing the report")
    from analysis.fit_report import write_fit_report

    written = write_fit_report(fitted.outcome, fitted.table, asked.report)
    return replace(fitted, answer={**fitted.answer, "report": str(written)})


def fit_ladder(study: Study, say: Say) -> bool:
    """Fit a study's ladder as `scaleproof fit` does by default; returns False where the study holds that fit.

    Raises:
        InputError: when the study has no finished ladder, or one that no law can be fitted to.
    """
    from scaling.fit_session import fit_study

    return fit_study(study, of_study(study.path), FitOptions(), say=say).outcome is not None


def _study(source: Path, asked: Asked) -> Study | None:
    """The study that `source` is, None where it is a file."""
    if not source.exists():
        raise InputError(
            f"There is no table or study at {source}; give a .csv, .tsv or .parquet file, or a study's folder."
        )
    if not source.is_dir():
        return None
    from data.study import Study

    study = Study.open(source)
    for_tables = {
        "--split-column": asked.split_column,
        "--column": asked.columns,
        "--drop-largest-losses": asked.drop_largest_losses,
    }
    if wrong := [name for name, value in for_tables.items() if value]:
        raise InputError(f"{wrong[0]} is for tables in files, and {source} is a study; leave it out.")
    return study


def _table(source: Path, asked: Asked) -> RunTable:
    return read_run_table(
        source,
        split_column=asked.split_column,
        columns=mapped_columns(asked.columns),
        params_count=_count(asked),
        drop_largest_losses=asked.drop_largest_losses,
    )


def _count(asked: Asked) -> ParamsCount | None:
    """What params are to count; the table's reader checks the words."""
    return cast("ParamsCount | None", asked.params_count)
