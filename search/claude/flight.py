"""A request on its way: its budget is asked for, and the journal told, at each try."""

from __future__ import annotations

import time
from collections.abc import Mapping

from search.claude.backoff import Patience
from search.claude.budget import Budget
from search.claude.journal import Journal
from search.claude.messages import Request


class Flight:
    """The tries of one request, or of a group of requests that is sent as one. began: when the latest try was sent."""

    def __init__(self, row: Request, journal: Journal, budget: Budget, patience: Patience) -> None:
        """row: names the try in the journal."""
        self._row = row
        self._journal = journal
        self._budget = budget
        self._patience = patience
        self._requests, self._factor = [row], 1.0
        self._carried: Mapping[str, Request] | None = None
        self._number = 0
        self._under_way = False
        self.worst_usd = 0.0
        self.began = time.monotonic()

    def carrying(self, carried: Mapping[str, Request], factor: float) -> Flight:
        """The same for a group: its requests by the names they are sent under, and the part of their price asked."""
        self._carried, self._requests, self._factor = carried, list(carried.values()), factor
        return self

    def begin(self) -> None:
        """A try is about to be sent; raises StoppedError or BudgetSpentError to keep it back."""
        self._patience.check()
        self.worst_usd = self._budget.require(self._requests, self._journal.spent_usd, factor=self._factor)
        self._number = self._journal.asked(self._row, self.worst_usd, self._carried)
        self._under_way = True
        self.began = time.monotonic()

    def lose(self, reason: str) -> None:
        """The try, where one is under way, may have been answered and paid for, but the answer is not here."""
        if self._under_way:
            self._under_way = False
            self._journal.lost(self._row, self._number, self.worst_usd, reason)

    def fail(self, reason: str) -> None:
        """The try was not sent, or turned down: it cost nothing."""
        self._under_way = False
        self._journal.withdraw(self._row, reason)
