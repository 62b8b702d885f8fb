"""Runs wanted become results; what has been measured is not measured again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from data.errors import ScaleproofError
from data.spool import SpoolWriter
from data.store import Store
from scaling.executor import Executor
from scaling.progress import cost
from scaling.runs import ENDED, Job, RunResult, RunSpec, TimingSpec


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

    def __init__(self, store: Store, executor: Executor, progress: Progress, writer: SpoolWriter) -> None:
        """Use `store` to look results up, and `writer` to say what is queued."""
        self.store = store
        self._writer = writer
        self._executor = executor
        self._progress = progress

    def finish(self, title: str, specs: Iterable[RunSpec]) -> dict[str, RunResult]:
        """Make every run that has not ended yet; returns the results by run_id.

        Raises:
            ScaleproofError: when this machine could not do a run; what has ended is kept.
        """
        wanted = {spec.run_id: spec for spec in specs}
        known = self.results(wanted)
        self._run(title, [spec for key, spec in wanted.items() if key not in known], len(known))
        return self.results(wanted)

    def finish_timings(self, title: str, specs: Iterable[TimingSpec]) -> dict[str, float]:
        """Make every timing that is missing; returns ln(seconds per token, arm / baseline) by run_id."""
        wanted = {spec.run_id: spec for spec in specs}
        known = self._ratios(wanted)
        self._run(title, [spec for key, spec in wanted.items() if key not in known], len(known))
        return self._ratios(wanted)

    def results(self, run_ids: Iterable[str]) -> dict[str, RunResult]:
        """Results of the runs that have ended, by run_id."""
        rows = self.store.rows(
            "select run_id, status, reason, val_loss, params, flops, tokens, seconds, tokens_per_second "
            "from runs where list_contains($ids, run_id) and list_contains($ended, status)",
            {"ids": list(run_ids), "ended": list(ENDED)},
        )
        return {row["run_id"]: RunResult.from_row(row) for row in rows}

    def _ratios(self, run_ids: Iterable[str]) -> dict[str, float]:
        rows = self.store.rows(
            "select run_id, ln_ratio from timings where list_contains($ids, run_id)", {"ids": list(run_ids)}
        )
        return {row["run_id"]: float(row["ln_ratio"]) for row in rows}

    def _run(self, title: str, jobs: Sequence[Job], already: int) -> None:
        if not jobs:
            return
        # The longest first, so that no long run is left alone at the end.
        ordered = sorted(jobs, key=cost, reverse=True)
        for job in ordered:
            if isinstance(job, RunSpec):
                self._writer.append("run", **job.columns(), attempt=0, status="queued")
        self._progress.begin(title, ordered, already)
        for ended in self._executor.run(ordered):
            if ended.error is not None:
                self.store.ingest()
                raise ScaleproofError(
                    f"A run at rung {ended.job.rung.name} could not be made: {ended.error.rstrip('.')}. "
                    "What has ended is kept; give the same command again to continue."
                )
            self._progress.ended(ended.job)
        self.store.ingest()
