"""Many requests in one batch of the Message Batches API: half the price, for answers within a day."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NoReturn

import anthropic
import httpx2

from search.claude.answers import answered
from search.claude.backoff import Patience, TroubleError, persist
from search.claude.budget import Budget
from search.claude.errors import ContextFullError, KeyRefusedError, RequestRefusedError
from search.claude.flight import Flight
from search.claude.journal import LOST, REJECTED, Journal
from search.claude.messages import Answer, Request
from search.claude.prices import Prices
from search.claude.rows import Batch, LostBatch
from search.claude.stream import Message
from search.claude.wire import Wire

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch

_FIRST_LOOK_SECONDS = 5.0
_LONGEST_LOOK_SECONDS = 300.0
# By how much the service's clock and this machine's may differ, with the longest that a request is under way.
_CLOCKS_SECONDS = 3600.0
# A request of a batch ends in an error without a status: those that other requests get with the same type.
_STATUS = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "timeout_error": 408,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 529,
}


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
        self._between = replace(patience, wait=self._rested)

    def ask(self, requests: list[Request]) -> list[Answer]:
        """The answers in the order of the requests; see `Caller.ask_batch`.

        One that the service does not take, or has not come to, has the stop reason rejected, one that is too long
        errored. One that met an error that passes is asked again.
        """
        persist(self._between, lambda: self._gather(requests))
        return [self._recorded(request) for request in requests]

    def holds(self, request: Request) -> bool:
        """Whether a request is in a batch whose results were not taken yet; looks for one whose making was lost."""
        open_ = [one.key for batch in self._journal.open_batches() for one in batch.requests.values()]
        return request.key in open_ or persist(self._patience, lambda: self._taken_up([request])) is not None

    def _gather(self, requests: list[Request]) -> None:
        wanted = {request.key for request in requests}
        for batch in self._journal.open_batches():
            if wanted & {one.key for one in batch.requests.values()}:
                self._collect(batch)
        while left := self._unsettled(requests):
            try:
                batch = self._begun(left)
            except RequestRefusedError as refused:
                for request in left:
                    self._turned_down(request, refused)
                return
            self._collect(batch)

    def _unsettled(self, requests: Iterable[Request]) -> list[Request]:
        return [request for request in requests if self._known(request) is None]

    def _known(self, request: Request) -> Answer | None:
        """The recorded answer; where the service did not take the request, one that says so."""
        refused = self._journal.rejection(request.key)
        if refused is not None and refused.model == request.model:
            return _empty(request, "errored" if refused.too_long else REJECTED, refused.reason)
        return self._journal.answer(request.key)

    def _recorded(self, request: Request) -> Answer:
        answer = self._known(request)
        assert answer is not None, f"{request.key} was collected without an answer"
        return answer

    def _rested(self, seconds: float) -> bool:
        self._rest(seconds)
        return False

    def _begun(self, requests: list[Request]) -> Batch:
        return persist(self._patience, lambda: self._taken_up(requests) or self._create(requests))

    def _create(self, requests: list[Request]) -> Batch:
        # The SDK would try again before anybody could look whether the first try made a batch.
        create: Callable[..., Any] = self._wire.client.with_options(max_retries=0).messages.batches.create
        # Names that no other batch of the account has, be it another study's or an earlier try's.
        name = secrets.token_hex(8)
        carried = {f"{name}-{place}": request for place, request in enumerate(requests)}
        body = [{"custom_id": custom_id, "params": request.body()} for custom_id, request in carried.items()]
        group = _group(requests)
        flight = Flight(group, self._journal, self._budget, self._patience)
        flight.carrying(carried, self._prices.batch_factor)
        batch = Batch(self._wire.tracked(flight, lambda: str(create(requests=body).id)), group, carried)
        self._journal.in_batch(batch, flight.worst_usd)
        return batch

    def _taken_up(self, requests: list[Request]) -> Batch | None:
        """The batch that an earlier try made of some of the requests, though its answer was lost."""
        wanted = {request.key for request in requests}
        for lost in self._journal.lost_batches():
            if wanted & {request.key for request in lost.requests.values()}:
                batch_id = self._found(lost)
                if batch_id is not None:
                    return self._journal.take_up(lost, batch_id)
        return None

    def _found(self, lost: LostBatch) -> str | None:
        try:
            candidates = self._wire.call(lambda: self._candidates(lost))
        except RequestRefusedError:
            # Not every service lists them.
            return None
        return next((batch_id for batch_id in candidates if self._carries(batch_id, lost)), None)

    def _candidates(self, lost: LostBatch) -> list[str]:
        """The batches that may have come of a lost try, those first whose results are there."""
        known = {batch.batch_id for batch in self._journal.open_batches()}
        newest_first = self._wire.client.messages.batches.list(limit=100)
        since, until = lost.sent_at - _CLOCKS_SECONDS, lost.sent_at + _CLOCKS_SECONDS
        recent = takewhile(lambda one: one.created_at.timestamp() >= since, newest_first)
        alike = [
            one
            for one in recent
            if one.created_at.timestamp() <= until and one.id not in known and _size(one) == len(lost.requests)
        ]
        return [one.id for one in sorted(alike, key=lambda one: one.processing_status != "ended")]

    def _carries(self, batch_id: str, lost: LostBatch) -> bool:
        try:
            # What a batch carries can only be seen in its results.
            self._wait(batch_id)
            results = self._call(lambda: self._results(batch_id))
        except RequestRefusedError:
            return False
        return any(custom_id in lost.requests for custom_id, _ in results)

    def _collect(self, batch: Batch) -> None:
        """Take the results of a batch; raises what it met that a later batch may not meet."""
        missing = "the batch holds no result for it"
        again: dict[str, Exception] = {}
        try:
            self._wait(batch.batch_id)
            for custom_id, result in self._call(lambda: self._results(batch.batch_id)):
                request = batch.requests.get(custom_id)
                if request is not None and self._known(request) is None:
                    try:
                        self._take(request, result)
                    except (TroubleError, KeyRefusedError) as error:
                        again[request.key] = error
        except RequestRefusedError as gone:
            # Results are kept for 29 days.
            missing = str(gone)
        lost = [one for one in self._unsettled(batch.requests.values()) if one.key not in again]
        for request in lost:
            self._journal.record(request, _empty(request, LOST, missing))
        self._journal.end_batch(batch, lost=bool(lost))
        if again:
            raise next(iter(again.values()))

    def _wait(self, name: str) -> None:
        pause = _FIRST_LOOK_SECONDS
        while True:
            left = self._call(lambda: self._left(name))
            if left is None:
                return
            self._patience.say(f"waiting for a batch of {left} requests; next look in {pause:.0f} s")
            self._rest(pause)
            pause = min(_LONGEST_LOOK_SECONDS, 2 * pause)

    def _left(self, name: str) -> int | None:
        batch = self._wire.client.messages.batches.retrieve(name)
        return None if batch.processing_status == "ended" else batch.request_counts.processing

    def _results(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        results = self._wire.client.messages.batches.results(name)
        return [(one.custom_id, one.result.to_dict()) for one in results]

    def _take(self, request: Request, result: dict[str, Any]) -> None:
        if result["type"] == "succeeded":
            message, factor = Message.of(result["message"]), self._prices.batch_factor
            price, name = self._prices.of(request.model), result["message"]["id"]
            self._journal.record(request, answered(request, message, price, factor=factor, name=name))
            return
        try:
            self._wire.call(lambda: _raise(result))
        except RequestRefusedError as refused:
            self._turned_down(request, refused)

    def _turned_down(self, request: Request, refused: RequestRefusedError) -> None:
        self._journal.reject(request, str(refused), too_long=isinstance(refused, ContextFullError))

    def _call(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 (whatever the SDK gives)
        return persist(self._patience, lambda: self._wire.call(ask))


def _raise(result: dict[str, Any]) -> NoReturn:
    """Raise the SDK's error for what a request of a batch ended in, so that it is told as that of any other."""
    if result["type"] != "errored":
        raise RequestRefusedError(f"The service did not come to the request ({result['type']}).")
    body = result["error"]
    sent = httpx2.Request("POST", "/v1/messages/batches")
    response = httpx2.Response(_STATUS.get(body["error"]["type"], 400), request=sent)
    raise anthropic.APIStatusError("", response=response, body=body)


def _empty(request: Request, stop_reason: str, error: str) -> Answer:
    return Answer(key=request.key, content=[], stop_reason=stop_reason, model=request.model, error=error)


def _size(batch: MessageBatch) -> int:
    counts = batch.request_counts
    return counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired


def _group(requests: list[Request]) -> Request:
    key = hashlib.blake2b("\n".join(request.key for request in requests).encode(), digest_size=8).hexdigest()
    return Request(key=f"batch.{key}", purpose="batch", model=requests[0].model, messages=[], max_tokens=1)
