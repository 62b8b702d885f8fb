"""Asking a proposer in a thread of its own: runs go on while it thinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from scaling.stopping import StoppedError
from search.proposals import Failure, Outcome, Proposal, Proposer
from search.trial import Trial

_Question = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class Asking:
    """At most one question for proposals at a time, and as many for repairs as there are; answered one by one."""

    def __init__(self, proposer: Proposer, wake: Callable[[], None]) -> None:
        """Ask `proposer`; `wake` is called, in the thread, when an answer is there."""
        self.proposer = proposer
        self.exhausted = False
        self._wake = wake
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        # A daemon, so that a user who stops the command at once need not wait for an answer.
        self._thread = threading.Thread(target=self._serve, name="proposer", daemon=True)
        self._proposals: Future[list[Proposal] | None] | None = None
        self._repairs: dict[Future[Proposal | None], Trial] = {}

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the answer under way, which may be paid for, unless the user stops the command at once."""
        for future in (self._proposals, *self._repairs):
            if future is not None:
                future.cancel()
        self._questions.put(None)
        if not isinstance(error, KeyboardInterrupt) or isinstance(error, StoppedError):
            self._thread.join()

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return self.proposing or bool(self._repairs)

    @property
    def proposing(self) -> bool:
        """Whether proposals are waited for."""
        return self._proposals is not None

    def ask(self, count: int, history: Sequence[Outcome]) -> None:
        """Ask for up to `count` proposals."""
        assert self._proposals is None
        self._proposals = self._put(self.proposer.propose, count, history)

    def ask_repair(self, trial: Trial, failure: Failure) -> None:
        """Ask for another proposal in the place of the trial's."""
        self._repairs[self._put(self.proposer.repair, trial.proposal, failure)] = trial

    def proposals(self) -> list[Proposal]:
        """Those that have come; none where none came yet, where more trials must end first, or where none are left.

        Raises whatever the proposer raised.
        """
        if self._proposals is None or not self._proposals.done():
            return []
        answer, self._proposals = self._proposals.result(), None
        self.exhausted = answer == []
        return answer or []

    def repairs(self) -> list[tuple[Trial, Proposal | None]]:
        """Those that have come, in the order of their trials; raises whatever the proposer raised."""
        done = [future for future in self._repairs if future.done()]
        come = [(self._repairs.pop(future), future.result()) for future in done]
        return sorted(come, key=lambda one: one[0].place)

    def _put(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        self._questions.put((future, function, arguments))
        return future

    def _serve(self) -> None:
        while (question := self._questions.get()) is not None:
            future, function, arguments = question
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            self._wake()
