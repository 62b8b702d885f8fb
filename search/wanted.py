"""The runs that trials wait for: each is made once, whoever wants it, and those that settle most come first."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

from scaling.runs import RunSpec
from search.trial import Trial

REFERENCE, CONFIRM, SCREEN = range(3)
"""In this order: references serve all trials, and a trial that was begun is to be ended before another begins."""


class Wanted:
    """Runs that are queued or under way, and who waits for them."""

    def __init__(self) -> None:
        """Nothing is wanted yet."""
        self._queue: list[tuple[int, int, int, RunSpec]] = []
        self._waiting: dict[str, list[Trial]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        """Whether a run is queued."""
        return bool(self._queue)

    @property
    def screens(self) -> int:
        """How many trials are queued whose first run has not begun."""
        return sum(rank == SCREEN for rank, *_ in self._queue)

    def want(self, trial: Trial, specs: Iterable[tuple[int, RunSpec]], known: Collection[str]) -> None:
        """Let the trial wait for those of the runs, each with its rank, that are not known yet."""
        for rank, spec in specs:
            if spec.run_id in known or spec.run_id in trial.waiting:
                continue
            trial.waiting.add(spec.run_id)
            if spec.run_id not in self._waiting:
                self._waiting[spec.run_id] = []
                self._count += 1
                heapq.heappush(self._queue, (rank, trial.place, self._count, spec))
            self._waiting[spec.run_id].append(trial)

    def next(self) -> RunSpec:
        """Take the run to start next."""
        return heapq.heappop(self._queue)[-1]

    def ended(self, run_id: str) -> list[Trial]:
        """The trials that waited for this run last, and can go on."""
        trials = self._waiting.pop(run_id, [])
        for trial in trials:
            trial.waiting.discard(run_id)
        return [trial for trial in trials if not trial.waiting]
