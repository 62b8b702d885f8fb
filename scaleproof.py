"""Find it small, prove it large: the public face and the command line of scaleproof.

Every command imports what it needs when it runs: `scaleproof --help` loads no torch, no DuckDB and no charts.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from analysis import table_commands, work_commands
from analysis.simulate_command import app as simulate
from analysis.terminal import AsJson, StudyPath, nothing_to_do, open_study, print_answer
from data.errors import ScaleproofError

if TYPE_CHECKING:
    from analysis.verdict_answer import verdict_answer
    from data.arm_table import arm_table_of, read_arm_table
    from data.run_table import of_arrays, of_study, read_run_table
    from data.store import Store
    from data.study import Study
    from scaling.fitting import fit_table
    from scaling.laws.question import Target
    from transfer.presets import create_study
    from transfer.tables.verdict import Ask, judge_table

__all__ = [
    "Ask",
    "Store",
    "Study",
    "Target",
    "app",
    "arm_table_of",
    "create_study",
    "fit_table",
    "judge_table",
    "main",
    "of_arrays",
    "of_study",
    "read_arm_table",
    "read_run_table",
    "verdict_answer",
]

INTERRUPTED = 130

app = typer.Typer(
    help="Find it small, prove it large: which optimisations found on a tiny language model still save training time "
    "on a big one?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(simulate, name="simulate")


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Take the one option that all commands share; `main` reads it."""


work_commands.add_to(app)
table_commands.add_to(app)


@app.command(epilog="Example: scaleproof report studies/mine")
def report(path: StudyPath, as_json: AsJson = False) -> None:
    """Write the report: one HTML file that needs no network, and Markdown beside it."""
    from analysis.report import refresh_report

    open_study(path)
    written, changed = refresh_report(path)
    if not changed:
        nothing_to_do("the report is up to date", as_json)
    print_answer(path, written, as_json)


@app.command(epilog='Example: scaleproof sql studies/demo "select arm, rung, saving from savings" --format markdown')
def sql(
    path: StudyPath,
    statement: Annotated[str, typer.Argument(help="One SQL statement that reads.")],
    format: Annotated[str, typer.Option(help="table, csv, json, markdown or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Ask the study's store; works while a search runs."""
    from analysis.sql import run_sql

    open_study(path)
    answer = run_sql(path, statement, format, output)
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
    else:
        typer.echo(answer, nl=False)


@app.command(epilog="Example: scaleproof doctor")
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine has, and what is missing."""
    from analysis.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            typer.echo(f"{'ok     ' if one.ok else 'MISSING'} {one.name}: {one.found}")
    if not all(one.ok for one in findings if one.needed):
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command line: 0 done, 1 the work failed, 2 the call or the input is wrong."""
    debug = "--debug" in sys.argv
    try:
        app(prog_name="scaleproof")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            kept = " What has ended is kept; give the same command again to continue."
            typer.echo("Stopped." + kept * (sys.argv[1:2] != ["simulate"]), err=True)
            _leave_threads_behind()
        raise
    except ScaleproofError as error:
        _fail(str(error), error.exit_status, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (give --debug for a traceback)", 1, debug)
    sys.exit(0)


def _leave_threads_behind() -> None:
    """End at once where a thread still waits, say for a model: libraries complain when Python is torn down under it."""
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


def _fail(sentence: str, status: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    typer.echo(sentence, err=True)
    sys.exit(status)


def __getattr__(name: str) -> object:
    """Give library users what they need, loaded when it is asked for."""
    homes = {
        "Study": "data.study",
        "Store": "data.store",
        "create_study": "transfer.presets",
        "read_run_table": "data.run_table",
        "of_arrays": "data.run_table",
        "of_study": "data.run_table",
        "fit_table": "scaling.fitting",
        "read_arm_table": "data.arm_table",
        "arm_table_of": "data.arm_table",
        "judge_table": "transfer.tables.verdict",
        "Ask": "transfer.tables.verdict",
        "verdict_answer": "analysis.verdict_answer",
        "Target": "scaling.laws.question",
    }
    if name not in homes:
        raise AttributeError(f"module 'scaleproof' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(homes[name]), name)
    return value


if __name__ == "__main__":
    main()
