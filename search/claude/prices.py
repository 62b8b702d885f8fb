"""What tokens cost: a dated table, which a file of the user's may add to."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.errors import InputError

_DATED = re.compile(r"(-\d{8}|-latest|@\w+)")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request: input read neither from the cache nor written to it, and the rest."""

    input: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        """All input tokens."""
        return self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h


class _Rates(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    cache_write_5m: float = Field(ge=0)
    cache_write_1h: float = Field(ge=0)
    cache_read: float = Field(ge=0)
    output: float = Field(ge=0)


class _LongPrompt(_Rates):
    above_tokens: int = Field(ge=1)


class Price(_Rates):
    """US dollars per million tokens of one model, and those of its long prompts where they differ."""

    long_prompt: _LongPrompt | None = None

    def cost(self, usage: Usage) -> float:
        """US dollars for one request."""
        rates = self._rates(usage.prompt)
        dollars = (
            usage.input * rates.input
            + usage.cache_read * rates.cache_read
            + usage.cache_write_5m * rates.cache_write_5m
            + usage.cache_write_1h * rates.cache_write_1h
            + usage.output * rates.output
        )
        return dollars / 1e6

    def most(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars that a request of at most so many tokens can cost, whatever the cache does."""
        rates = self._rates(input_tokens)
        dearest = max(rates.input, rates.cache_write_5m, rates.cache_write_1h, rates.cache_read)
        return (input_tokens * dearest + output_tokens * rates.output) / 1e6

    def _rates(self, prompt_tokens: int) -> _Rates:
        long = self.long_prompt
        return long if long is not None and prompt_tokens > long.above_tokens else self


class Prices(BaseModel):
    """The prices of every known model. batch_factor: the part of them that a request in a batch costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: date
    source: str
    batch_factor: float = Field(default=0.5, gt=0, le=1)
    models: dict[str, Price]

    @classmethod
    def read(cls, file: Path | str | None = None, *, folder: Path | None = None) -> Self:
        """The packaged table, with the entries of a file of the same shape in the place of its own.

        folder: where a relative path begins, None for the current one. Raises InputError that says what is wrong with
        the file.
        """
        packaged = tomllib.loads(resources.files("search.claude").joinpath("prices.toml").read_text("utf-8"))
        if file is None:
            return cls.model_validate(packaged)
        file = (folder or Path()) / file
        own = _own_table(file)
        try:
            cls.model_validate(own)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].lower()}" for one in error.errors())
            raise InputError(f"{file} is no table of prices: {told}.") from None
        return cls.model_validate({**packaged, **own, "models": {**packaged["models"], **own["models"]}})

    def of(self, model: str) -> Price:
        """The price of a model; raises InputError that says how to give one that is not known."""
        known = self.find(model)
        if known is None:
            raise InputError(
                f"The price of {model} is not known (table of {self.as_of}); take {', '.join(sorted(self.models))}, or"
                f" give a file of prices with [models.{model!r}] and its input, cache_write_5m, cache_write_1h,"
                " cache_read and output in dollars per million tokens."
            )
        return known

    def find(self, model: str) -> Price | None:
        """The price of a model, or None: by its name, its name without a date, or the longest beginning with a star."""
        for name in (model, _DATED.split(model)[0]):
            if name in self.models:
                return self.models[name]
        families = [name for name in self.models if name.endswith("*") and model.startswith(name[:-1])]
        return self.models[max(families, key=len)] if families else None


def _own_table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the prices in {file}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The prices in {file} are not valid TOML: {error}.") from None
