"""Asking a proposer in threads of its own: runs go on while it thinks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from scaling.stopping import StoppedError, Stopping
from search.proposals import Failure, Outcome, Proposal, Proposer, ProposerGoneError
from search.trial import Trial

_Question = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class Asking:
    """At most one question for proposals at a time, and as many for repairs as there are; these one by one.

    exhausted: no more proposals are to be asked for. gone: why nobody proposes any more, where that is so.
    """

    def __init__(self, proposer: Proposer, stopping: Stopping) -> None:
        """Ask `proposer`; `stopping` is woken when an answer is there."""
        self.proposer = proposer
        self.exhausted = False
        self.gone: ProposerGoneError | None = None
        self._stopping = stopping
        # Repairs have a thread of their own: proposals may take a day.
        self._proposing, self._repairing = _Desk("proposals", stopping.wake), _Desk("repairs", stopping.wake)
        self._proposals: Future[list[Proposal] | None] | None = None
        self._repairs: dict[Future[Proposal | None], Trial] = {}

    def __enter__(self) -> Self:
        """Use it in a `with` block, which ends its threads."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what waits for the service; wait for an answer under way, unless the user stops the command at once."""
        self.give_up()
        for desk in (self._proposing, self._repairing):
            desk.close(wait=not isinstance(error, KeyboardInterrupt) or isinstance(error, StoppedError))

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
        self._proposals = self._proposing.put(self.proposer.propose, count, history)

    def ask_repair(self, trial: Trial, failure: Failure) -> None:
        """Ask for another proposal in the place of the trial's."""
        self._repairs[self._repairing.put(self.proposer.repair, trial.proposal, failure)] = trial

    def give_up(self) -> None:
        """Wait no longer for a service that does not answer; an answer that comes already is still taken."""
        self._stopping.release()

    def proposals(self) -> list[Proposal]:
        """Those that have come; none where none came yet, where more trials must end first, or where none are left.

        Raises whatever the proposer raised, a ProposerGoneError apart.
        """
        if self._proposals is None or not self._proposals.done():
            return []
        future, self._proposals = self._proposals, None
        try:
            answer = future.result()
        except ProposerGoneError as gone:
            self.gone, answer = gone, []
        except StoppedError:
            answer = []
        self.exhausted = answer == []
        return answer or []

    def repairs(self) -> list[tuple[Trial, Proposal | None]]:
        """Those that have come, in the order of their trials; raises as `proposals` does.

        A trial whose repair was broken off stays without an end: a later command asks again.
        """
        come: list[tuple[Trial, Proposal | None]] = []
        for future in [one for one in self._repairs if one.done()]:
            trial = self._repairs.pop(future)
            try:
                come.append((trial, future.result()))
            except ProposerGoneError as gone:
                self.gone = gone
            except StoppedError:
                if not self._stopping.asked:
                    come.append((trial, None))
        return sorted(come, key=lambda one: one[0].place)


class _Desk:
    """A thread that answers one question after the other."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._questions: queue.SimpleQueue[_Question | None] = queue.SimpleQueue()
        self._closed = False
        # A daemon, so that a user who stops the command at once need not wait for an answer.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def put(self, function: Callable[..., Any], *arguments: object) -> Future[Any]:
        future: Future[Any] = Future()
        self._questions.put((future, function, arguments))
        return future

    def close(self, *, wait: bool) -> None:
        self._closed = True
        self._questions.put(None)
        if wait:
            self._thread.join()

    def _serve(self) -> None:
        while (question := self._questions.get()) is not None:
            future, function, arguments = question
            if self._closed:
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:
                future.set_exception(error)
            self._wake()
