"""From a tool call to a proposal: a function of the answer and the baseline alone, so that a replay gives the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from scaling.edits import Edit, EditError, Recipe, Replacement
from search.claude.diffs import replacements
from search.claude.tools import ProposeInput, problem
from search.proposals import Proposal

SOURCE = "proposed by Claude"
SKIPPED = "skipped"
"""The category of a proposal that records why there is none."""


class InvalidCallError(Exception):
    """A tool call whose input is not what its schema says; the message is for the model."""


@dataclass(frozen=True)
class UnusableEdit(Edit):
    """An edit that applies to nothing: the reason that its trial is to carry, and what was sent as an edit."""

    reason: str = ""
    text: str = ""

    @property
    def written(self) -> str:
        """What was sent."""
        return self.text

    def apply(self, recipe: Recipe) -> Recipe:
        """Raise EditError with the reason."""
        raise EditError(self.reason)


def read_proposal(given: Any, categories: Sequence[str]) -> ProposeInput:  # noqa: ANN401 (whatever a model sent)
    """Check the input of a call of `propose`.

    Raises InvalidCallError with one sentence of what is wrong.
    """
    try:
        return ProposeInput.model_validate(given, context={"categories": tuple(categories)})
    except ValidationError as error:
        raise InvalidCallError(problem(error)) from None


def proposal(given: ProposeInput, slug: str, baseline: Recipe) -> Proposal:
    """The proposal of a checked call; a diff that cannot be read gives one whose edit says so when it is applied."""
    return Proposal(
        title=one_line(given.title, 100),
        slug=slug,
        hypothesis=one_line(given.hypothesis, 1_000),
        category=given.category,
        source=SOURCE,
        scale_rule=one_line(given.scale_rule, 200),
        expected_scaling=given.expected_scaling,
        edit=_edit(given, baseline),
        expected_effect=given.expected_effect,
    )


def skip(slug: str, reason: str) -> Proposal:
    """The record of an answer that held no proposal: its trial is rejected with the reason."""
    return Proposal(
        title="No proposal",
        slug=slug,
        hypothesis="",
        category=SKIPPED,
        source=SOURCE,
        scale_rule="",
        expected_scaling="unknown",
        edit=UnusableEdit(reason=one_line(reason, 400)),
    )


def slug_of(title: str, exchange: int, place: int) -> str:
    """A name that no other proposal has: words of the title, the exchange, and the place in it."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    short = ""
    for word in words:
        if len(short) + len(word) > 40:
            break
        short += f"{word}-"
    return f"{short or 'edit-'}e{exchange:04d}-{place}"


def one_line(text: str, most: int) -> str:
    """Text without control characters and line breaks, cut to `most` characters."""
    kept = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    plain = " ".join(kept.split())
    return plain if len(plain) <= most else f"{plain[: most - 4]} ..."


def _edit(given: ProposeInput, baseline: Recipe) -> Edit:
    knobs = {one.name: one.value for one in given.knobs}
    if not given.diff.strip():
        return Edit(tuple(Replacement(one.old, one.new) for one in given.replacements), knobs)
    try:
        return Edit(replacements(given.diff, baseline.source), knobs)
    except EditError as error:
        return UnusableEdit(reason=str(error), text=given.diff)
