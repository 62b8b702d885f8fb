"""One proposal on its way through a search, and what is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from scaling.edits import Recipe, unified_diff
from scaling.runs import RunResult
from search import keep
from search.finish import Finish
from search.proposals import Failure, Outcome, Proposal, TrialStatus


@dataclass(slots=True)
class Trial:
    """A proposal, the recipe that it yields, and what its runs said; `status` is None while more is to be run.

    place: its number in the search. waiting: ids of the runs that it cannot go on without. twin: the trial that tried
    the same recipe before. failure: why it could not be tried, while it may still be repaired. repaired: what it was
    repaired of. seconds: what its runs took.
    """

    place: int
    proposal: Proposal
    recipe: Recipe | None = None
    status: TrialStatus | None = None
    reason: str = ""
    screen_difference: float | None = None
    differences: list[float] = field(default_factory=list)
    look: keep.Look | None = None
    end: Finish | None = None
    twin: Trial | None = None
    failure: Failure | None = None
    waiting: set[str] = field(default_factory=set)
    repaired: set[str] = field(default_factory=set)
    seconds: float = 0.0

    @property
    def trial_id(self) -> str:
        """The proposal's slug and the beginning of the hash of what it yields."""
        return self.proposal.slug if self.recipe is None else f"{self.proposal.slug}-{self.recipe.hash[:6]}"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be run for it; what is kept is only settled at the end of the search."""
        return self.status is not None or (self.look is not None and self.look.decision != "more")

    def stop(self, status: TrialStatus, reason: str) -> None:
        """End it without an effect."""
        self.status, self.reason, self.failure = status, reason, None

    def add(self, result: RunResult) -> None:
        """Count what one of its runs took."""
        if not math.isnan(result.seconds):  # as in a run that did not finish
            self.seconds += result.seconds

    def outcome(self) -> Outcome:
        """What a proposer learns of it: never a number of a single confirmation run."""
        told = self.look if self.look is not None and self.look.n > 1 else None
        return Outcome(
            slug=self.proposal.slug,
            status=self.status or (_SO_FAR[self.look.decision] if self.look else "unresolved"),
            effect=told.effect if told else None,
            effect_low=told.low if told else None,
            effect_high=told.high if told else None,
            screen_difference=self.screen_difference,
            ended=self.ended,
            reason=self.reason,
            seconds=self.seconds,
            proposal=self.proposal,
        )

    def row(self, baseline: Recipe, proposer: str) -> dict[str, Any]:
        """The columns of the view `trials`; `proposer` is the name of the search's."""
        proposal, end = self.proposal, self.end
        row: dict[str, Any] = {
            "trial_id": self.trial_id,
            "slug": proposal.slug,
            "exchange": proposal.exchange,
            "proposer": "placebo" if proposal.placebo else proposal.proposer or proposer,
            "title": proposal.title,
            "hypothesis": proposal.hypothesis,
            "source": proposal.source,
            "category": proposal.category,
            "placebo": proposal.placebo,
            "status": self.status,
            "reason": self.reason,
            "patch": self._patch(baseline),
            "knobs": dict(proposal.edit.knobs),
            "scale_rule": proposal.scale_rule,
            "expected_scaling": proposal.expected_scaling,
            "expected_effect": proposal.expected_effect,
            "repairs": len(self.repaired),
            "cost_usd": proposal.cost_usd,
            "seconds": self.seconds,
        }
        if self.recipe is not None:
            row["recipe_hash"] = self.recipe.hash
        if self.look is not None:
            row["pairs"] = self.look.n
        if end is not None:
            row |= {
                "effect": end.effect,
                "effect_low": end.effect_low,
                "effect_high": end.effect_high,
                "z": end.z,
                "p_value": end.p_value,
                "q_value": end.q_value,
            }
        return row

    def _patch(self, baseline: Recipe) -> str:
        """The whole edit: as a patch, or as it was proposed where it does not apply."""
        recipe = self.recipe or (self.twin.recipe if self.twin is not None else None)
        return self.proposal.edit.written if recipe is None else unified_diff(baseline, recipe)


_SO_FAR: dict[keep.Decision, TrialStatus] = {
    "keep": "kept",
    "futile": "dropped",
    "more": "unresolved",
    "unresolved": "unresolved",
}
