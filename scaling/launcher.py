"""Runs wanted become results; what has been measured is not measured again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from data.errors import ScaleproofError
from data.spool import SpoolWriter, last_row
from data.store import Store
from data.study import Study
from scaling.executor import Ended, Executor, run_all
from scaling.progress import cost
from scaling.runs import ENDED, Job, Precedent, RunResult, RunSpec, Stop, TimingSpec
from scaling.stopping import Stopping


class Progress(Protocol):
    """Shows long work; see `scaling.progress`."""

    def begin(self, title: str, jobs: Sequence[Job], already: int) -> None:
        """Start a stage."""

    def ended(self, job: Job) -> None:
        """One job of the stage has ended."""

    def say(self, text: str) -> None:
        """Tell the best answer so far."""


class Launcher:
    """Finishes runs through an executor, skipping those that the store has."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        progress: Progress,
        writer: SpoolWriter,
        stopping: Stopping | None = None,
    ) -> None:
        """Use `store` to look results up, and `writer` to say what is queued."""
        self.store = store
        self.executor = executor
        self.stopping = stopping or Stopping()
        self._writer = writer
        self._progress = progress
        self._ended: dict[str, RunResult] | None = None
        self._baselines: dict[int, dict[str, Mapping[str, Any]]] = {}

    def finish(self, title: str, specs: Iterable[RunSpec]) -> dict[str, RunResult]:
        """Make every run that has not ended yet; returns the results by run_id.

        Raises:
            ScaleproofError: when this machine could not do a run; what has ended is kept.
            StoppedError: when the work was asked to stop.
        """
        wanted = {spec.run_id: spec for spec in specs}
        known = self.results(wanted)
        self._run(title, [spec for key, spec in wanted.items() if key not in known], len(known))
        return self.results(wanted)

    def finish_timings(self, title: str, specs: Iterable[TimingSpec]) -> dict[str, float]:
        """Make every timing that is missing; returns ln(seconds per token, arm / baseline) by run_id.

        The seconds are those of the row's `clock`. NaN where a recipe failed while it was timed.
        """
        wanted = {spec.run_id: spec for spec in specs}
        known = {row["run_id"] for row in self._standing(self._timings(wanted))}
        self._run(title, [spec for key, spec in wanted.items() if key not in known], len(known))
        return {
            row["run_id"]: math.nan if row["ln_ratio"] is None else float(row["ln_ratio"])
            for row in self._timings(wanted)
        }

    def results(self, run_ids: Iterable[str]) -> dict[str, RunResult]:
        """Results of the runs that have ended, by run_id."""
        return {key: self._known[key] for key in run_ids if key in self._known}

    def start(self, spec: RunSpec) -> None:
        """Start a run on a free worker, and say that it is under way; `ended` gives what becomes of it."""
        self._queued(spec)
        self.executor.submit(self._with_precedent(spec))

    def ended(self) -> list[RunSpec]:
        """Wait until runs have ended, whose results are known then, or until `stopping` is woken.

        Raises:
            ScaleproofError: when this machine could not do a run.
        """
        ended = self.executor.wait(self.stopping.fileno())
        self.stopping.awake()
        return [job for job in map(self._take, ended) if isinstance(job, RunSpec)]

    @property
    def _known(self) -> dict[str, RunResult]:
        """All runs that have ended: read from the store once, then kept up with what this launcher makes.

        To ask the store after every run would cost a tiny run a tenth of its time.
        """
        if self._ended is None:
            rows = self.store.rows(
                "select run_id, status, reason, val_loss, params, flops, tokens, seconds, tokens_per_second, "
                "cpu_seconds, arm, rung, horizon, started_at, ended_at from runs where list_contains($ended, status)",
                {"ended": list(ENDED)},
            )
            self._ended = {}
            for row in self._standing(rows):
                self._keep(self._ended, row)
        return self._ended

    def _standing(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Without those that a limit ended which the study has raised since: they are to be made anew.

        Asked of what earlier commands left alone: a recipe that forges such a reason is run once more by each.
        """
        stops = [Stop.read(row["reason"]) for row in rows]
        if not any(stops):
            return list(rows)
        sandbox = Study.open(self.store.study).settings.get("sandbox", {})
        return [row for row, stop in zip(rows, stops, strict=True) if stop is None or not stop.is_lifted(sandbox)]

    def _keep(self, ended: dict[str, RunResult], row: Mapping[str, Any]) -> None:
        ended[row["run_id"]] = RunResult.from_row(row)
        if row["arm"] == "baseline" and row["status"] == "finished" and row.get("started_at") and row.get("ended_at"):
            self._baselines.setdefault(row["rung"], {})[row["run_id"]] = row

    def _with_precedent(self, job: Job) -> Job:
        """The job, told what the baseline took at its rung, where that is known; longer horizons take longer."""
        if isinstance(job, TimingSpec) or job.rung_index not in self._baselines:
            return job
        rows = self._baselines[job.rung_index].values()
        took = [(row["ended_at"] - row["started_at"]) * max(1.0, job.horizon / row["horizon"]) for row in rows]
        return replace(job, precedent=Precedent(statistics.median(took), max(row["params"] or 0 for row in rows)))

    def _timings(self, run_ids: Iterable[str]) -> list[dict[str, Any]]:
        return self.store.rows(
            "select run_id, ln_ratio, reason from timings where list_contains($ids, run_id)", {"ids": list(run_ids)}
        )

    def _run(self, title: str, jobs: Sequence[Job], already: int) -> None:
        if not jobs:
            return
        # The longest first, so that no long run is left alone at the end.
        ordered = sorted(map(self._with_precedent, jobs), key=cost, reverse=True)
        for job in ordered:
            if isinstance(job, RunSpec):
                self._queued(job)
        self._progress.begin(title, ordered, already)
        for ended in run_all(self.executor, ordered, self.stopping):
            self._take(ended)
            self._progress.ended(ended.job)
        self.store.ingest()

    def _queued(self, spec: RunSpec) -> None:
        self._writer.append("run", **spec.columns(), attempt=0, status="queued")

    def _take(self, ended: Ended) -> Job:
        if ended.error is not None:
            self.store.ingest()
            raise ScaleproofError(
                f"A run at rung {ended.job.rung.name} could not be made: {ended.error.rstrip('.')}. "
                "What has ended is kept; give the same command again to continue."
            )
        if isinstance(ended.job, RunSpec):
            row = last_row(self.store.spool, ended.job.run_id)
            assert row is not None, "a run that ended leaves its row"
            self._keep(self._known, row)
        return ended.job
