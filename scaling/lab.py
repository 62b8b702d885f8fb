"""All that a search or a promotion works with: the study, its runs, and where results go."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from rich.console import Console

from data.compact import compact
from data.errors import InputError
from data.spool import SpoolWriter
from data.store import Store
from data.study import Study
from data.tokens import CorpusSettings, TokenSet, prepare, require_size
from scaling.edits import Recipe
from scaling.executor import TRUSTED_WORKER, LocalExecutor
from scaling.ladder import Ladder, parse_ladder
from scaling.launcher import Launcher
from scaling.progress import RichProgress
from scaling.runs import ENDED, RunSpec, Setting, TimingSpec
from scaling.stopping import Stopping, heed_signals

PATIENCE_SECONDS = 600.0
"""A slow query of a user must not end a long search."""
COMPACT_FROM_FILES = 200
PACKAGES = ("scaleproof", "torch", "lightning", "duckdb", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class Lab:
    """A study that is being worked on; made by `open_lab`."""

    study: Study
    setting: Setting
    store: Store
    launcher: Launcher
    writer: SpoolWriter
    progress: RichProgress
    vocab_size: int

    @property
    def stopping(self) -> Stopping:
        """Whether the user asked to stop, and what wakes whoever waits for a run."""
        return self.launcher.stopping

    def keep_recipe(self, recipe: Recipe) -> str:
        """Write the recipe where runs find it; returns its hash."""
        self.study.save_recipe(recipe.hash, recipe.text)
        return recipe.hash

    def spec(
        self,
        recipe: Recipe,
        rung: int,
        seed: int,
        *,
        shard: str,
        arm: str,
        purpose: str,
        finding_id: str | None = None,
        horizon: int | None = None,
        preflight: bool = False,
    ) -> RunSpec:
        """Describe a run, at the rung's own horizon unless another is given; see `RunSpec`."""
        return RunSpec(
            self.setting,
            self.keep_recipe(recipe),
            rung,
            horizon or self.setting.ladder.rungs[rung].tokens,
            seed,
            shard,
            arm,
            purpose,
            finding_id,
            preflight,
        )

    def timing(
        self,
        recipe: Recipe,
        baseline: Recipe,
        rung: int,
        seed: int,
        *,
        arm: str,
        finding_id: str | None,
        block: int = 0,
    ) -> TimingSpec:
        """Describe a block in which `recipe` is timed against `baseline`; see `TimingSpec`."""
        hashes = self.keep_recipe(recipe), self.keep_recipe(baseline)
        return TimingSpec(self.setting, *hashes, rung, seed, arm, finding_id, block)

    def fact(self, name: str, value: object) -> None:
        """Record something about the study."""
        self.writer.append("fact", name=name, value=json.dumps(value, sort_keys=True))

    def known_fact(self, name: str) -> object:
        """What `fact` recorded last under this name, or None."""
        return self.store.fact(name)


def packaged_recipe() -> Recipe:
    """The recipe that comes with the package."""
    return Recipe(resources.files("scaling").joinpath("recipe.py").read_text(encoding="utf-8"))


def baseline_recipe(study: Study) -> Recipe:
    """The study's own recipe where it has one, or else the packaged one, with the values of the table [knobs].

    Raises:
        InputError: when the study's recipe cannot be read, or [knobs] holds anything but numbers.
    """
    recipe = read_recipe_file(study.recipe) if study.recipe.exists() else packaged_recipe()
    return Recipe(recipe.source, {**recipe.knobs, **knob_values(study.settings.get("knobs", {}))})


def knob_values(table: Mapping[str, Any]) -> dict[str, float]:
    """The table [knobs] of a study's settings: values at rung 0 of the baseline's knobs, where not the recipe's own.

    Raises:
        InputError: for a value that is no number.
    """
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"The setting knobs.{name} must be a number, not {value!r}.")
    return dict(table)


def read_recipe_file(path: Path) -> Recipe:
    """Read a recipe that a user wrote.

    Raises:
        InputError: when there is no such file, or it is not UTF-8.
    """
    try:
        return Recipe(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"The recipe {path} is not UTF-8; convert it first.") from None
    except OSError as error:
        raise InputError(f"Cannot read the recipe {path}: {error.strerror}; give a Python file.") from None


@contextmanager
def open_lab(study: Study, console: Console, workers: int | None = None, worker: str = TRUSTED_WORKER) -> Iterator[Lab]:
    """Lock the study, prepare its tokens, and make what is needed to run; `worker` as in `LocalExecutor`.

    The first Ctrl-C lets the runs under way end.

    Raises:
        ScaleproofError: when another command works on the study.
        InputError: when the corpus is missing, empty, or too small for the ladder.
    """
    with study.lock(), RichProgress(console) as progress:
        ladder = parse_ladder(study.settings["ladder"])
        corpus = CorpusSettings.read(study.settings.get("corpus", {}))
        tokens = prepare(study.tokens, corpus, lambda manifest: require_tokens(manifest, ladder))
        store = Store(study.path, PATIENCE_SECONDS)
        executor = LocalExecutor(study.path, ladder, workers, worker)
        stopping = Stopping()
        with study.writer() as writer, heed_signals(stopping, progress.say):
            launcher = Launcher(store, executor, progress, writer, stopping)
            setting = Setting(ladder, tokens.digest)
            lab = Lab(study, setting, store, launcher, writer, progress, tokens.vocab_size)
            _record_facts(lab, tokens)
            try:
                yield lab
            finally:
                executor.close()
                writer.flush()
                store.ingest()
                _remove_leftovers(store)
                compact(store, minimum_files=COMPACT_FROM_FILES)
                stopping.close()


def _remove_leftovers(store: Store) -> None:
    """Remove checkpoints of runs that have ended: a kill may fall between a run's last row and their removal."""
    left = {path.stem: path for path in Study.open(store.study).checkpoints.glob("*.ckpt") if path.is_file()}
    if not left:
        return
    ended = store.rows(
        "select run_id from runs where list_contains($ids, run_id) and list_contains($ended, status)",
        {"ids": list(left), "ended": list(ENDED)},
    )
    for row in ended:
        left[row["run_id"]].unlink(missing_ok=True)


def require_tokens(manifest: dict[str, Any], ladder: Ladder) -> None:
    """Raise `InputError` unless every shard is large enough: no run reads more than the train shard holds.

    The longest run is on twice the horizon of the top rung, to which an arm that is worse may be run.
    """
    longest = 2 * max(rung.tokens for rung in ladder.rungs)
    held_out = ladder.evaluation_sequences * max(rung.context for rung in ladder.rungs) + 1
    for shard, needed in (("train", longest), ("search", held_out), ("confirm", held_out), ("final", held_out)):
        require_size(manifest, shard, needed)


def _record_facts(lab: Lab, tokens: TokenSet) -> None:
    facts = {
        "settings": lab.study.settings,
        "corpus": tokens.manifest,
        "versions": {name: metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
    }
    for name, value in facts.items():
        if lab.known_fact(name) != value:
            lab.fact(name, value)
    lab.writer.flush()
