"""Find it small, prove it large: the public face and the command line of scaleproof.

Every command imports what it needs when it runs: `scaleproof --help` loads no torch, no DuckDB and no charts.
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from analysis import table_commands
from analysis.simulate_command import app as simulate
from analysis.terminal import AsJson, StudyPath, console, nothing_to_do
from data.errors import InputError, ScaleproofError

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

Workers = Annotated[int | None, typer.Option(min=1, help="Runs at a time; found from the machine by default.")]
Preset = Annotated[str, typer.Option(help="demo, cpu, h100 or h100x8.")]
Recipe = Annotated[Path | None, typer.Option(help="A baseline of your own, a Python file; it becomes STUDY/recipe.py.")]
Corpus = Annotated[str | None, typer.Option(help="A .txt, .jsonl or .parquet file, or a folder of them.")]


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    """Take the one option that all commands share; `main` reads it."""


@app.command(epilog="Example: scaleproof demo")
def demo(
    path: Annotated[Path, typer.Option("--study", help="Where to make the study.")] = Path("studies/demo"),
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Do all of it on this machine in some minutes: search, promote, report."""
    from search.session import run_search
    from transfer.presets import create_study
    from transfer.session import run_promotion

    study = _open(path) if (path / "study.toml").is_file() else create_study(path, "demo")
    worked = run_search(study, console(), workers)
    worked = run_promotion(study, console(), workers) or worked
    worked = _fit_ladder(study) or worked
    if not worked and study.report_is_current:
        nothing_to_do("this demo is finished", as_json)
        report = study.report_html
    else:
        from analysis.report import refresh_report

        report = refresh_report(path)[0]
    _print_answer(path, report, as_json)


@app.command(epilog="Example: scaleproof init studies/mine --preset cpu --corpus texts/")
def init(
    path: StudyPath,
    *,
    preset: Preset = "cpu",
    ladder: Annotated[str | None, typer.Option(help="Another ladder: a preset's name or a TOML file.")] = None,
    corpus: Corpus = None,
    recipe: Recipe = None,
    tokenizer: Annotated[str | None, typer.Option(help="bytes, or bpe for a trained vocabulary.")] = None,
    vocab_size: Annotated[int | None, typer.Option(min=257, help="Size of the trained vocabulary.")] = None,
) -> None:
    """Make a study folder with its settings, ready to edit."""
    from transfer.presets import create_study

    chosen = {"source": corpus, "tokenizer": tokenizer, "vocab_size": vocab_size}
    given = {key: value for key, value in chosen.items() if value is not None}
    study = create_study(path, preset, ladder=ladder, corpus=given, recipe=recipe)
    typer.echo(f"Made {study.path}; its settings are in {study.settings_file}. Next: scaleproof plan {study.path}")


@app.command(epilog="Example: scaleproof plan studies/mine")
def plan(path: StudyPath, as_json: AsJson = False) -> None:
    """Print per rung: params, tokens, FLOPs, memory, time, and the smallest saving that can be seen."""
    study = _open_to_run(path)  # before the imports, which take seconds
    from analysis.plan_table import plan_text
    from transfer.plan import make_plan

    made = make_plan(study)
    typer.echo(
        json.dumps(asdict(made), indent=2) if as_json else plan_text([asdict(r) for r in made.rungs], made.notes)
    )


@app.command(epilog="Example: scaleproof search studies/mine --trials 40")
def search(
    path: StudyPath,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials, placebos counted; from the settings.")] = None,
    workers: Workers = None,
    proposer: Annotated[str | None, typer.Option(help="catalogue or optuna; from the settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try changes on rung 0 and keep those that survive confirmation on fresh seeds."""
    from search.session import run_search

    if not run_search(_open_to_run(path), console(), workers, trials, proposer):
        nothing_to_do("this search is finished", as_json)
    _print_rows(path, "select status, count(*) as trials from trials group by status order by status", as_json)


@app.command(epilog="Example: scaleproof promote studies/mine")
def promote(path: StudyPath, workers: Workers = None, as_json: AsJson = False) -> None:
    """Measure the findings up the ladder: savings, verdicts, forecast and landing run."""
    from transfer.session import run_promotion

    if not run_promotion(_open_to_run(path), console(), workers):
        nothing_to_do("this promotion is finished", as_json)
    _print_rows(path, "select arm, verdict, fragile, reason from verdicts order by arm", as_json)


table_commands.add_to(app)


@app.command(epilog="Example: scaleproof report studies/mine")
def report(path: StudyPath, as_json: AsJson = False) -> None:
    """Write the report: one HTML file that needs no network, and Markdown beside it."""
    from analysis.report import refresh_report

    _open(path)
    written, changed = refresh_report(path)
    if not changed:
        nothing_to_do("the report is up to date", as_json)
    _print_answer(path, written, as_json)


@app.command(epilog='Example: scaleproof sql studies/demo "select arm, rung, saving from savings" --format markdown')
def sql(
    path: StudyPath,
    statement: Annotated[str, typer.Argument(help="One SQL statement that reads.")],
    format: Annotated[str, typer.Option(help="table, csv, json, markdown or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
) -> None:
    """Ask the study's store; works while a search runs."""
    from analysis.sql import run_sql

    _open(path)
    answer = run_sql(path, statement, format, output)
    if isinstance(answer, bytes):
        sys.stdout.buffer.write(answer)
    else:
        typer.echo(answer, nl=False)


@app.command(epilog="Example: scaleproof export studies/mine tables/ --format csv")
def export(
    path: StudyPath,
    folder: Annotated[Path, typer.Argument(help="Where to write one file per view.")],
    format: Annotated[str, typer.Option(help="parquet, csv or json.")] = "parquet",
) -> None:
    """Write every view of the study to a file."""
    from analysis.export import export_tables

    _open(path)
    for written in export_tables(path, folder, format):
        typer.echo(written)


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
        raise
    except ScaleproofError as error:
        _fail(str(error), error.exit_status, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (give --debug for a traceback)", 1, debug)
    sys.exit(0)


def _fail(sentence: str, status: int, debug: bool) -> NoReturn:
    if debug:
        traceback.print_exc()
    typer.echo(sentence, err=True)
    sys.exit(status)


def _open(path: Path) -> Study:
    from data.study import Study

    return Study.open(path)


def _open_to_run(path: Path) -> Study:
    study = _open(path)
    study.require_runs_of_its_own()
    return study


def _fit_ladder(study: Study) -> bool:
    """Fit the study's ladder; a ladder that no law can be fitted to is said, and the rest of the work goes on."""
    from analysis.fit_command import fit_ladder

    try:
        with console().status("fitting scaling laws to the ladder") as status:
            return fit_ladder(study, status.update)
    except InputError as error:
        typer.echo(f"No scaling law was fitted: {error}", err=True)
        return False


def _print_rows(path: Path, statement: str, as_json: bool) -> None:
    from analysis.sql import run_sql

    typer.echo(str(run_sql(path, statement, "json" if as_json else "table")), nl=False)


def _print_answer(path: Path, report: Path, as_json: bool) -> None:
    from analysis.answer import answer
    from analysis.evidence import read_evidence
    from data.store import Store

    said = answer(read_evidence(Store(path)))
    typer.echo(json.dumps({"answer": said, "report": str(report)}) if as_json else f"{said}\nReport: {report}")


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
