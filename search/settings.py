"""The settings of a search, as read from a study's settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from data.setting_tables import read_table
from search.keep import LOOKS
from search.mixed import USD_PER_HOUR


def _known_looks(looks: tuple[int, ...]) -> tuple[int, ...]:
    if not looks or any(n not in LOOKS for n in looks) or list(looks) != sorted(set(looks)):
        raise ValueError("takes 1, 2, 4, 8 and 12 in rising order, each at most once")
    return looks


Looks = Annotated[tuple[int, ...], Field(strict=False), AfterValidator(_known_looks)]


ProposerName = Literal["catalogue", "optuna", "claude", "mixed"]
"""Mixed shares the trials between the other three by what they are worth."""


class SearchSettings(BaseModel):
    """What to try on rung 0, and how carefully.

    trials counts placebos too, one in placebo_every. categories and only narrow the catalogue, by category and by slug.
    confirm_looks may leave looks out; the limits at the others stay as they are. hours: after so much working time no
    more is proposed, and what was begun is ended. usd_per_hour: what an hour of runs costs; it weighs mixed proposers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proposer: ProposerName = "catalogue"
    trials: int = Field(ge=1)
    hours: float | None = Field(default=None, gt=0, strict=False)
    usd_per_hour: float = Field(default=USD_PER_HOUR, ge=0, strict=False)
    calibration_seeds: int = Field(default=8, ge=4)
    confirm_looks: Looks = LOOKS
    placebo_every: int = Field(default=20, ge=2)
    categories: list[str] | None = None
    only: list[str] | None = None
    seed: int = Field(default=0, ge=0)

    @property
    def asks_claude(self) -> bool:
        """Whether a model writes edits, which are run in the sandbox."""
        return self.proposer in ("claude", "mixed")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [search] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("search", cls, values)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a command says over the study's settings; None leaves a setting as it stands there."""

    trials: int | None = None
    proposer: str | None = None
    hours: float | None = None
    model: str | None = None
    max_usd: float | None = None
    brief: str | None = None
    batch: bool | None = None

    @property
    def search(self) -> dict[str, Any]:
        """Values for the [search] table."""
        return {"trials": self.trials, "proposer": self.proposer, "hours": self.hours}

    @property
    def claude(self) -> dict[str, Any]:
        """Values for the [claude] table; a model that is named is the only one asked."""
        models = None if self.model is None else [self.model]
        return {"models": models, "max_usd": self.max_usd, "brief": self.brief, "batch": self.batch}
