"""How the catalogue writes its edits: lines put after, before or instead of lines of the baseline recipe.

Where two edits could touch, they are put on different sides of a line that neither changes, so that git's three-way
merge can lay one on the other. True alternatives share a place on purpose, and conflict.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Self

from scaling.edits import Edit, Replacement

FUNCTION = 8  # spaces before a statement of a method
MODULE = 0


def edit(*replacements: Replacement, **knobs: float) -> Edit:
    """An edit of replacements, knob values, or both."""
    return Edit(replacements, knobs)


def after(anchor: str, code: str, indent: int = FUNCTION) -> Replacement:
    """Put `code`, indented by `indent` spaces, on the lines after `anchor`, which must end its line."""
    return Replacement(anchor, f"{anchor}\n{_indented(code, indent)}")


def before(anchor: str, code: str, indent: int = FUNCTION) -> Replacement:
    """Put `code`, indented by `indent` spaces, on the lines before `anchor`, which must begin its line."""
    return Replacement(anchor, f"{_indented(code, indent).lstrip(' ')}\n{' ' * indent}{anchor}")


def instead(anchor: str, code: str) -> Replacement:
    """Put `code` in the place of `anchor`; its lines after the first bring their own indentation."""
    return Replacement(anchor, code)


def define(anchor: str, code: str) -> Replacement:
    """Put a class or a function of the module before the definition that begins with `anchor`."""
    return Replacement(anchor, f"{_indented(code, MODULE)}\n\n\n{anchor}")


@dataclass(frozen=True, slots=True)
class RelativeEdit(Edit):
    """An edit that changes one knob by a factor of the baseline's value, which a study may have set.

    `memory`: the factor is of 1 / (1 - value), the steps that an average with this decay remembers.
    """

    knob: str = ""
    factor: float = 1.0
    memory: bool = False

    @classmethod
    def of(cls, knob: str, factor: float, value: float, *, memory: bool) -> Self:
        """The edit of a baseline whose knob has this value."""
        changed = 1 - (1 - value) / factor if memory else value * factor
        return cls((), {knob: float(f"{changed:.6g}")}, knob, factor, memory)

    def at(self, values: Mapping[str, float]) -> Edit:
        """The same change of a baseline whose knobs have these values; unchanged where it has no such knob."""
        if self.knob not in values:
            return self
        return RelativeEdit.of(self.knob, self.factor, values[self.knob], memory=self.memory)


def times(knob: str, factor: float) -> Edit:
    """An edit that multiplies the value of one of the baseline's knobs."""
    return RelativeEdit.of(knob, factor, _baseline()[knob], memory=False)


def lengthen(knob: str, factor: float) -> Edit:
    """An edit that multiplies the memory, 1 / (1 - beta) steps, of one of the baseline's averages."""
    return RelativeEdit.of(knob, factor, _baseline()[knob], memory=True)


@functools.cache
def _baseline() -> dict[str, float]:
    """The baseline's knob values, read from its source: to import it would import torch."""
    source = resources.files("scaling").joinpath("recipe.py").read_text(encoding="utf-8")
    return {name: float(value) for name, value in re.findall(r'^    "(\w+)": Knob\(([-+.\de]+)', source, re.MULTILINE)}


def _indented(code: str, indent: int) -> str:
    return textwrap.indent(textwrap.dedent(code).strip("\n"), " " * indent)
