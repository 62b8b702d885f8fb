"""A tiny study with a corpus of its own, in which real runs take a second."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scaling
from data.store import Store
from data.study import Study
from data.tokens import CorpusSettings, prepare
from scaling.edits import Edit, Recipe, Replacement
from scaling.ladder import Ladder, Rung
from scaling.runs import Job, RunSpec, Setting, TimingSpec
from search.catalogue import CATALOGUE

BASELINE = Recipe(Path(scaling.__file__).with_name("recipe.py").read_text(encoding="utf-8"))
STEPS = 60
WORDS = ["the", "a", "small", "large", "model", "learns", "reads", "counts", "tokens", "and", "but", "then"]


def rung(name: str = "a", **sizes: int) -> Rung:
    """60 steps of 64 tokens, unless said otherwise."""
    return Rung.model_validate(
        {"name": name, "depth": 1, "width": 16, "context": 16, "batch_size": 4, "tokens": 64 * STEPS, **sizes}
    )


def ladder(*rungs: Rung, **settings: Any) -> Ladder:
    """The given rungs, or one, with a larger one after them and a target that is never run."""
    chosen = rungs or (rung(),)
    larger = rung("larger", depth=9, width=max(one.width for one in chosen) + 16)
    target = rung("target", depth=9, width=larger.width + 16)
    return Ladder(name="tiny", rungs=(*chosen, larger), target=target, evaluation_sequences=8, **settings)


def write_corpus(path: Path) -> Path:
    """Sentences of few words, in which a model finds something to learn at once."""
    choose = random.Random(1)
    sentences = (" ".join(choose.choices(WORDS, k=9)) + ".\n" + "\n" * (k % 40 == 0) for k in range(8000))
    path.write_text("".join(sentences), encoding="utf-8")
    return path


def entry(slug: str) -> Recipe:
    """The baseline with an entry of the catalogue."""
    return next(one for one in CATALOGUE if one.slug == slug).edit.apply(BASELINE)


def patched(old: str, new: str, base: Recipe = BASELINE) -> Recipe:
    """A recipe in which one text stands in the place of another."""
    return Edit((Replacement(old, new),)).apply(base)


def killed_once(recipe: Recipe, marker: Path, *, place: str = "0") -> Recipe:
    """The recipe, in which the process of device `place` kills itself past the middle, once per marker file."""
    return Recipe(
        recipe.source
        + f"""
import os, pathlib, signal

_schedule = schedule


def schedule(progress, knobs):
    marker = pathlib.Path({str(marker)!r})
    counted = torch.get_default_device().type == "meta"
    if progress > 0.55 and not counted and os.environ.get("LOCAL_RANK", "0") == {place!r} and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return _schedule(progress, knobs)
""",
        recipe.knobs,
    )


@dataclass(frozen=True)
class Bench:
    """A study folder to run in, without the machinery of commands around it."""

    study: Study
    digest: str

    def spec(self, recipe: Recipe, rungs: Ladder | None = None, *, seed: int = 1, **fields: Any) -> RunSpec:
        """A run of the first rung of a ladder."""
        chosen = rungs or ladder()
        self.study.save_recipe(recipe.hash, recipe.text)
        chosen_fields = {"shard": "search", "arm": "baseline", "purpose": "pair", **fields}
        horizon = chosen.base.tokens
        return RunSpec(Setting(chosen, self.digest), recipe.hash, 0, horizon, seed, **chosen_fields)

    def timing(self, recipe: Recipe, baseline: Recipe, rungs: Ladder | None = None) -> TimingSpec:
        """A timing of two recipes on the first rung of a ladder."""
        for one in (recipe, baseline):
            self.study.save_recipe(one.hash, one.text)
        return TimingSpec(Setting(rungs or ladder(), self.digest), recipe.hash, baseline.hash, 0, 1, "alone:x", "x")

    def row(self, spec: RunSpec) -> dict[str, Any]:
        """The run as the view `runs` shows it."""
        (row,) = Store(self.study.path).rows("select * from runs where run_id = $id", {"id": spec.run_id})
        return row

    def curve(self, spec: RunSpec, attempt: int, name: str = "train_loss") -> list[tuple[int, float]]:
        """Steps and values of a curve that one attempt left, in the order in which they were written."""
        rows = Store(self.study.path).rows(
            "select step, value from record_point where run_id = $id and attempt = $attempt and name = $name "
            "order by spool_line",
            {"id": spec.run_id, "attempt": attempt, "name": name},
        )
        return [(row["step"], row["value"]) for row in rows]

    def attempts(self, spec: Job) -> int:
        """How many times a process began the run."""
        return len(list(self.study.runs.glob(f"{spec.run_id}.*.jsonl")))

    def checkpoint(self, spec: RunSpec) -> Path:
        """Where the run's checkpoint stands while it has not ended."""
        return self.study.checkpoints / f"{spec.run_id}.ckpt"


def make_bench(folder: Path) -> Bench:
    """Make the corpus, its tokens and an empty study."""
    corpus = write_corpus(folder / "corpus.txt")
    study = Study.create(folder / "study", {})
    return Bench(study, prepare(study.tokens, CorpusSettings.read({"source": str(corpus)})).digest)
