"""A study, a server with a scripted researcher, and proposers opened on them as a search and its resumption do."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from messages_server import MessagesServer, Reply
from researchers import Scripted
from tiny import BASELINE, ladder

from data.store import Store
from data.study import Study
from scaling.edits import EditError
from scaling.knobs import Knob
from search.catalogue.proposer import CATEGORIES
from search.claude.calls import Caller, Journal, Prices
from search.claude.course import Courses
from search.claude.proposer import ClaudeProposer
from search.claude.researcher import met_by
from search.claude.settings import ClaudeSettings
from search.proposals import Outcome, Proposal, TrialStatus

KNOBS = {"learning_rate": Knob(5.6e-3, "width^-0.5", 5e-4, 3e-2), "head_dim": Knob(16)}
FIRST, SECOND = "claude-opus-5-5", "claude-sonnet-5-5"


class Desk:
    """What one test works on; `script` may be changed, `asked` are the requests that it got."""

    def __init__(self, folder: Path) -> None:
        self.study = Study.create(folder / "study", {})
        self.script = Scripted()
        self.server = MessagesServer(self._answer)
        self.said: list[str] = []
        self.callers: list[Caller] = []
        self.courses: list[Courses] = []

    def _answer(self, body: dict[str, Any]) -> Reply:
        return self.script(body)

    def open(
        self,
        *,
        max_usd: float | None = None,
        max_tries: int | None = None,
        categories: Sequence[str] = CATEGORIES,
        **settings: Any,
    ) -> ClaudeProposer:
        self.close()
        journal = Journal(self.study)
        caller = Caller(
            journal=journal,
            prices=Prices.read(),
            max_usd=max_usd,
            say=self.said.append,
            stopping=threading.Event(),
            base_url=self.server.url,
            wait=lambda seconds: False,
            max_tries=max_tries,
            retries=0,
        )
        self.callers.append(caller)
        self.courses.append(Courses(self.study, met_by(journal)))
        read = ClaudeSettings.read({"models": [FIRST, SECOND], **settings})
        return ClaudeProposer(
            self.study,
            BASELINE,
            KNOBS,
            caller,
            read,
            courses=self.courses[-1],
            categories=categories,
            rungs=ladder().rungs,
            say=self.said.append,
            recorded=lambda key: journal.answer(key) is not None,
        )

    def close(self) -> None:
        for caller in self.callers:
            caller.close()
        for courses in self.courses:
            courses.close()

    def rows(self) -> list[dict[str, Any]]:
        return Store(self.study.path).rows("select * from llm_calls order by written_at")

    @property
    def asked(self) -> list[dict[str, Any]]:
        return self.script.asked


@contextmanager
def open_desk(folder: Path) -> Iterator[Desk]:
    """A desk whose connections are closed in the end."""
    desk = Desk(folder)
    try:
        yield desk
    finally:
        desk.close()
        desk.server.close()


def asked_for(proposer: ClaudeProposer, count: int = 3, history: Sequence[Outcome] = ()) -> list[Proposal]:
    proposals = proposer.propose(count, history)
    assert proposals is not None
    return proposals


def outcome(made: Proposal, status: TrialStatus = "dropped", **fields: Any) -> Outcome:
    return Outcome(made.slug, status, proposal=made, **fields)


def applies(made: Proposal) -> bool:
    try:
        made.edit.apply(BASELINE)
    except EditError:
        return False
    return True
