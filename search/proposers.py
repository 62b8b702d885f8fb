"""From settings to the proposer that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from data.spool import SpoolWriter
from scaling.edits import Recipe
from scaling.knobs import Knob
from scaling.lab import Lab
from search.catalogue import CatalogueProposer, placebo_proposal
from search.claude.settings import ClaudeSettings
from search.proposals import BATCH, Proposal, Proposer
from search.search import Door
from search.settings import SearchSettings
from search.tuner import OptunaProposer, knob_ranges

if TYPE_CHECKING:
    from search.claude.proposer import ClaudeProposer


class Chosen(NamedTuple):
    """A proposer, the maker of placebo trials, what looks at its recipes before they are run, what it has cost."""

    proposer: Proposer
    placebo: Callable[[int], Proposal]
    door: Door
    account: Callable[[], str]


@contextmanager
def open_proposer(
    lab: Lab, settings: SearchSettings, claude: ClaudeSettings, baseline: Recipe, knobs: Mapping[str, Knob]
) -> Iterator[Chosen]:
    """The proposer that the settings name, and what belongs to it.

    Raises:
        InputError: for a category or slug that the catalogue does not have, when an extra is not installed, and for a
            model without a price or a key that is missing or refused.
    """
    account: Callable[[], str] = str
    with ExitStack() as stack:
        if settings.proposer == "catalogue":
            proposer: Proposer = _catalogue(settings, knobs)
        elif settings.proposer == "optuna":
            proposer = _optuna(settings, knobs)
        elif settings.proposer == "claude":
            proposer = asked = stack.enter_context(_claude(lab, claude, baseline, knobs))
            account = asked.account
        else:
            asked = stack.enter_context(_claude(lab, claude, baseline, knobs))
            account = asked.account
            writer = stack.enter_context(lab.study.writer())
            proposer = _mixed(lab, settings, writer, [asked, _catalogue(settings, knobs), _optuna(settings, knobs)])
        yield Chosen(proposer, placebo_proposal, _door(baseline) if settings.asks_claude else _open_door, account)


def _catalogue(settings: SearchSettings, knobs: Mapping[str, Knob]) -> Proposer:
    values = {name: knob.value for name, knob in knobs.items()}
    return CatalogueProposer(categories=settings.categories, only=settings.only, knobs=values)


def _optuna(settings: SearchSettings, knobs: Mapping[str, Knob]) -> Proposer:
    return OptunaProposer(knob_ranges(knobs), seed=settings.seed, batch=BATCH, trials=settings.trials)


@contextmanager
def _claude(
    lab: Lab, settings: ClaudeSettings, baseline: Recipe, knobs: Mapping[str, Knob]
) -> Iterator[ClaudeProposer]:
    # The SDK takes a second to import: only a search that asks it pays for that.
    from search.claude.researcher import open_researcher

    with open_researcher(lab, settings, baseline, knobs) as researcher:
        yield researcher


def _mixed(lab: Lab, settings: SearchSettings, writer: SpoolWriter, proposers: list[Proposer]) -> Proposer:
    """Share among `proposers`; `writer` is the proposing thread's own, and records whose turn each batch was."""
    from search.mixed import MixedProposer

    name = f"mixed-{settings.seed}"
    rows = lab.store.rows("select name, value from facts where starts_with(name, $name)", {"name": f"{name}:"})
    recorded = {int(row["name"].rpartition(":")[2]): str(json.loads(row["value"])) for row in rows}

    def record(batch: int, who: str) -> None:
        writer.append("fact", name=f"{name}:{batch}", value=json.dumps(who))
        writer.flush()

    return MixedProposer(
        proposers, seed=settings.seed, recorded=recorded, record=record, usd_per_hour=settings.usd_per_hour
    )


def _door(baseline: Recipe) -> Door:
    from search.door import refuse

    return partial(refuse, baseline=baseline)


def _open_door(recipe: Recipe) -> None:
    """What the catalogue writes is our own."""
