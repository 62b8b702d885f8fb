"""Asking a model: each request at most once, within its budget, and on disk before anybody acts on the answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from search.claude.answers import answered
from search.claude.backoff import Patience, Wait, persist
from search.claude.batches import Batches
from search.claude.budget import Budget
from search.claude.deadline import Limits
from search.claude.errors import (
    BudgetSpentError,
    ContextFullError,
    KeyRefusedError,
    RequestRefusedError,
    ServiceDownError,
    StoppedError,
)
from search.claude.flight import Flight
from search.claude.journal import Journal
from search.claude.key import require_key
from search.claude.messages import Answer, Request
from search.claude.prices import Prices
from search.claude.wire import TIMEOUT_SECONDS, Wire

__all__ = [
    "Answer",
    "BudgetSpentError",
    "Caller",
    "ContextFullError",
    "Journal",
    "KeyRefusedError",
    "Prices",
    "Request",
    "RequestRefusedError",
    "ServiceDownError",
    "StoppedError",
    "require_key",
]


class Caller:
    """The one who asks. Safe for several threads, which wait for each other but not for a batch."""

    def __init__(
        self,
        *,
        journal: Journal,
        prices: Prices,
        max_usd: float | None,
        say: Callable[[str], None],
        stopping: threading.Event,
        base_url: str | None = None,
        wait: Wait | None = None,
        max_tries: int | None = None,
        retries: int = 2,
        timeout_seconds: float = TIMEOUT_SECONDS,
        limits: Limits | None = None,
    ) -> None:
        """Raises KeyRefusedError when there is no key.

        max_usd: the most that all requests of the study may cost, None for no limit. say: shows a line to the user.
        stopping: once set, nothing more is asked, and waiting ends; an answer under way has half a minute to come.
        wait: waits in the place of `stopping`, and returns whether to stop. max_tries: of one request before the
        service counts as down, None for no limit. retries: the tries that the SDK makes by itself before each of them
        has failed. timeout_seconds: of silence. limits: for one answer, however lively; None for the usual ones.
        """
        self._journal = journal
        self._prices = prices
        self._patience = Patience(say, stopping, wait, max_tries)
        self._wire = Wire(
            stopping, base_url, timeout_seconds=timeout_seconds, limits=limits or Limits(), retries=retries
        )
        self._budget = Budget(
            prices, max_usd, lambda request: persist(self._patience, lambda: self._wire.count(request))
        )
        self._batches = Batches(self._wire, journal, self._budget, self._patience, prices=prices, rest=self._rest)
        self._lock = threading.Lock()

    @property
    def spent_usd(self) -> float:
        """What all requests of the study cost so far, those counted that may have been paid for nothing."""
        return self._journal.spent_usd

    def check(self, model: str) -> None:
        """Ask the service, free of charge, whether it takes the key and knows the model.

        Raises InputError for a model without a known price, KeyRefusedError, RequestRefusedError.
        """
        self._prices.of(model)
        probe = Request(key="check", purpose="check", model=model, messages=_HELLO, max_tokens=1)
        try:
            with self._lock:
                persist(self._patience, lambda: self._wire.count(probe))
        except RequestRefusedError as refused:
            # A service that cannot count is no obstacle.
            if model in str(refused):
                raise

    def ask(self, request: Request) -> Answer:
        """The answer to a request: the recorded one where its key is known, without asking anybody.

        Raises BudgetSpentError before a request that could pass the limit, StoppedError, ServiceDownError,
        KeyRefusedError; ContextFullError and other RequestRefusedErrors also again for a key that was refused before.
        """
        with self._lock:
            recorded = self._journal.answer(request.key)
            if recorded is not None:
                return recorded
            refused = self._journal.rejection(request.key)
            if refused is not None and refused.model == request.model:
                raise (ContextFullError if refused.too_long else RequestRefusedError)(refused.reason)
            if self._batches.holds(request):
                return self._batches.ask([request])[0]
            return self._ask(request)

    def ask_batch(self, requests: list[Request]) -> list[Answer]:
        """The answers to requests asked together, at the price of a batch, in their order.

        Takes up to a day; recorded answers are not asked for again. The same requests after a restart take up the batch
        that was made of them. A request that got no message is answered with the stop reason rejected, errored or lost.
        Raises as `ask` does.
        """
        with self._lock:
            return self._batches.ask(requests)

    def hold_back(self, request: Request, reason: str) -> None:
        """Decide for good that a request is not sent: asking it raises RequestRefusedError, in later commands too."""
        with self._lock:
            self._journal.reject(request, reason, too_long=False)

    def forget(self, keys: Iterable[str]) -> None:
        """Forget that the service did not take the requests of these keys: asked again, they are sent again."""
        with self._lock:
            for key in keys:
                self._journal.forget(key)

    def close(self) -> None:
        """Close the connections and the journal."""
        self._wire.close()
        self._journal.close()

    def _rest(self, seconds: float) -> None:
        # A batch may take a day, in which others want answers.
        self._lock.release()
        try:
            self._patience.sleep(seconds)
        finally:
            self._lock.acquire()

    def _ask(self, request: Request) -> Answer:
        price = self._prices.of(request.model)
        flight = Flight(request, self._journal, self._budget, self._patience)
        try:
            message, name = persist(self._patience, lambda: self._wire.stream(request, flight))
        except RequestRefusedError as refused:
            self._journal.reject(request, str(refused), too_long=isinstance(refused, ContextFullError))
            raise
        seconds = time.monotonic() - flight.began
        return self._journal.record(request, answered(request, message, price, seconds=seconds, name=name))


_HELLO = [{"role": "user", "content": "Hello"}]
