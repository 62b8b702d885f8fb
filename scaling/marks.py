"""Marks of finished work, so that a second call does nothing; reading one needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from data.store import Store
from data.study import Study
from scaling.edits import Recipe


def mark(study: Study, recipe: Recipe, tables: Mapping[str, Any]) -> str:
    """What decides what a command yields: its settings, the study's ladder, corpus and limits, the baseline."""
    parts = [*(study.settings.get(name) for name in ("ladder", "corpus", "sandbox")), recipe.hash, dict(tables)]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()


def is_done(study: Study, name: str, wanted: str) -> bool:
    """Whether the study holds the mark `wanted` under `name`."""
    return study.database.exists() and Store(study.path).fact(name) == wanted
