"""What a proposer proposes, and what it is told afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from data.errors import ScaleproofError
from scaling.edits import Edit

ExpectedScaling = Literal["constant", "shrinks", "small only", "harmful", "unknown"]
TrialStatus = Literal["kept", "dropped", "unresolved", "crashed", "rejected", "refused"]

BATCH = 16
"""Proposals asked for at a time where they cost nothing."""

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit to be tried on rung 0, and why.

    slug names it for ever: lower-case words and digits joined by hyphens. scale_rule says in words or as a rule how the
    edit follows scale; expected_scaling what its proposer expects of it up the ladder, to be held against the verdict.
    placebo: changes nothing but the random stream. cost_usd: what it cost to propose. expected_effect: what its
    proposer expects it to take off the finished loss on rung 0, nats per token. proposer: who made it, where that is
    not the search's own proposer. exchange: the conversation with a model that it came from.
    """

    title: str
    slug: str
    hypothesis: str
    category: str
    source: str
    scale_rule: str
    expected_scaling: ExpectedScaling
    edit: Edit
    placebo: bool = False
    cost_usd: float = 0.0
    expected_effect: float | None = None
    proposer: str | None = None
    exchange: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a slug or an expected scaling that no reader would understand."""
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"the slug {self.slug!r} is not lower-case words and digits joined by hyphens")
        if self.expected_scaling not in get_args(ExpectedScaling):
            raise ValueError(f"{self.slug}: expected_scaling {self.expected_scaling!r} is not one of the known words")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a proposal ended on rung 0, in nats per token, positive better.

    screen_difference is that of its one screening pair; effect and its 90 % interval are there once several pairs have
    confirmed it, since nobody who proposes may learn what a single confirmation run gave.
    ended: whether nothing more will be run for it in this search. seconds: what its runs took. The proposal is there
    for proposers that read what others tried.
    """

    slug: str
    status: TrialStatus
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    screen_difference: float | None = None
    ended: bool = True
    reason: str = ""
    seconds: float = 0.0
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a proposal could not be tried: it does not apply, or is refused before its run, or its run crashed.

    kind: what failed. reason: one sentence for the proposer, capped, with a quoted tail of the traceback for a crash.
    """

    kind: Literal["edit", "preflight", "crash"]
    reason: str


class ProposerGoneError(ScaleproofError):
    """Nobody proposes any more for now; what was begun can be finished, and the same command goes on later."""


class Proposer(Protocol):
    """Where proposals come from."""

    @property
    def name(self) -> str:
        """The name that trials carry in the store."""

    @property
    def batch(self) -> int:
        """The most proposals to ask for at a time; the same on any machine, since a resumed search asks alike."""

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal] | None:
        """Give up to count proposals that the history does not hold yet; an empty list means exhausted.

        None says: not before more of the history has ended. Asked again from the start, as a resumed search does, it
        gives the same lists again, whether from a record of what it gave or since they follow from the history alone.
        It may take its time: the search asks in a thread of its own. Raises ProposerGoneError.
        """

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        """A proposal in the place of one that could not be tried, of the same slug, or None to leave it.

        Asked again for the same proposal and failure kind, it gives the same answer. One that brings nothing but cost
        something is answered with the proposal as it was, at its cost so far. Asked in a thread of its own, beside
        that of `propose`. Raises ProposerGoneError.
        """
