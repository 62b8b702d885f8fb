"""The settings of the researcher, as read from a study's settings file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from data.setting_tables import read_table

Effort = Literal["low", "medium", "high", "xhigh", "max"]
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Efforts = Annotated[tuple[Effort, ...], Field(strict=False, min_length=1)]


class QueryLimits(BaseModel):
    """What one question in SQL may take: seconds, rows and characters shown, and megabytes beside the copied rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    seconds: PositiveFloat = 5.0
    rows: PositiveInt = 50
    characters: int = Field(default=8_000, ge=200)
    megabytes: int = Field(default=256, ge=32)


class ClaudeSettings(BaseModel):
    """Whom to ask, how often and how much.

    models: asked in this order, a later one where an earlier one refuses. efforts: taken in turn, one an exchange.
    proposals_per_request: edits asked for at a time. turns: answers of one exchange at most, questions included.
    history_characters: the most that the account of earlier trials may take in a request. base_url: another address of
    the service. prices: a file of prices over the packaged one. batch: cheaper requests whose answers may take hours.
    requests_per_batch: how many exchanges go out together then. brief: a file with the user's own words. Paths are
    taken from the study's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    models: Names = ("claude-opus-5-5", "claude-sonnet-5-5")
    efforts: Efforts = ("medium", "high")
    proposals_per_request: PositiveInt = 6
    max_tokens: int = Field(default=32_000, ge=1_000)
    turns: PositiveInt = 8
    history_characters: int = Field(default=24_000, ge=2_000)
    query: QueryLimits = QueryLimits()
    base_url: str | None = None
    prices: str | None = None
    max_usd: float | None = Field(default=None, gt=0)
    batch: bool = False
    requests_per_batch: PositiveInt = 4
    brief: str | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [claude] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("claude", cls, values)
