"""Sizes of recipes that inmates counted, kept apart from those that were counted without a sandbox."""

from __future__ import annotations

from data.study import Study
from data.tokens import TokenSet
from scaling.runs import RunSpec
from scaling.shape import Shape, keep_shape, read_shape, shape_file


class Sizes:
    """A recipe's sizes at a rung and horizon: a file, once they were counted."""

    def __init__(self, study: Study, spec: RunSpec, tokens: TokenSet) -> None:
        """Look in the study's folder of sizes."""
        counted = shape_file(study.shapes, spec.recipe_hash, (spec.rung, spec.base), tokens.vocab_size)
        self._path = counted.with_suffix(".told.json")

    def read(self) -> Shape | None:
        """What is known, or None."""
        return read_shape(self._path)

    def keep(self, size: Shape) -> Shape:
        """Keep it for the next run, and give it back."""
        return keep_shape(self._path, size)
