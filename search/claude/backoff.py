"""Waiting for a service that is busy or down: ever longer, with the reason on screen, until told to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from search.claude.errors import ServiceDownError, StoppedError

LONGEST_SECONDS = 3600.0

T = TypeVar("T")

Wait = Callable[[float], bool]
"""Waits for so many seconds; true when it was told to stop meanwhile."""


class TroubleError(Exception):
    """The service gave no answer, but may give one later. retry_after: seconds that it asked to wait."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        """What goes wrong, in words that fit after a colon."""
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait. say: shows the reason. max_tries: after so many the service counts as down; None for no limit."""

    say: Callable[[str], None]
    stopping: threading.Event
    wait: Wait | None = None
    max_tries: int | None = None

    def check(self) -> None:
        """Raise StoppedError once the search is to end."""
        if self.stopping.is_set():
            raise StoppedError("The search is to end; nothing more is asked of the model.")

    def sleep(self, seconds: float) -> None:
        """Wait; raises StoppedError as soon as the search is to end."""
        if (self.wait or self.stopping.wait)(seconds):
            self.stopping.set()
        self.check()


class Backoff:
    """The tries of one request: the first pause is about a second, each next twice as long, up to an hour."""

    def __init__(self, patience: Patience) -> None:
        """No try has failed yet."""
        self._patience = patience
        self.tries = 0

    def pause(self, trouble: TroubleError) -> None:
        """Wait before the next try, for as long as the service asked if that is longer.

        Raises StoppedError when the search is to end, ServiceDownError after the last try allowed.
        """
        self.tries += 1
        limit = self._patience.max_tries
        if limit is not None and self.tries >= limit:
            raise ServiceDownError(
                f"The model gave no answer in {self.tries} tries: {trouble.reason}; try again later."
            )
        # Jitter, so that several searches that failed together do not return together.
        own = min(LONGEST_SECONDS, 2.0 ** min(self.tries - 1, 12)) * random.uniform(0.75, 1.0)
        seconds = min(LONGEST_SECONDS, max(own, trouble.retry_after or 0.0))
        self._patience.say(f"waiting {seconds:.0f} s: {trouble.reason}; try {self.tries + 1}")
        self._patience.sleep(seconds)


def persist(patience: Patience, attempt: Callable[[], T]) -> T:
    """What an attempt gives, made again after every TroubleError.

    Raises StoppedError, ServiceDownError, and whatever else the attempt raises.
    """
    backoff = Backoff(patience)
    while True:
        patience.check()
        try:
            return attempt()
        except TroubleError as trouble:
            backoff.pause(trouble)
