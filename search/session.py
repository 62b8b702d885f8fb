"""A study's search, from its settings to its findings; a second call on a finished search does nothing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.console import Console

from data.study import Study
from scaling.edits import Recipe
from scaling.executor import in_worker, warm_up
from scaling.knobs import Knob
from scaling.lab import Lab, baseline_recipe, open_lab
from scaling.ladder import Ladder
from scaling.marks import is_done, mark
from search.claude.settings import ClaudeSettings
from search.clock import WorkClock
from search.settings import Overrides, SearchSettings
from search.trust import WRITTEN_BY_MODEL, require_trust, worker_for

DONE = "search_done"


def search_mark(study: Study, given: Overrides) -> str:
    """What a finished search of these settings leaves.

    Raises:
        InputError: for settings that are not valid.
    """
    settings = search_settings(study, given)
    tables = {"search": settings.model_dump(mode="json")}
    if settings.asks_claude:
        tables["claude"] = claude_settings(study, given).model_dump(mode="json")
    return mark(study, baseline_recipe(study), tables)


def run_search(
    study: Study,
    console: Console,
    workers: int | None = None,
    given: Overrides | None = None,
    *,
    unsafe_no_sandbox: bool = False,
) -> bool:
    """Search with the study's settings. Returns False, having done nothing, when it had been finished before.

    Raises:
        InputError: for settings that are not valid, a key that is missing or refused, and for a baseline that breaks
            the recipe's contract.
        ScaleproofError: when the work cannot be done, there is no sandbox for what a model writes, or nobody proposes
            any more for now.
    """
    given = given or Overrides()
    settings, wanted = search_settings(study, given), search_mark(study, given)
    if is_done(study, DONE, wanted):
        return False
    worker = worker_for(model_writes=settings.asks_claude, unsafe_no_sandbox=unsafe_no_sandbox)
    # Loads torch while this process goes on, which itself needs none.
    warm_up(worker)
    require_trust(worker)
    from search.proposers import open_proposer
    from search.search import Search

    baseline = baseline_recipe(study)
    claude = claude_settings(study, given)
    if settings.asks_claude:
        # Before the corpus is read, which takes minutes.
        from search.claude.key import require_key

        require_key(claude.base_url)
    with open_lab(study, console, workers, worker) as lab:
        knobs = inspect(study, baseline, lab)
        with open_proposer(lab, settings, claude, baseline, knobs) as chosen:
            if settings.asks_claude:
                lab.fact(WRITTEN_BY_MODEL, True)
            search = Search(
                lab,
                baseline,
                settings,
                placebo=chosen.placebo,
                learning_rate=knobs["learning_rate"].value,
                door=chosen.door,
                clock=WorkClock(lab, f"{settings.proposer}-{settings.seed}", settings.hours),
                account=chosen.account,
            )
            search.run(chosen.proposer)
        lab.fact(DONE, wanted)
    return True


def inspect(study: Study, baseline: Recipe, lab: Lab) -> Mapping[str, Knob]:
    """The baseline's knobs; a baseline of the user's own is checked first.

    Raises:
        RecipeError: naming the first thing that is wrong with it.
    """
    own = study.recipe.exists()
    return in_worker(partial(_inspect, own=own), baseline, lab.setting.ladder, lab.vocab_size)


def _inspect(baseline: Recipe, ladder: Ladder, vocab_size: int, *, own: bool) -> Mapping[str, Knob]:
    from search.baseline import check_baseline, knobs_of

    if own:
        check_baseline(baseline, ladder, vocab_size)
    return knobs_of(baseline)


def search_settings(study: Study, given: Overrides) -> SearchSettings:
    """The study's own settings of a search, with those overridden that are given."""
    return SearchSettings.read(_overridden(study.settings.get("search", {}), given.search))


def claude_settings(study: Study, given: Overrides) -> ClaudeSettings:
    """The study's own settings of the researcher, with those overridden that are given."""
    return ClaudeSettings.read(_overridden(study.settings.get("claude", {}), given.claude))


def _overridden(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {**own, **{name: value for name, value in given.items() if value is not None}}
