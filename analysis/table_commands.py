"""Commands on tables that somebody made: fit, verdict, import. Each takes a study as well, where that makes sense.

What a command needs is imported when it runs: the help loads no statistics.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from analysis.terminal import AsJson, StudyPath, console, nothing_to_do

Source = Annotated[Path, typer.Argument(metavar="TABLE|STUDY", help="A .csv, .tsv or .parquet file, or a study.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", metavar="NAME=COLUMN", help="Where the table has other headings.")
]
ReportFile = Annotated[Path | None, typer.Option(help="Write pictures and tables to this HTML file.")]


def add_to(app: typer.Typer) -> None:
    """Make these commands of the command line."""
    app.command(epilog="Example: scaleproof fit runs.csv --target params=7e9,tokens=1.4e11")(fit)
    app.command(epilog="Example: scaleproof verdict runs.csv --baseline adamw --column arm=optimizer --sigma 0.002")(
        verdict
    )
    app.command("import", epilog="Example: scaleproof import results.tsv studies/theirs")(import_log)


def fit(
    source: Source,
    *,
    form: Annotated[str, typer.Option(help="auto to weigh laws by held-out runs, or a law: chinchilla, kaplan ...")] = (
        "auto"
    ),
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="params=N,tokens=D", help="A run to predict, by two of params, tokens and flops."),
    ] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that says train or test.")] = None,
    column: Columns = None,
    params_count: Annotated[str | None, typer.Option(help="'with embeddings' or 'without embeddings'.")] = None,
    drop_largest_losses: Annotated[int, typer.Option(min=0, help="Leave out so many runs.")] = 0,
    loss: Annotated[str, typer.Option(help="huber or least_squares, of the log loss.")] = "huber",
    draws: Annotated[int | None, typer.Option(help="Resamplings behind the standard errors.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the resamplings.")] = 42,
    report: ReportFile = None,
    as_json: AsJson = False,
) -> None:
    """Fit scaling laws to finished runs: the loss of a larger run with its interval, and compute-optimal sizes."""
    from analysis.fit_command import Asked, run_fit
    from analysis.fit_text import fit_text

    asked = Asked(
        split_column, column or (), drop_largest_losses, params_count, form, target or (), loss, draws, seed, report
    )
    with console().status("fitting") as status:
        fitted = run_fit(source, asked, status.update)
    if fitted.outcome is None:
        nothing_to_do("the study holds this fit", as_json)
    said = json.dumps(fitted.answer, indent=2, allow_nan=False) + "\n" if as_json else fit_text(fitted.answer)
    typer.echo(said, nl=False)


def verdict(
    source: Source,
    *,
    baseline: Annotated[str | None, typer.Option(help="The arm to compare with; 'baseline' by default.")] = None,
    sigma: Annotated[float | None, typer.Option(help="Noise of a run, nats per token, where no seeds tell it.")] = None,
    axis: Annotated[str | None, typer.Option(help="tokens, flops (along the frontiers) or seconds.")] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="params=N|flops=C", help="Where to forecast; the ladder's next step by default."),
    ] = None,
    column: Columns = None,
    smallest_saving: Annotated[float | None, typer.Option(help="The smallest saving worth having; 0.01.")] = None,
    alpha: Annotated[float | None, typer.Option(help="One-sided level of the words; 0.05.")] = None,
    report: ReportFile = None,
    as_json: AsJson = False,
) -> None:
    """Judge every arm of a table of runs, or of a study: does its gain transfer to larger scales?"""
    from analysis.verdict_command import Asked, run_verdict
    from analysis.verdict_text import verdict_text

    answer = run_verdict(source, Asked(baseline, sigma, axis, target, column or (), smallest_saving, alpha, report))
    said = json.dumps(answer, indent=2, allow_nan=False) + "\n" if as_json else verdict_text(answer)
    typer.echo(said, nl=False)
    if report is not None and not as_json:
        typer.echo(f"\nReport: {report}")


def import_log(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A .tsv, .csv or .parquet file, the baseline first.")],
    path: StudyPath,
    column: Columns = None,
    seed_swap: Annotated[float | None, typer.Option(help="What a change of seed alone did to the metric.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in the log of another search: how many of its keeps are larger than its own seed swap?"""
    from analysis.import_log import run_import
    from analysis.import_text import import_said

    if not run_import(log, path, column or (), seed_swap):
        nothing_to_do("the study holds this log", as_json)
    typer.echo(import_said(path, as_json=as_json), nl=False)
