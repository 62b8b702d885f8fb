"""The settings of a search, as read from a study's settings file."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from data.errors import InputError
from search.keep import LOOKS


def _known_looks(looks: tuple[int, ...]) -> tuple[int, ...]:
    if not looks or any(n not in LOOKS for n in looks) or list(looks) != sorted(set(looks)):
        raise ValueError("takes 1, 2, 4, 8 and 12 in rising order, each at most once")
    return looks


Looks = Annotated[tuple[int, ...], Field(strict=False), AfterValidator(_known_looks)]
Settings = TypeVar("Settings", bound=BaseModel)


class SearchSettings(BaseModel):
    """What to try on rung 0, and how carefully.

    trials counts placebos too, one in placebo_every. categories and only narrow the catalogue, by category and by slug.
    confirm_looks may leave looks out; the limits at the others stay as they are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    proposer: Literal["catalogue", "optuna"] = "catalogue"
    trials: int = Field(ge=1)
    calibration_seeds: int = Field(default=8, ge=4)
    confirm_looks: Looks = LOOKS
    placebo_every: int = Field(default=20, ge=2)
    categories: list[str] | None = None
    only: list[str] | None = None
    seed: int = Field(default=0, ge=0)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [search] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("search", cls, values)


def read_table(name: str, settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Check the table `name` of a settings file.

    Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
    """
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_problem(one["loc"], one["type"], one["msg"], settings) for one in error.errors())
        raise InputError(f"[{name}] in the settings is wrong: {problems}.") from error


def _problem(where: tuple[int | str, ...], kind: str, message: str, settings: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        near = get_close_matches(key, settings.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(settings.model_fields)}"
        return f"'{key}' is not a setting ({hint})"
    if kind == "missing":
        return f"'{key}' is missing"
    return f"'{key}': {message.removeprefix('Value error, ')}"
