"""Commands that work on a study: demo, init, plan, search, promote.

What a command needs is imported when it runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.terminal import (
    AsJson,
    StudyPath,
    console,
    nothing_to_do,
    open_study,
    open_to_run,
    print_answer,
    print_rows,
)
from data.errors import InputError

if TYPE_CHECKING:
    from data.study import Study

Workers = Annotated[int | None, typer.Option(min=1, help="Runs at a time; found from the machine by default.")]
Preset = Annotated[str, typer.Option(help="demo, cpu, h100 or h100x8.")]
Recipe = Annotated[Path | None, typer.Option(help="A baseline of your own, a Python file; it becomes STUDY/recipe.py.")]
Corpus = Annotated[str | None, typer.Option(help="A .txt, .jsonl or .parquet file, or a folder of them.")]

UnsafeNoSandbox = Annotated[
    bool, typer.Option("--unsafe-no-sandbox", help="Run what a model wrote as any program of yours, with your rights.")
]


def add_to(app: typer.Typer) -> None:
    """Make these commands of the command line."""
    app.command(epilog="Example: scaleproof demo")(demo)
    app.command(epilog="Example: scaleproof init studies/mine --preset cpu --corpus texts/")(init)
    app.command(epilog="Example: scaleproof plan studies/mine")(plan)
    app.command(epilog="Example: scaleproof search studies/mine --proposer claude --hours 48 --max-usd 50")(search)
    app.command(epilog="Example: scaleproof promote studies/mine")(promote)
    app.command(epilog="Example: scaleproof export studies/mine --patches patches/")(export)


def demo(
    path: Annotated[Path, typer.Option("--study", help="Where to make the study.")] = Path("studies/demo"),
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Do all of it on this machine in some minutes: search, promote, report."""
    from search.session import run_search
    from transfer.presets import create_study
    from transfer.session import run_promotion

    study = open_study(path) if (path / "study.toml").is_file() else create_study(path, "demo")
    worked = run_search(study, console(), workers)
    worked = run_promotion(study, console(), workers) or worked
    worked = _fit_ladder(study) or worked
    if not worked and study.report_is_current:
        nothing_to_do("this demo is finished", as_json)
        report = study.report_html
    else:
        from analysis.report import refresh_report

        report = refresh_report(path)[0]
    print_answer(path, report, as_json)


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


def plan(path: StudyPath, as_json: AsJson = False) -> None:
    """Print per rung: params, tokens, FLOPs, memory, time, and the smallest saving that can be seen."""
    study = open_to_run(path)  # before the imports, which take seconds
    from analysis.plan_table import plan_text
    from transfer.plan import make_plan

    made = make_plan(study)
    typer.echo(
        json.dumps(asdict(made), indent=2) if as_json else plan_text([asdict(r) for r in made.rungs], made.notes)
    )


def search(
    path: StudyPath,
    *,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials, placebos counted; from the settings.")] = None,
    workers: Workers = None,
    proposer: Annotated[
        str | None, typer.Option(help="catalogue, optuna, claude, or mixed of all three; from the settings.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model to ask, with --proposer claude or mixed.")] = None,
    hours: Annotated[float | None, typer.Option(help="Propose nothing more after so much working time.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Send no request that could pass this sum.")] = None,
    brief: Annotated[Path | None, typer.Option(help="A text file: what the researcher should care about.")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Ask in batches: half the price, answers may take hours.")] = (
        False
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last command stopped; always so.")] = True,
    unsafe_no_sandbox: UnsafeNoSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Try changes on rung 0 and keep those that survive confirmation on fresh seeds."""
    from analysis.search_options import check_options
    from search.session import run_search
    from search.settings import Overrides

    own_words = None if brief is None else str(brief.resolve())
    given = Overrides(trials, proposer, hours, model, max_usd, own_words, batch or None)
    study = open_to_run(path)
    check_options(study, given)
    if not run_search(study, console(), workers, given, unsafe_no_sandbox=unsafe_no_sandbox):
        nothing_to_do("this search is finished", as_json)
    ended = "select status, count(*) as trials from trials where status is not null group by status order by status"
    print_rows(path, ended, as_json)


def promote(
    path: StudyPath,
    *,
    again: Annotated[
        list[str] | None,
        typer.Option(help="Measure anew, keeping old rows: timing, 'rung 1' or 'arm X'; may be given several times."),
    ] = None,
    workers: Workers = None,
    unsafe_no_sandbox: UnsafeNoSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Measure the findings up the ladder: savings, verdicts, forecast and landing run."""
    from transfer.session import measure_again, run_promotion

    study = open_to_run(path)
    if again:
        measure_again(study, again)
    if not run_promotion(study, console(), workers, unsafe_no_sandbox=unsafe_no_sandbox):
        nothing_to_do("this promotion is finished", as_json)
    print_rows(path, "select arm, verdict, fragile, reason from verdicts order by arm", as_json)


def export(
    path: StudyPath,
    folder: Annotated[Path | None, typer.Argument(help="Where to write one file per view.")] = None,
    *,
    format: Annotated[str, typer.Option(help="Of the views: parquet, csv or json.")] = "parquet",
    patches: Annotated[Path | None, typer.Option(help="Write one patch per finding here, for git am.")] = None,
    branch: Annotated[
        Path | None, typer.Option(help="Write the findings to a git repository here, one commit each on a branch.")
    ] = None,
) -> None:
    """Write every view to a file, or the findings as patches or as a git branch."""
    open_study(path)
    if folder is None and patches is None and branch is None:
        raise InputError("Nothing to export: name a folder for the views, or give --patches or --branch.")
    if folder is not None:
        from analysis.export import export_tables

        for written in export_tables(path, folder, format):
            typer.echo(written)
    if patches is not None:
        from analysis.export_patches import export_patches

        made = export_patches(path, patches)
        typer.echo("\n".join(map(str, made)) if made else "Nothing to export: the study has no finding yet.")
    if branch is not None:
        _export_branch(path, branch)
    if patches is not None or branch is not None:
        _say_unfinished(path)


def _say_unfinished(path: Path) -> None:
    """Say on stderr that findings may follow, where a search is not finished."""
    from analysis.evidence import read_evidence
    from analysis.progress import unfinished
    from data.store import Store

    if said := unfinished(read_evidence(Store(path))):
        typer.echo(said, err=True)


def _export_branch(path: Path, repository: Path) -> None:
    from analysis.export_branch import export_branch

    made = export_branch(path, repository)
    if not made.changed:
        nothing_to_do(f"the branch {made.name} of {made.repository} holds these findings", as_json=False)
    else:
        typer.echo(f"{made.repository}: {len(made.commits)} commits on the branch {made.name}")
    for finding, reason in made.left_out.items():
        typer.echo(f"left out {finding}: {reason}")


def _fit_ladder(study: Study) -> bool:
    """Fit the study's ladder; a ladder that no law can be fitted to is said, and the rest of the work goes on."""
    from analysis.fit_command import fit_ladder

    try:
        with console().status("fitting scaling laws to the ladder") as status:
            return fit_ladder(study, status.update)
    except InputError as error:
        typer.echo(f"No scaling law was fitted: {error}", err=True)
        return False
