"""Many requests in one batch of the Message Batches API: half the price, for answers within a day."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from search.claude.answers import answered
from search.claude.backoff import Patience, persist
from search.claude.budget import Budget
from search.claude.errors import RequestRefusedError
from search.claude.flight import Flight
from search.claude.journal import LOST, Journal
from search.claude.messages import Answer, Request
from search.claude.prices import Prices
from search.claude.stream import Message
from search.claude.wire import Wire

_FIRST_LOOK_SECONDS = 5.0
_LONGEST_LOOK_SECONDS = 300.0


class Batches:
    """Asks groups of requests; a group that was begun by an earlier process is waited for, not asked again."""

    def __init__(self, wire: Wire, journal: Journal, budget: Budget, prices: Prices, patience: Patience) -> None:
        """What a caller asks with."""
        self._wire = wire
        self._journal = journal
        self._budget = budget
        self._prices = prices
        self._patience = patience

    def ask(self, requests: list[Request]) -> list[Answer]:
        """The answers in the order of the requests; see `Caller.ask_batch`."""
        if any(self._journal.answer(request.key) is None for request in requests):
            self._fetch(requests)
        return [self._recorded(request) for request in requests]

    def _recorded(self, request: Request) -> Answer:
        answer = self._journal.answer(request.key)
        return answer if answer is not None else self._failed(request, LOST, "the batch holds no result for it")

    def _fetch(self, requests: list[Request]) -> None:
        group = _group(requests)
        noted = self._journal.group(group.key)
        name = noted["batch_id"] if noted is not None else self._create(group, requests)
        by_id = {_custom_id(request): request for request in requests}
        try:
            self._wait(name)
            for custom_id, result in self._call(lambda: self._results(name)):
                request = by_id.get(custom_id)
                if request is not None and self._journal.answer(request.key) is None:
                    self._take(request, result)
        except RequestRefusedError as gone:
            # Results are kept for 29 days.
            for request in requests:
                if self._journal.answer(request.key) is None:
                    self._failed(request, LOST, str(gone))
        self._journal.withdraw(group, f"batch {name} has ended")

    def _create(self, group: Request, requests: list[Request]) -> str:
        create: Callable[..., Any] = self._wire.client.messages.batches.create
        body = [{"custom_id": _custom_id(request), "params": request.body()} for request in requests]
        flight = Flight(group, self._journal, self._budget, self._patience)
        flight.carrying(requests, self._prices.batch_factor)
        made = persist(self._patience, lambda: self._wire.tracked(flight, lambda: create(requests=body)))
        detail = {"batch_id": made.id, "keys": [request.key for request in requests]}
        self._journal.in_batch(group, detail, flight.worst_usd)
        return str(made.id)

    def _wait(self, name: str) -> None:
        pause = _FIRST_LOOK_SECONDS
        while True:
            batch = self._call(lambda: self._wire.client.messages.batches.retrieve(name))
            if batch.processing_status == "ended":
                return
            counts = batch.request_counts
            self._patience.say(f"waiting for a batch of {counts.processing} requests; next look in {pause:.0f} s")
            self._patience.sleep(pause)
            pause = min(_LONGEST_LOOK_SECONDS, 2 * pause)

    def _results(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        results = self._wire.client.messages.batches.results(name)
        return [(one.custom_id, one.result.to_dict()) for one in results]

    def _take(self, request: Request, result: dict[str, Any]) -> None:
        if result["type"] != "succeeded":
            told = result.get("error", {}).get("error", {}).get("message", "")
            self._failed(request, result["type"], self._wire.hide(told))
            return
        message = Message.of(result["message"])
        price = self._prices.of(request.model)
        name = result["message"]["id"]
        self._journal.record(request, answered(request, message, price, factor=self._prices.batch_factor, name=name))

    def _failed(self, request: Request, stop_reason: str, error: str) -> Answer:
        answer = Answer(key=request.key, content=[], stop_reason=stop_reason, model=request.model, error=error)
        return self._journal.record(request, answer)

    def _call(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 (whatever the SDK gives)
        return persist(self._patience, lambda: self._wire.call(ask))


def _group(requests: list[Request]) -> Request:
    keys = json.dumps([request.key for request in requests])
    key = f"batch.{hashlib.blake2b(keys.encode(), digest_size=8).hexdigest()}"
    return Request(key=key, purpose="batch", model=requests[0].model, messages=[], max_tokens=1)


def _custom_id(request: Request) -> str:
    # The service takes letters, digits, hyphens and underscores, 64 of them.
    return hashlib.blake2b(request.key.encode(), digest_size=16).hexdigest()
