"""From settings to the proposer that they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scaling.knobs import Knob
from search.catalogue import CatalogueProposer, placebo_proposal
from search.proposals import BATCH, Proposal, Proposer
from search.settings import SearchSettings
from search.tuner import OptunaProposer, knob_ranges


def make_proposer(settings: SearchSettings, knobs: Mapping[str, Knob]) -> tuple[Proposer, Callable[[int], Proposal]]:
    """The proposer, and the maker of placebo trials.

    Raises:
        InputError: for a category or slug that the catalogue does not have, or when an extra is not installed.
    """
    if settings.proposer == "optuna":
        ranges = knob_ranges(knobs)
        return OptunaProposer(ranges, seed=settings.seed, batch=BATCH, trials=settings.trials), placebo_proposal
    return CatalogueProposer(categories=settings.categories, only=settings.only), placebo_proposal
