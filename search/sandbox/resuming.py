"""Where a run may go on after an interruption: what its inmate left in its folder is a claim as any other."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from scaling.chunks import CHUNK_STEPS
from search.sandbox.wire import WireError

NOWHERE = [0, 0]


class CheckpointError(WireError):
    """An inmate goes on where it cannot have been: the run has to begin anew, without a checkpoint."""


class Progress:
    """At which steps the checkpoint of a run can have been made, known by looking at it while the run is fed.

    A recipe could leave a trained model there as one of step 0, and be trained twice at the price of once.
    """

    def __init__(self, checkpoint: Path, kept: Path) -> None:
        """Look at `checkpoint`, and keep what was seen in the file `kept`, where no inmate reaches."""
        self._checkpoint, self._kept, self._aside = checkpoint, kept, kept.with_suffix(".aside")
        self._step, self._stamp, self._low, self._high = 0, NOWHERE, 0, 0
        with suppress(OSError, ValueError):
            self._step, self._stamp, self._low, self._high = json.loads(kept.read_text(encoding="utf-8"))

    def resume(self, first: int) -> None:
        """Go on at step `first`.

        Raises:
            CheckpointError: when the checkpoint cannot be one of that step.
        """
        now = self._look()
        if now != self._stamp:
            self._changed(now, self._step)
        holds = first == 0 if now == NOWHERE else max(1, self._low) <= first <= self._high
        if not holds:
            raise CheckpointError(f"It spoke out of turn: it has no checkpoint of step {first}.")
        self._step, self._low, self._high = first, first, first
        self._keep()

    def reached(self, step: int) -> None:
        """Note that all steps below `step` are done."""
        now = self._look()
        if now != self._stamp:
            self._changed(now, step)
        self._step = step
        self._keep()

    def forget(self) -> None:
        """Keep nothing more of a run that has ended."""
        for file in (self._kept, self._aside):
            file.unlink(missing_ok=True)

    def _changed(self, now: list[int], step: int) -> None:
        """Since the last look; of the chunks after this step, one can be in work and one ahead."""
        self._stamp, self._low, self._high = now, self._step, step + 2 * CHUNK_STEPS

    def _look(self) -> list[int]:
        try:
            seen = os.lstat(self._checkpoint)
        except FileNotFoundError:
            return NOWHERE
        return [seen.st_ino, seen.st_mtime_ns]

    def _keep(self) -> None:
        self._aside.write_text(json.dumps([self._step, self._stamp, self._low, self._high]), encoding="utf-8")
        self._aside.replace(self._kept)
