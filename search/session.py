"""A study's search, from its settings to its findings; a second call on a finished search does nothing."""

from __future__ import annotations

from rich.console import Console

from data.study import Study
from scaling.lab import baseline_recipe, open_lab
from scaling.marks import is_done, mark
from search.settings import SearchSettings

DONE = "search_done"


def search_mark(study: Study, trials: int | None = None) -> str:
    """What a finished search of these settings leaves; `trials` overrides the study's own number.

    Raises:
        InputError: for settings that are not valid.
    """
    return mark(study, baseline_recipe(), {"search": _settings(study, trials).model_dump(mode="json")})


def run_search(study: Study, console: Console, workers: int | None = None, trials: int | None = None) -> bool:
    """Search with the study's settings. Returns False, having done nothing, when it had been finished before.

    Raises:
        InputError: for settings that are not valid.
        ScaleproofError: when the work cannot be done.
    """
    wanted = search_mark(study, trials)
    if is_done(study, DONE, wanted):
        return False
    # Only work that is really to be done pays for torch.
    from scaling.loading import load
    from search.proposers import make_proposer
    from search.search import Search

    settings, baseline = _settings(study, trials), baseline_recipe()
    knobs = load(baseline).knobs
    proposer, placebo = make_proposer(settings, knobs)
    with open_lab(study, console, workers) as lab:
        search = Search(lab, baseline, settings, placebo=placebo, learning_rate=knobs["learning_rate"].value)
        search.run(proposer)
        lab.fact(DONE, wanted)
    return True


def _settings(study: Study, trials: int | None) -> SearchSettings:
    values = study.settings.get("search", {})
    return SearchSettings.read(values if trials is None else {**values, "trials": trials})
