"""How long a search has worked, over all the commands that worked on it."""

from __future__ import annotations

import time

from scaling.lab import Lab

SAVED_EVERY_SECONDS = 30.0
SECONDS_PER_HOUR = 3600.0


class WorkClock:
    """Counts working time against a search's hours; what a killed command worked is forgotten for half a minute."""

    def __init__(self, lab: Lab, search: str, hours: float | None) -> None:
        """Go on where the last command on `search`, a name of its own, stopped; None hours never end."""
        self._lab, self._fact, self._hours = lab, f"seconds_worked:{search}", hours
        known = lab.known_fact(self._fact)
        self._before = float(known) if isinstance(known, int | float) else 0.0
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Working time so far, in seconds."""
        return self._before + time.monotonic() - self._began

    def is_over(self) -> bool:
        """Whether the hours are used up; call it now and then, since it keeps the time as well."""
        if time.monotonic() - self._saved >= SAVED_EVERY_SECONDS:
            self.save()
        return self._hours is not None and self.seconds >= self._hours * SECONDS_PER_HOUR

    def close(self) -> None:
        """Write down the time worked, once more."""
        self.save()

    def save(self) -> None:
        """Write down the time worked."""
        self._saved = time.monotonic()
        self._lab.fact(self._fact, round(self.seconds, 1))
