"""A study's settings: a preset, and what the user says otherwise."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from data.study import Study
from data.tokens import CorpusSettings
from scaling.ladder import PRESETS, load_ladder, parse_ladder
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
    TransferSettings.read(settings.get("transfer", {}))


def create_study(path: Path, preset: str, *, ladder: str | None = None, corpus: dict[str, Any] | None = None) -> Study:
    """Make a study folder with the settings of a preset; see `study_settings`."""
    return Study.create(path, study_settings(preset, ladder=ladder, corpus=corpus))
