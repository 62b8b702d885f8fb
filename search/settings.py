"""The settings of a search, as read from a study's settings file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from data.errors import InputError
from search.keep import LOOKS


class SearchSettings(BaseModel):
    """What to try on rung 0, and how carefully.

    trials counts placebos too, one in placebo_every. categories and only narrow the catalogue, by category and by slug.
    confirm_looks may leave looks out, but the limits are those of 2, 4 and 8 pairs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proposer: Literal["catalogue", "optuna"] = "catalogue"
    trials: int = Field(ge=1)
    calibration_seeds: int = Field(default=8, ge=4)
    confirm_looks: Annotated[tuple[int, ...], Field(strict=False)] = LOOKS
    placebo_every: int = Field(default=20, ge=2)
    categories: list[str] | None = None
    only: list[str] | None = None
    seed: int = Field(default=0, ge=0)

    @field_validator("confirm_looks")
    @classmethod
    def _known_looks(cls, looks: tuple[int, ...]) -> tuple[int, ...]:
        if not looks or any(n not in LOOKS for n in looks) or list(looks) != sorted(set(looks)):
            raise ValueError("takes 2, 4 and 8 in rising order, each at most once")
        return looks

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [search] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = "; ".join(_problem(one["loc"], one["type"], one["msg"], cls) for one in error.errors())
            raise InputError(f"[search] in the settings is wrong: {problems}.") from error


def _problem(where: tuple[int | str, ...], kind: str, message: str, settings: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        near = get_close_matches(key, settings.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(settings.model_fields)}"
        return f"'{key}' is not a setting ({hint})"
    if kind == "missing":
        return f"'{key}' is missing"
    return f"'{key}': {message.removeprefix('Value error, ')}"
