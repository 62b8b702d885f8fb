"""A study's search, from its settings to its findings; a second call on a finished search does nothing."""

from __future__ import annotations

from rich.console import Console

from data.study import Study
from scaling.executor import warm_up
from scaling.lab import baseline_recipe, open_lab
from scaling.marks import is_done, mark
from search.settings import SearchSettings

DONE = "search_done"


def search_mark(study: Study, trials: int | None = None, proposer: str | None = None) -> str:
    """What a finished search of these settings leaves; `trials` and `proposer` override the study's own.

    Raises:
        InputError: for settings that are not valid.
    """
    settings = search_settings(study, trials, proposer)
    return mark(study, baseline_recipe(study), {"search": settings.model_dump(mode="json")})


def run_search(
    study: Study,
    console: Console,
    workers: int | None = None,
    trials: int | None = None,
    proposer: str | None = None,
) -> bool:
    """Search with the study's settings. Returns False, having done nothing, when it had been finished before.

    Raises:
        InputError: for settings that are not valid, and for a baseline that breaks the recipe's contract.
        ScaleproofError: when the work cannot be done.
    """
    wanted = search_mark(study, trials, proposer)
    if is_done(study, DONE, wanted):
        return False
    # Only work that is really to be done pays for torch, loaded by the workers' parent and here at the same time.
    warm_up()
    from scaling.loading import load
    from search.baseline import check_baseline
    from search.proposers import make_proposer
    from search.search import Search

    settings, baseline = search_settings(study, trials, proposer), baseline_recipe(study)
    knobs = load(baseline).knobs
    chosen, placebo = make_proposer(settings, knobs)
    with open_lab(study, console, workers) as lab:
        if study.recipe.exists():
            check_baseline(baseline, lab.setting.ladder, lab.vocab_size)
        search = Search(lab, baseline, settings, placebo=placebo, learning_rate=knobs["learning_rate"].value)
        search.run(chosen)
        lab.fact(DONE, wanted)
    return True


def search_settings(study: Study, trials: int | None, proposer: str | None) -> SearchSettings:
    """The study's own settings of a search, with those overridden that are given."""
    given = {"trials": trials, "proposer": proposer}
    values = {**study.settings.get("search", {}), **{key: value for key, value in given.items() if value is not None}}
    return SearchSettings.read(values)
