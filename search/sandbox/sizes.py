"""Sizes of recipes that inmates counted, kept apart from those that were counted without a sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict

from data.locks import write_aside
from data.study import Study
from data.tokens import TokenSet
from scaling.runs import RunSpec
from scaling.shape import Shape


class Sizes:
    """A recipe's sizes at a rung and horizon: a file, once they were counted."""

    def __init__(self, study: Study, spec: RunSpec, tokens: TokenSet) -> None:
        """Look in the study's folder of sizes."""
        rungs = [one.model_dump(exclude={"name"}) for one in (spec.rung, spec.base)]
        parts = json.dumps([rungs, tokens.vocab_size], sort_keys=True).encode()
        key = hashlib.blake2b(parts, digest_size=8).hexdigest()
        self._path = study.shapes / f"{spec.recipe_hash}-{key}.told.json"

    def read(self) -> Shape | None:
        """What is known, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError):  # not there, or torn by a power cut
            return Shape(**json.loads(self._path.read_text(encoding="utf-8")))
        return None

    def keep(self, size: Shape) -> Shape:
        """Keep it for the next run, and give it back."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(self._path, json.dumps(asdict(size)).encode())
        return size
