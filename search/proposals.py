"""What a proposer proposes, and what it is told afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from scaling.edits import Edit

ExpectedScaling = Literal["constant", "shrinks", "small only", "harmful", "unknown"]
TrialStatus = Literal["kept", "dropped", "unresolved", "crashed", "rejected", "refused"]

_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One edit to be tried on rung 0, and why.

    slug names it for ever: lower-case words and digits joined by hyphens. scale_rule says in words or as a rule how the
    edit follows scale; expected_scaling what its proposer expects of it up the ladder, to be held against the verdict.
    placebo: changes nothing but the random stream. cost_usd: what it cost to propose.
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

    def __post_init__(self) -> None:
        """Raise ValueError for a slug or an expected scaling that no reader would understand."""
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"the slug {self.slug!r} is not lower-case words and digits joined by hyphens")
        if self.expected_scaling not in get_args(ExpectedScaling):
            raise ValueError(f"{self.slug}: expected_scaling {self.expected_scaling!r} is not one of the known words")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a proposal ended on rung 0, in nats per token, positive better.

    screen_difference is that of its one screening pair; effect and its 90 % interval are there once it was confirmed.
    """

    slug: str
    status: TrialStatus
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    screen_difference: float | None = None


class Proposer(Protocol):
    """Where proposals come from."""

    @property
    def name(self) -> str:
        """The name that trials carry in the store."""

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        """Give up to count proposals that the history does not hold yet; an empty list means exhausted.

        A pure function of the history, whoever's outcomes stand in it: asked again with the same history, it gives the
        same proposals, so that a search that was cut off goes on where it stood.
        """
