"""Knobs: the named numbers of a recipe, each with the rule by which it follows scale."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from data.errors import InputError

_TERM = re.compile(r"^(width|depth|tokens|batch)\^(-?\d+(?:\.\d+)?)$")


class Scale(Protocol):
    """The sizes that a scale rule may use."""

    @property
    def width(self) -> int:
        """Model width."""

    @property
    def depth(self) -> int:
        """Number of blocks."""

    @property
    def tokens(self) -> int:
        """Tokens of the horizon."""

    @property
    def batch_tokens(self) -> int:
        """Tokens per optimiser step."""


@dataclass(frozen=True, slots=True)
class Knob:
    """A number tuned at rung 0 and its scale rule.

    `rule` is `constant` or a product of powers such as `width^-1 * tokens^0.38`; the factor is taken of the rung's size
    relative to rung 0, where every knob has exactly its `value`. `low` and `high` bound what a tuner may try.
    """

    value: float
    rule: str = "constant"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        """Raise `InputError` when the rule cannot be read."""
        _exponents(self.rule)

    def at(self, value: float) -> Knob:
        """Give the same knob another value at rung 0."""
        return replace(self, value=value)

    def resolve(self, scale: Scale, base: Scale) -> float:
        """Value at `scale`, rung 0 being `base`."""
        value = float(self.value)
        for name, exponent in _exponents(self.rule).items():
            value *= (_size(scale, name) / _size(base, name)) ** exponent
        return value


def resolve(knobs: Mapping[str, Knob], scale: Scale, base: Scale) -> dict[str, float]:
    """Values of all knobs at `scale`, rung 0 being `base`."""
    return {name: knob.resolve(scale, base) for name, knob in knobs.items()}


def _exponents(rule: str) -> dict[str, float]:
    if rule == "constant":
        return {}
    exponents: dict[str, float] = {}
    for term in rule.split("*"):
        match = _TERM.match(term.strip())
        if match is None:
            raise InputError(
                f"The scale rule {rule!r} cannot be read; write 'constant' or a product like 'width^-1 * tokens^0.38'."
            )
        exponents[match[1]] = exponents.get(match[1], 0.0) + float(match[2])
    return exponents


def _size(scale: Scale, name: str) -> int:
    return {"width": scale.width, "depth": scale.depth, "tokens": scale.tokens, "batch": scale.batch_tokens}[name]
