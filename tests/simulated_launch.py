"""An executor that writes what runs of a known world would leave, and a bench that promotes findings with it.

A recipe's knob values decide what it gains; finished loss = E + B T^-b with noise that the two runs of a pair share.
"""

import hashlib
import math
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from data.spool import SpoolWriter
from data.store import Store
from data.study import Study
from scaling.edits import Edit, Recipe
from scaling.executor import Ended
from scaling.lab import Lab
from scaling.ladder import Ladder, parse_ladder
from scaling.launcher import Launcher
from scaling.progress import RichProgress
from scaling.runs import Job, RunSpec, Setting, TimingSpec
from transfer.again import Again
from transfer.arms import Finding
from transfer.promote import Promotion
from transfer.settings import TransferSettings
from transfer.words import Verdict

Gain = Callable[[int, float], float]
BASELINE = Recipe(resources.files("scaling").joinpath("recipe.py").read_text(encoding="utf-8"))
TARGET_PARAMS = 60_000
FLOPS_PER_PARAMETER_AND_TOKEN = 6


@dataclass(frozen=True)
class World:
    """The truth. `gains`: true lnS in tokens by knob and value, of the rung and of the share of its tokens.

    `kappas` by rung; `diverges`, `fails` (which gives the reason) and `shift` let single runs fail or be off. `seconds`
    of CPU time of a run, and `timed`, the true ln(seconds per token, arm / baseline) of a timing, by the knobs.
    """

    gains: Mapping[tuple[str, float], Gain]
    kappas: tuple[float, ...] = (0.22, 0.2, 0.18)
    curvature: float = 0.4
    sigma: float = 0.002
    correlation: float = 0.8
    s_time: float = 0.002
    diverges: Callable[[RunSpec, Mapping[str, float]], bool] = lambda spec, knobs: False
    fails: Callable[[Mapping[str, float]], str | None] = lambda knobs: None
    shift: Callable[[RunSpec], float] = lambda spec: 0.0
    seconds: Callable[[Mapping[str, float]], float | None] = lambda knobs: None
    timed: Callable[[Mapping[str, float]], float] = lambda knobs: 0.0

    def loss(self, spec: RunSpec, recipe: Recipe) -> float:
        share = spec.horizon / spec.setting.ladder.rungs[spec.rung_index].tokens
        gain = sum(self.gains[item](spec.rung_index, share) for item in sorted(recipe.knobs.items()))
        lift = self.kappas[spec.rung_index] / self.curvature
        shared = np.random.default_rng([spec.seed, spec.horizon, 1]).standard_normal()
        own = np.random.default_rng([spec.seed, spec.horizon, _number(recipe)]).standard_normal()
        noise = math.sqrt(self.correlation) * shared + math.sqrt(1 - self.correlation) * own
        exact = 2.0 + lift * (share * math.exp(gain)) ** -self.curvature
        return float(exact + self.sigma * noise + self.shift(spec))


def _number(recipe: Recipe) -> int:
    """What an arm's own noise is drawn from: its knobs alone, so that an edit of the baseline changes no test."""
    return int.from_bytes(hashlib.blake2b(repr(sorted(recipe.knobs.items())).encode(), digest_size=8).digest())


class KilledError(Exception):
    """The command is killed."""


@dataclass
class SimulatedLaunch:
    """Leaves in the spool what each job would have left; `jobs_left` is how many it does before it is killed."""

    study: Study
    world: World
    jobs_left: float = math.inf
    done: list[Job] = field(default_factory=list)
    under_way: list[Job] = field(default_factory=list)
    workers: int = 2

    @property
    def free(self) -> int:
        return self.workers - len(self.under_way)

    @property
    def running(self) -> int:
        return len(self.under_way)

    def submit(self, job: Job) -> None:
        if self.jobs_left <= 0:
            raise KilledError
        self.jobs_left -= 1
        self.under_way.append(job)

    def wait(self, wake: int | None = None) -> list[Ended]:
        if not self.under_way:  # as a real one would wait for news
            assert wake is not None
            select.select([wake], [], [])
            return []
        job = self.under_way.pop(0)
        self.done.append(job)
        with SpoolWriter(self.study.runs / f"{job.run_id}.1.jsonl") as writer:
            self._leave(writer, job)
        return [Ended(job, None)]

    def close(self) -> None:
        self.under_way.clear()

    @staticmethod
    def _full(job: RunSpec) -> int:
        return job.setting.ladder.rungs[job.rung_index].tokens

    def _leave(self, writer: SpoolWriter, job: Job) -> None:
        recipe = Recipe.from_text((self.study.recipes / f"{job.recipe_hash}.py").read_text(encoding="utf-8"))
        if isinstance(job, TimingSpec):
            stream = [job.seed, job.block, _number(recipe)]
            noise = self.world.s_time * np.random.default_rng(stream).standard_normal()
            ratio = self.world.timed(recipe.knobs) + float(noise)
            writer.append("timing", **job.columns(), run_id=job.run_id, ln_ratio=ratio)
            return
        row: dict[str, Any] = {**job.columns(), "attempt": 1, "reason": None, "status": "finished"}
        if self.world.diverges(job, recipe.knobs):
            row |= {"status": "diverged", "reason": "The training loss is not finite at step 3."}
        elif reason := self.world.fails(recipe.knobs):
            row |= {"status": "failed", "reason": reason}
        else:
            params = 12 * job.rung.depth * job.rung.width**2
            flops = float(FLOPS_PER_PARAMETER_AND_TOKEN * params * job.horizon)
            row |= {"val_loss": self.world.loss(job, recipe), "params": params, "tokens": job.horizon, "flops": flops}
            seconds = self.world.seconds(recipe.knobs)
            row["cpu_seconds"] = None if seconds is None else seconds * job.horizon / self._full(job)
        writer.append("run", **row)


def ladder(rungs: int = 3, tokens: int = 8_000) -> Ladder:
    sizes = [{"depth": 1, "width": 16 + 16 * k, "tokens": tokens * (k + 1)} for k in range(rungs + 1)]
    named = [{"name": f"r{k}", "context": 8, "batch_size": 4, **size} for k, size in enumerate(sizes)]
    return parse_ladder({"name": "simulated", "rungs": named[:-1], "target": named[-1]})


def finding(name: str, knob: str, value: float, base: Recipe = BASELINE) -> Finding:
    return Finding(name, f"Set {knob}", base, Edit(knobs={knob: value}).apply(base))


@dataclass
class Bench:
    """A study whose runs are simulated."""

    study: Study
    world: World
    ladder: Ladder

    @classmethod
    def make(cls, folder: Path, world: World, rungs: int = 3, tokens: int = 8_000) -> "Bench":
        return cls(Study.create(folder, {}), world, ladder(rungs, tokens))

    def promote(
        self,
        findings: Sequence[Finding],
        *,
        jobs_left: float = math.inf,
        trusted: bool = True,
        again: Again | None = None,
        **settings: Any,
    ) -> dict[str, Verdict]:
        with self._lab(jobs_left) as lab:
            chosen = TransferSettings.read({"pairs": [4], "smallest_saving": 0.03, **settings})
            promotion = Promotion(lab, BASELINE, chosen, TARGET_PARAMS, again=again, trusted=trusted)
            return promotion.run(findings)

    @contextmanager
    def _lab(self, jobs_left: float) -> Iterator[Lab]:
        store = Store(self.study.path)
        with RichProgress(Console(file=StringIO())) as progress, self.study.writer() as writer:
            launcher = Launcher(store, SimulatedLaunch(self.study, self.world, jobs_left), progress, writer)
            yield Lab(self.study, Setting(self.ladder, "simulated"), store, launcher, writer, progress, 64)

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        return Store(self.study.path).rows(sql, parameters)

    def row(self, sql: str, **parameters: Any) -> dict[str, Any]:
        (row,) = self.rows(sql, **parameters)
        return row
