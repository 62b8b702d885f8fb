"""The study: one folder that holds settings, recipes, tokens, spool, store and reports."""

import os
import tomllib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tomli_w

from data.errors import InputError
from data.locks import exclusive, refused, write_aside
from data.schema import SCHEMA_VERSION
from data.spool import SpoolWriter, new_attempt

_VERSION_KEY = "schema_version"
OF_A_LOG = "import"
"""The setting that marks a study as another tool's log."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study folder, its settings as they stood when it was opened."""

    path: Path
    settings: dict[str, Any]

    @classmethod
    def create(cls, path: Path | str, settings: dict[str, Any], recipe: str | None = None) -> Self:
        """Make a study folder; `settings` go to `study.toml`, entries that are None left out.

        `recipe` is the source of a baseline of the study's own; without one the packaged recipe serves.

        The settings file is written last: a folder without one is no study yet, and creating it again goes through.
        Raises InputError when a study is there already, the folder cannot be written, or a setting does not fit TOML.
        """
        study = cls(Path(path), _without_none(settings))
        if study.settings_file.exists():
            raise InputError(f"There is a study at {path} already; open that one or give another folder.")
        try:
            text = tomli_w.dumps({_VERSION_KEY: SCHEMA_VERSION, **study.settings})
        except TypeError as error:
            raise InputError(f"A setting cannot be written to study.toml: {error}.") from None
        try:
            for folder in (study.recipes, study.tokens, study.runs, study.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
            if recipe is not None:
                write_aside(study.recipe, recipe.encode())
            write_aside(study.settings_file, text.encode())
        except OSError as error:
            raise InputError(
                f"Cannot make a study at {path}: {error.strerror}; give a folder that you may write."
            ) from None
        return study

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a study; raises InputError that says why the folder is none, or cannot be used."""
        folder = Path(path)
        if not folder.is_dir():
            raise InputError(f"There is no study at {path}; make one with `scaleproof init`.")
        try:
            settings = tomllib.loads((folder / "study.toml").read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(
                f"{path} is not a study: it holds no study.toml; make one with `scaleproof init`."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{folder / 'study.toml'} is not valid TOML: {error}.") from None
        except OSError as error:
            raise InputError(f"Cannot read {folder / 'study.toml'}: {error.strerror}.") from None
        version = settings.pop(_VERSION_KEY, SCHEMA_VERSION)
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise InputError(
                f"{path} was made by a newer scaleproof (its schema is {version}, this one reads {SCHEMA_VERSION});"
                " upgrade scaleproof."
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InputError(f"The study at {path} cannot be written; change its permissions or copy it.")
        return cls(folder, settings)

    def require_runs_of_its_own(self) -> None:
        """Raise InputError for a study that holds another tool's log, which has no ladder to run on."""
        if OF_A_LOG in self.settings:
            raise InputError(
                f"{self.path} holds an imported log and no ladder; make a study with `scaleproof init` to run one."
            )

    @property
    def settings_file(self) -> Path:
        """What the user set."""
        return self.path / "study.toml"

    @property
    def recipe(self) -> Path:
        """The baseline, where the study has one of its own."""
        return self.path / "recipe.py"

    @property
    def recipes(self) -> Path:
        """Every recipe that was run, as `<recipe hash>.py`."""
        return self.path / "recipes"

    @property
    def shapes(self) -> Path:
        """Sizes of recipes at rungs, once counted."""
        return self.recipes / "shapes"

    @property
    def tokens(self) -> Path:
        """Memory-mapped token shards and their manifest."""
        return self.path / "tokens"

    @property
    def spool(self) -> Path:
        """What runs leave behind."""
        return self.path / "spool"

    @property
    def runs(self) -> Path:
        """Spool files of single runs."""
        return self.spool / "runs"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of runs that have not ended."""
        return self.path / "checkpoints"

    @property
    def database(self) -> Path:
        """The store; can be rebuilt from the spool."""
        return self.path / "study.duckdb"

    @property
    def report_html(self) -> Path:
        """The report, to look at."""
        return self.path / "report.html"

    @property
    def report_md(self) -> Path:
        """The report, to read."""
        return self.path / "report.md"

    @property
    def report_is_current(self) -> bool:
        """Whether the report was written after the store's last change, so that it need not be drawn again."""
        if not (self.report_html.is_file() and self.report_md.is_file() and self.database.is_file()):
            return False
        return self.report_html.stat().st_mtime_ns > self.database.stat().st_mtime_ns

    def lock(self) -> AbstractContextManager[None]:
        """Keep other working commands off this study; raises ScaleproofError that names the process holding it."""
        busy = f"Another command (process {{pid}}) is at work on {self.path}; wait for it or end it, then run again."
        return exclusive(self.path / ".lock", 0.0, busy)

    def writer(self) -> SpoolWriter:
        """A writer for what the driving command itself records, in the next `spool/study.<n>.jsonl`."""
        return SpoolWriter(new_attempt(self.spool, "study")[1])

    def run_writer(self, run_id: str) -> tuple[int, SpoolWriter]:
        """The next attempt's number for a run, and a writer for `spool/runs/<run_id>.<attempt>.jsonl`."""
        attempt, path = new_attempt(self.spool, f"runs/{run_id}")
        return attempt, SpoolWriter(path)

    def save_recipe(self, recipe_hash: str, source: str) -> Path:
        """Keep a recipe's source under its hash; does nothing when it is kept already."""
        path = self.recipes / f"{recipe_hash}.py"
        if not path.exists():
            try:
                write_aside(path, source.encode())
            except OSError as error:
                raise refused(f"keep the recipe {path}", error) from None
        return path


def _without_none(value: Any) -> Any:  # noqa: ANN401 (settings are whatever TOML holds)
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_without_none(part) for part in value]
    return value
