"""How long a search has worked, over all the commands that worked on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from scaling.lab import Lab

SECONDS_PER_HOUR = 3600.0


class WorkClock:
    """Counts working time against a search's hours.

    It remembers how many trials there were: what was proposed in time is gone through again by a command that goes on
    where another was killed, however late. A killed command's time since its last proposals is forgotten.
    """

    def __init__(self, lab: Lab, search: str, hours: float | None) -> None:
        """Go on where the last command on `search`, a name of its own, stopped; None hours never end."""
        self._lab, self._fact, self._hours = lab, f"worked:{search}", hours
        known = lab.known_fact(self._fact)
        before = known if isinstance(known, dict) else {}
        self._seconds, self._trials = float(before.get("seconds", 0.0)), int(before.get("trials", 0))
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Working time so far, in seconds."""
        return self._seconds + time.monotonic() - self._began

    def is_over(self, trials: int) -> bool:
        """Whether nothing more is to be proposed after so many trials."""
        late = self._hours is not None and self.seconds >= self._hours * SECONDS_PER_HOUR
        return late and trials >= self._trials

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake`, in a thread, when the hours are over."""
        if self._hours is None:
            yield
            return
        left = max(self._hours * SECONDS_PER_HOUR - self.seconds, 0.0)
        timer = threading.Timer(min(left, threading.TIMEOUT_MAX), wake)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def note(self, trials: int) -> None:
        """Write down the time worked, and that there are so many trials."""
        self._trials = max(self._trials, trials)
        self._lab.fact(self._fact, {"seconds": round(self.seconds, 1), "trials": self._trials})
        self._lab.writer.flush()
