"""The proposer that needs no model: published changes, one after the other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from data.errors import InputError
from search.catalogue import (
    activation,
    architecture,
    attention,
    embedding,
    initialisation,
    normalisation,
    objective,
    optimiser,
    regularisation,
    schedule,
)
from search.catalogue.patch import RelativeEdit
from search.proposals import BATCH, Failure, Outcome, Proposal

# The first two dozen make a small search of their own: likely gains, likely nulls and likely harm of every category.
FIRST = (
    "muon",
    "qk-norm",
    "dropout-heavy",
    "rotary",
    "squared-relu",
    "truncated-init",
    "value-embeddings",
    "label-smoothing",
    "zero-init-projections",
    "rmsnorm",
    "bigram-embeddings",
    "decay-to-zero",
    "post-norm",
    "embedding-rate-higher",
    "key-shift",
    "learning-rate-double",
    "x0-lambdas",
    "logit-soft-cap",
    "no-warmup",
    "token-smear",
    "warmup-stable-decay",
    "swiglu",
    "multi-query",
    "u-net-skips",
    "beta2-longer",
    "tied-embeddings",
    "gated-attention",
    "z-loss",
    "more-weight-decay",
    "parallel-block",
    "embedding-norm",
    "cautious-adamw",
)

_MODULES = (
    architecture,
    normalisation,
    attention,
    activation,
    embedding,
    initialisation,
    optimiser,
    schedule,
    regularisation,
    objective,
)


def _ordered() -> tuple[Proposal, ...]:
    """FIRST, then the others, one of each category in turn."""
    rank = {slug: index for index, slug in enumerate(FIRST)}
    place = {
        entry.slug: (rank.get(entry.slug, len(rank)), index)
        for module in _MODULES
        for index, entry in enumerate(module.ENTRIES)
    }
    return tuple(sorted((entry for module in _MODULES for entry in module.ENTRIES), key=lambda one: place[one.slug]))


CATALOGUE = _ordered()
CATEGORIES = tuple(module.ENTRIES[0].category for module in _MODULES)


class CatalogueProposer:
    """Proposes the catalogue in its order, all of it or the chosen part."""

    name = "catalogue"
    batch = BATCH

    def __init__(
        self,
        categories: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
        knobs: Mapping[str, float] | None = None,
    ) -> None:
        """Choose by category, by slug, or both; None is no restriction. `knobs`: the baseline's own values.

        Raises InputError for a category or a slug that is not in the catalogue, or where none is in both.
        """
        _check("category", categories, CATEGORIES)
        _check("entry", only, [entry.slug for entry in CATALOGUE])
        self._entries = [
            _at(entry, knobs or {})
            for entry in CATALOGUE
            if (categories is None or entry.category in categories) and (only is None or entry.slug in only)
        ]
        if not self._entries:
            raise InputError("the catalogue has no entry of the chosen categories and slugs: widen one of the two.")

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        """The next entries, at most `count`, whose slugs are not in the history; empty when all are."""
        known = {outcome.slug for outcome in history}
        return [entry for entry in self._entries if entry.slug not in known][: max(0, count)]

    def repair(self, proposal: Proposal, failure: Failure) -> None:
        """The catalogue has no second version of anything."""


def _at(entry: Proposal, knobs: Mapping[str, float]) -> Proposal:
    """The entry, changing a knob by its factor from the baseline's own value."""
    return replace(entry, edit=entry.edit.at(knobs)) if isinstance(entry.edit, RelativeEdit) else entry


def _check(what: str, given: Sequence[str] | None, known: Sequence[str]) -> None:
    for word in given or ():
        if word not in known:
            near = difflib.get_close_matches(word, known, n=3, cutoff=0.4) or list(known)[:3]
            raise InputError(f"the catalogue has no {what} {word!r}; the nearest are {', '.join(near)}.")
