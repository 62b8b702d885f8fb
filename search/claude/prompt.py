"""What the researcher is told: a fixed part that is cached for an hour, the user's brief, and what changes."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jinja2

from data.schema import KINDS
from scaling.edits import Recipe
from scaling.knobs import Knob
from scaling.ladder import Rung
from search.claude.parse import UnusableEdit
from search.claude.query import SEEN
from search.claude.quoting import quoted
from search.claude.tools import schemas
from search.door.words import MODULES
from search.proposals import Failure, Proposal

Block = dict[str, Any]

ANGLES = (
    "small, safe changes that published work at scale supports",
    "a bold change of structure that the baseline has nothing of",
    "what should gain as models grow, even if it is modest here",
    "removing or simplifying something, so that steps get cheaper at no loss",
    "variants of what was kept, or of what nearly was",
    "what the failures so far point to",
)
"""Taken in turn: the service has no temperature, so variety has to be asked for."""

FOCUS = 3
_FAILED = {
    "edit": "Your edit does not apply to the baseline recipe.",
    "preflight": "Your edit was refused before its first run.",
    "crash": "The run of your edit crashed.",
}
_REASON_CHARACTERS = 3_000
_EDIT_CHARACTERS = 24_000


@dataclass(frozen=True, slots=True)
class Wish:
    """What one request asks for: how many edits, in which categories, how, and whether questions are answered."""

    number: int
    count: int
    focus: tuple[str, ...]
    angle: str
    narrow: bool = False
    questions: bool = True


class Prompt:
    """Writes the parts of a request."""

    def __init__(
        self, baseline: Recipe, knobs: Mapping[str, Knob], categories: Sequence[str], rungs: Sequence[Rung], brief: str
    ) -> None:
        """Everything that stays the same through a search; brief: the user's own words, '' for none."""
        self.categories = tuple(categories)
        self.tools = schemas(categories)
        fixed = _template("system.j2").render(
            source=baseline.source,
            knobs=knobs,
            categories=categories,
            rungs=rungs,
            views=_views(),
            modules=sorted(MODULES),
        )
        self.system = [_cached(fixed)]
        if brief.strip():
            self.system.append(_cached(_template("brief.j2").render(brief=brief.strip())))

    def wish(self, number: int, count: int, *, questions: bool) -> Wish:
        """What the exchange of that number looks for: categories and angle take turns."""
        width = min(FOCUS, len(self.categories))
        places = range(width * (number - 1), width * number)
        focus = tuple(self.categories[place % len(self.categories)] for place in places)
        return Wish(number, count, focus, ANGLES[(number - 1) % len(ANGLES)], questions=questions)

    def exchange(self, wish: Wish, account: str, turns: int) -> str:
        """The opening of an exchange; account: what was tried."""
        return _template("exchange.j2").render(**asdict(wish), account=account, turns=turns)

    def repair(self, proposal: Proposal, failure: Failure) -> str:
        """What was proposed, and how it failed."""
        return _template("repair.j2").render(
            what=_FAILED[failure.kind],
            title=quoted(proposal.title, 200),
            category=proposal.category,
            hypothesis=quoted(proposal.hypothesis, 1_000),
            edit=quoted(_edit_text(proposal), _EDIT_CHARACTERS),
            reason=quoted(failure.reason, _REASON_CHARACTERS, tail=failure.kind == "crash"),
        )


def _edit_text(proposal: Proposal) -> str:
    edit = proposal.edit
    if isinstance(edit, UnusableEdit):
        return edit.text
    pairs = [{"old": one.old, "new": one.new} for one in edit.replacements]
    return json.dumps({"replacements": pairs, "knobs": dict(edit.knobs)}, ensure_ascii=False)


def _views() -> dict[str, str]:
    columns = {kind.view: ", ".join(kind.columns) for kind in KINDS.values() if kind.view in SEEN}
    columns["llm_calls"] = ", ".join(name for name in KINDS["llm_call"].columns if name not in {"answer", "error"})
    columns["findings"] = "finding_id, trial_id, title, category, effect, effect_low, effect_high, patch, ..."
    return {name: columns[name] for name in SEEN}


def _cached(text: str) -> Block:
    # An experiment outlives the five minutes that are the default.
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}


@functools.cache
def _template(name: str) -> jinja2.Template:
    # What is written is read by a model, and no page: quoting is done where text is quoted.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("search.claude"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    return environment.get_template(name)
