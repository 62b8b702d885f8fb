"""Rungs and ladders: the scales at which a recipe is run, as presets and as TOML."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from data.errors import InputError

PRESETS = ("demo", "cpu", "h100", "h100x8")


class Rung(BaseModel):
    """One scale. `tokens` is the horizon T, `batch_size` counts sequences of `context` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    depth: PositiveInt
    width: PositiveInt
    context: PositiveInt
    batch_size: PositiveInt
    tokens: PositiveInt
    devices: PositiveInt = 1

    @property
    def batch_tokens(self) -> int:
        """Tokens per optimiser step."""
        return self.batch_size * self.context

    @property
    def steps(self) -> int:
        """Optimiser steps of the horizon, at least one."""
        return max(1, round(self.tokens / self.batch_tokens))

    def at_horizon(self, tokens: int) -> Rung:
        """Return the same rung scheduled for other `tokens`."""
        return self.model_copy(update={"tokens": tokens})

    @model_validator(mode="after")
    def _batch_divides(self) -> Rung:
        if self.batch_size % self.devices:
            raise ValueError(
                f"rung {self.name!r}: batch_size {self.batch_size} is no multiple of devices {self.devices}"
            )
        return self


class Ladder(BaseModel):
    """Rungs in rising order; rung 0 is the tiny proxy and `target` the scale of the forecast, which is not run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    rungs: tuple[Rung, ...] = Field(min_length=2)
    target: Rung
    accelerator: Literal["cpu", "gpu"] = "cpu"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    evaluation_sequences: PositiveInt = 64
    checkpoint_seconds: float = Field(default=30.0, ge=0)

    @model_validator(mode="after")
    def _rising(self) -> Ladder:
        sizes = [rung.depth * rung.width**2 for rung in (*self.rungs, self.target)]
        if any(after <= before for before, after in itertools.pairwise(sizes)):
            raise ValueError("the rungs, and the target after them, must rise in depth x width^2")
        names = [rung.name for rung in self.rungs]
        if len(set(names)) < len(names):
            raise ValueError("two rungs have the same name")
        return self

    @property
    def base(self) -> Rung:
        """Rung 0, where every knob has its own value."""
        return self.rungs[0]

    @property
    def top(self) -> Rung:
        """The largest rung that is run."""
        return self.rungs[-1]


def parse_ladder(settings: Mapping[str, Any]) -> Ladder:
    """Check a ladder's settings.

    Raises:
        InputError: naming the first setting that is wrong.
    """
    try:
        return Ladder.model_validate(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "ladder"
        raise InputError(f"The ladder is not valid at {where}: {first['msg']}.") from error


def load_ladder(name_or_path: str) -> Ladder:
    """Load a preset by name, or a ladder from a TOML file.

    Raises:
        InputError: for an unknown preset, or a file that cannot be read as a ladder.
    """
    if name_or_path in PRESETS:
        text = resources.files("scaling").joinpath("presets", f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_ladder(tomllib.loads(text))
    path = Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"There is no ladder {name_or_path!r}; use one of {', '.join(PRESETS)}, or the path of a TOML file."
        )
    try:
        return parse_ladder(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The ladder {path} is not valid TOML: {error}.") from error
