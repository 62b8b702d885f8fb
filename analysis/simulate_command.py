"""`scaleproof simulate`: error rates of the rules where the truth is known, and plans for a budget.

What a command needs is imported when it runs: the help loads no statistics.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analysis.grid import plain
from analysis.simulate_settings import read_table, read_tables, settings_text
from analysis.terminal import AsJson
from data.errors import InputError

if TYPE_CHECKING:
    from transfer.planning.world import RecommenderSettings
    from transfer.simulation.worlds import LadderWorld

LADDERS_IN_ALL = 1200
"""Ladders by default, over all worlds: some 20 s on two cores. Figures to quote want 2,000 a world."""
LADDERS_A_WORLD = (20, 1000)
LARGEST_BUDGET = 1e36
BASELINE = "baseline"
EXAMPLE_PLAN = {"budget_flops": 1e21, "target_params": 7e9}

app = typer.Typer(
    help="Simulate before you spend: how often do the rules err where the truth is known; what to run for a budget?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

SettingsFile = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="A TOML file; --show-settings prints one to edit.")
]
ShowSettings = Annotated[bool, typer.Option("--show-settings", help="Print the settings as TOML, and end.")]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Of the random streams; from the settings.")]


@app.command(epilog="Example: scaleproof simulate search --settings world.toml --searches 400")
def search(
    settings: SettingsFile = None,
    searches: Annotated[int | None, typer.Option(min=2, help="Searches to simulate; from the settings.")] = None,
    seed: Seed = None,
    show_settings: ShowSettings = False,
    as_json: AsJson = False,
) -> None:
    """Error rates of keep-or-drop on rung 0: screen and confirm, beside greedily keeping whatever ran lower."""
    from search.error_rates import error_rates
    from search.simulated import SearchWorld

    if show_settings:
        typer.echo(settings_text("search_world", SearchWorld()), nl=False)
        return
    world = SearchWorld.read(_with(read_table(settings, "search_world"), searches=searches, seed=seed))
    with _progress(f"{world.searches:,} searches of {world.proposals:,} proposals, by two rules"):
        answer = error_rates(world).as_dict()
    from analysis.simulate_text import search_text

    _print(answer, search_text, as_json)


@app.command(epilog="Example: scaleproof simulate ladder --settings world.toml --ladders 2000")
def ladder(
    *,
    settings: SettingsFile = None,
    ladders: Annotated[
        int | None,
        typer.Option(min=1, help=f"Per world; by default {LADDERS_IN_ALL:,} over all worlds, for some 20 s."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores by default.")] = None,
    seed: Seed = None,
    show_settings: ShowSettings = False,
    as_json: AsJson = False,
) -> None:
    """Error rates of intervals, words and A/A on whole ladders: in the worlds of the settings, or a mix of many."""
    from transfer.simulation.error_rates import error_rates
    from transfer.simulation.worlds import LadderWorld

    if show_settings:
        typer.echo(settings_text("ladder_world", LadderWorld()), nl=False)
        return
    worlds = _worlds(settings, seed)
    with _progress(f"{len(worlds)} worlds", total=len(worlds)) as done:
        answer = error_rates(worlds, ladders=ladders, workers=workers, say=done).as_dict()
    from analysis.simulate_text import ladder_text

    _print(answer, ladder_text, as_json)


@app.command(epilog="Example: scaleproof simulate plan --budget 1e21 --target params=7e9")
def plan(
    budget: Annotated[float | None, typer.Option(metavar="FLOPS", help="FLOPs of all runs, as 1e21.")] = None,
    target: Annotated[
        str | None, typer.Option(metavar="params=N[,tokens=D]", help="The run to bet on, as params=7e9.")
    ] = None,
    settings: SettingsFile = None,
    show_settings: ShowSettings = False,
    as_json: AsJson = False,
) -> None:
    """Recommend rungs, pairs and horizons: for a budget, the tightest interval of the saving at the target."""
    from transfer.planning.recommend import recommend
    from transfer.planning.world import RecommenderSettings

    if show_settings:
        typer.echo(settings_text("plan_world", RecommenderSettings.read(EXAMPLE_PLAN)), nl=False)
        return
    asked = _asked(read_table(settings, "plan_world"), budget, target)
    with _progress("plans for this budget, and for cheaper and dearer ones"):
        found = recommend(asked)
    from analysis.simulate_plan_text import plan_text

    _print({**found.record(), "settings": asked.model_dump(mode="json")}, plan_text, as_json)


@app.command(epilog="Example: scaleproof simulate factorial --findings muon,no-decay,longer-warmup --fold-over")
def factorial(
    findings: Annotated[str, typer.Option(metavar="A,B,C", help="1 to 23 names, with commas between them.")],
    fold_over: Annotated[
        bool, typer.Option("--fold-over", help="Twice the runs: tells pairs of findings too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a Plackett-Burman plan of combinations to run: every finding is on in half of the runs."""
    from analysis.simulate_plan_text import factorial_text
    from transfer.factorial.plans import JOINT, plan_table
    from transfer.words import STACK

    names = [name.strip() for name in findings.split(",")]
    for name in {BASELINE, STACK} & set(names):
        raise InputError(f"No finding can be called {name!r}, since that is an arm of its own; rename it.")
    runs = [{"arm": JOINT.join(on) or BASELINE, "findings": on} for on in plan_table(names, fold_over)]
    answer = {"findings": names, "fold_over": fold_over, STACK: JOINT.join(names), "runs": runs}
    _print(answer, factorial_text, as_json)


def _worlds(settings: Path | None, seed: int | None) -> Sequence[LadderWorld]:
    from transfer.simulation.error_rates import MIX, UNTUNED
    from transfer.simulation.worlds import read_worlds

    worlds = (*MIX, *UNTUNED) if settings is None else read_worlds(read_tables(settings, "ladder_world"))
    least, most = LADDERS_A_WORLD
    share = min(max(LADDERS_IN_ALL // len(worlds), least), most)
    return [
        world.model_copy(update={"ladders": world.ladders or share, "seed": world.seed if seed is None else seed})
        for world in worlds
    ]


def _asked(values: Mapping[str, Any], budget: float | None, target: str | None) -> RecommenderSettings:
    """What the options say goes before what the settings hold."""
    from scaling.targets import parse_sizes
    from transfer.planning.world import RecommenderSettings

    if budget is not None and not (math.isfinite(budget) and 0 < budget <= LARGEST_BUDGET):
        raise InputError(f"--budget {budget:g} is no budget: give FLOPs above 0 and up to {LARGEST_BUDGET:g}, as 1e21.")
    sizes = {} if target is None else dict(parse_sizes(target))
    if target is not None and ("params" not in sizes or "flops" in sizes):
        raise InputError(f"--target {target!r} is not a run to plan for; write it like params=7e9,tokens=1.4e11.")
    kept = values if target is None else {key: value for key, value in values.items() if key != "target_tokens"}
    made = _with(kept, budget_flops=budget, target_params=sizes.get("params"), target_tokens=sizes.get("tokens"))
    needed = {"budget_flops": "--budget 1e21", "target_params": "--target params=7e9"}
    if lacking := [option for key, option in needed.items() if key not in made]:
        raise InputError(f"A plan needs {' and '.join(lacking)}, or the like in [plan_world] of the settings.")
    return RecommenderSettings.read(made)


def _with(values: Mapping[str, Any], **given: object) -> dict[str, Any]:
    return {**values, **{key: value for key, value in given.items() if value is not None}}


def _print(answer: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], as_json: bool) -> None:
    typer.echo(json.dumps(plain(answer), indent=2, allow_nan=False) + "\n" if as_json else text(answer), nl=False)


@contextmanager
def _progress(what: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """A line on standard error with what is running and what is left; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    left = (MofNCompleteColumn(), TextColumn("done, left:"), TimeRemainingColumn()) if total else ()
    columns = (TextColumn("simulating {task.description}"), BarColumn(20), TimeElapsedColumn(), *left)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=total)
        yield lambda _: shown.advance(task)
