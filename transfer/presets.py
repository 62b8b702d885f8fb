"""A study's settings: a preset, and what the user says otherwise."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from data.corpus import documents
from data.encoding import ByteEncoding
from data.study import Study
from data.tokens import CorpusSettings
from scaling.lab import knob_values, read_recipe_file
from scaling.ladder import PRESETS, load_ladder, parse_ladder
from search.claude.settings import ClaudeSettings
from search.sandbox.limits import SandboxSettings
from search.settings import SearchSettings
from transfer.settings import TransferSettings


def study_settings(preset: str, *, ladder: str | None = None, corpus: dict[str, Any] | None = None) -> dict[str, Any]:
    """Settings for `Study.create`: the preset's, with another ladder (preset or TOML file) or other corpus settings.

    Raises:
        InputError: for an unknown preset or ladder, and for settings that are not valid.
    """
    chosen = load_ladder(ladder or preset)
    name = preset if preset in PRESETS else "cpu"
    text = resources.files("transfer").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    settings: dict[str, Any] = tomllib.loads(text)
    settings["corpus"] |= corpus or {}
    settings["ladder"] = chosen.model_dump(mode="json")
    check_settings(settings)
    return settings


def check_settings(settings: dict[str, Any]) -> None:
    """Raise `InputError` when any table of a study's settings is not valid."""
    parse_ladder(settings.get("ladder", {}))
    CorpusSettings.read(settings.get("corpus", {}))
    SearchSettings.read(settings.get("search", {}))
    ClaudeSettings.read(settings.get("claude", {}))
    SandboxSettings.read(settings.get("sandbox", {}))
    TransferSettings.read(settings.get("transfer", {}))
    knob_values(settings.get("knobs", {}))


def create_study(
    path: Path,
    preset: str,
    *,
    ladder: str | None = None,
    corpus: dict[str, Any] | None = None,
    recipe: Path | None = None,
) -> Study:
    """Make a study folder with the settings of a preset, and a baseline of its own where `recipe` names a file.

    Raises:
        InputError: as `study_settings` does, for a corpus that is not there, and for a recipe that breaks its contract.
    """
    settings = study_settings(preset, ladder=ladder, corpus=_found(corpus or {}))
    if recipe is None:
        return Study.create(path, settings)
    from search.baseline import check_baseline  # needs torch

    baseline = read_recipe_file(recipe)
    check_baseline(baseline, parse_ladder(settings["ladder"]), vocabulary(CorpusSettings.read(settings["corpus"])))
    return Study.create(path, settings, baseline.text)


def vocabulary(corpus: CorpusSettings) -> int:
    """The number of ids that a corpus will have, at most."""
    return ByteEncoding.vocab_size if corpus.tokenizer == "bytes" else corpus.vocab_size


def _found(corpus: dict[str, Any]) -> dict[str, Any]:
    """The settings with the corpus where it really is, so that the study works from any folder."""
    source = corpus.get("source")
    if source is None or source == "python":
        return corpus
    next(documents(source))  # it raises for a corpus that is missing, empty, or not text
    return {**corpus, "source": str(Path(source).resolve())}
