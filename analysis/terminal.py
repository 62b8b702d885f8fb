"""What all commands share: arguments, a console, and what is said of work that is done already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from data.study import Study

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def console() -> Console:
    """A console on stderr, so that stdout holds the answer alone."""
    from rich.console import Console

    return Console(stderr=True)


def nothing_to_do(why: str, as_json: bool) -> None:
    """Say that the work is done already; on stderr where stdout is to be JSON."""
    typer.echo(f"Nothing to do: {why}.", err=as_json)


def open_study(path: Path) -> Study:
    """Open a study; raises InputError that says why the folder is none."""
    from data.study import Study

    return Study.open(path)


def open_to_run(path: Path) -> Study:
    """Open a study that has a ladder of its own to run on."""
    study = open_study(path)
    study.require_runs_of_its_own()
    return study


def print_rows(path: Path, statement: str, as_json: bool) -> None:
    """Print the answer to one SELECT."""
    from analysis.sql import run_sql

    typer.echo(str(run_sql(path, statement, "json" if as_json else "table")), nl=False)


def print_answer(path: Path, report: Path, as_json: bool) -> None:
    """Print the study's answer in one sentence, and where its report is."""
    from analysis.answer import answer
    from analysis.evidence import read_evidence
    from analysis.regime import regime
    from data.store import Store

    evidence = read_evidence(Store(path))
    said = " ".join(part for part in (answer(evidence), regime(evidence)) if part)
    typer.echo(json.dumps({"answer": said, "report": str(report)}) if as_json else f"{said}\nReport: {report}")
