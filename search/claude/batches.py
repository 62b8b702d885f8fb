"""Many requests in one batch of the Message Batches API: half the price, for answers within a day."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from search.claude.answers import answered
from search.claude.backoff import Patience, persist
from search.claude.budget import Budget
from search.claude.errors import RequestRefusedError
from search.claude.flight import Flight
from search.claude.journal import LOST, Batch, Journal
from search.claude.messages import Answer, Request
from search.claude.prices import Prices
from search.claude.stream import Message
from search.claude.wire import Wire

_FIRST_LOOK_SECONDS = 5.0
_LONGEST_LOOK_SECONDS = 300.0


class Batches:
    """Asks groups of requests; a group that was begun by an earlier process is waited for, not asked again."""

    def __init__(
        self,
        wire: Wire,
        journal: Journal,
        budget: Budget,
        patience: Patience,
        *,
        prices: Prices,
        rest: Callable[[float], None],
    ) -> None:
        """What a caller asks with. rest: waits like `patience`, and lets others ask meanwhile."""
        self._rest = rest
        self._wire = wire
        self._journal = journal
        self._budget = budget
        self._prices = prices
        self._patience = patience

    def ask(self, requests: list[Request]) -> list[Answer]:
        """The answers in the order of the requests; see `Caller.ask_batch`."""
        for batch in self._journal.open_batches():
            if {request.key for request in self._unanswered(requests)} & {one.key for one in batch.requests.values()}:
                self._collect(batch)
        if left := self._unanswered(requests):
            self._collect(self._create(left))
        return [self._recorded(request) for request in requests]

    def holds(self, request: Request) -> bool:
        """Whether a request is in a batch whose results were not taken yet."""
        batches = self._journal.open_batches()
        return any(request.key == one.key for batch in batches for one in batch.requests.values())

    def _unanswered(self, requests: list[Request]) -> list[Request]:
        return [request for request in requests if self._journal.answer(request.key) is None]

    def _recorded(self, request: Request) -> Answer:
        answer = self._journal.answer(request.key)
        assert answer is not None, f"{request.key} was collected without an answer"
        return answer

    def _create(self, requests: list[Request]) -> Batch:
        create: Callable[..., Any] = self._wire.client.messages.batches.create
        carried = {_custom_id(request): request for request in requests}
        body = [{"custom_id": name, "params": request.body()} for name, request in carried.items()]
        group = _group(requests)
        flight = Flight(group, self._journal, self._budget, self._patience)
        flight.carrying(requests, self._prices.batch_factor)
        made = persist(self._patience, lambda: self._wire.tracked(flight, lambda: create(requests=body)))
        batch = Batch(made.id, group, carried)
        self._journal.in_batch(batch, flight.worst_usd)
        return batch

    def _collect(self, batch: Batch) -> None:
        missing = "the batch holds no result for it"
        try:
            self._wait(batch.batch_id)
            for custom_id, result in self._call(lambda: self._results(batch.batch_id)):
                request = batch.requests.get(custom_id)
                if request is not None and self._journal.answer(request.key) is None:
                    self._take(request, result)
        except RequestRefusedError as gone:
            # Results are kept for 29 days.
            missing = str(gone)
        lost = self._unanswered(list(batch.requests.values()))
        for request in lost:
            self._failed(request, LOST, missing)
        self._journal.end_batch(batch, lost=bool(lost))

    def _wait(self, name: str) -> None:
        pause = _FIRST_LOOK_SECONDS
        while True:
            batch = self._call(lambda: self._wire.client.messages.batches.retrieve(name))
            if batch.processing_status == "ended":
                return
            counts = batch.request_counts
            self._patience.say(f"waiting for a batch of {counts.processing} requests; next look in {pause:.0f} s")
            self._rest(pause)
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
    key = hashlib.blake2b("\n".join(request.key for request in requests).encode(), digest_size=8).hexdigest()
    return Request(key=f"batch.{key}", purpose="batch", model=requests[0].model, messages=[], max_tokens=1)


def _custom_id(request: Request) -> str:
    # The service takes letters, digits, hyphens and underscores, 64 of them.
    return hashlib.blake2b(request.key.encode(), digest_size=16).hexdigest()
