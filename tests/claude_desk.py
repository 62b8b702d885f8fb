"""A study and a server with a scripted model, and callers on them that do not really wait."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, MessagesServer, Reply, text

from data.store import Store
from data.study import Study
from search.claude.calls import Caller, Journal, Prices, Request

MODEL = "claude-opus-5-5"
PRICES = Prices.read()


class Desk:
    """The model says what stands first in `replies`, and something polite when nothing is left."""

    def __init__(self, folder: Path) -> None:
        self.study = Study.create(folder / "study", {})
        self.replies: list[Reply | Callable[[dict[str, Any]], Reply]] = []
        self.server = MessagesServer(self.next)
        self.said: list[str] = []
        self.waits: list[float] = []
        self.stopping = threading.Event()
        self.callers: list[Caller] = []

    def next(self, body: dict[str, Any]) -> Reply:
        reply = self.replies.pop(0) if self.replies else text("as you like")
        return reply(body) if callable(reply) else reply

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def caller(self, *, max_usd: float | None = None, **settings: Any) -> Caller:
        for one in self.callers:
            one.close()
        settings = {"wait": self.wait, "retries": 0, "base_url": self.server.url, **settings}
        made = Caller(
            journal=Journal(self.study),
            prices=PRICES,
            max_usd=max_usd,
            say=self.said.append,
            stopping=self.stopping,
            **settings,
        )
        self.callers.append(made)
        return made

    def rows(self) -> list[dict[str, Any]]:
        return Store(self.study.path).rows("select * from llm_calls order by written_at")

    def requests(self) -> int:
        return len(self.server.asked())


@contextmanager
def opened_desk(folder: Path) -> Iterator[Desk]:
    """A desk with a key in the environment, closed at the end."""
    desk = Desk(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_API_KEY", KEY)
        yield desk
    for caller in desk.callers:
        caller.close()
    desk.server.close()


def request(key: str = "e0001.t1", **fields: Any) -> Request:
    asked = {"purpose": "propose", "model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Go"}]}
    return Request(key=key, **{**asked, **fields})
