"""An answer that never ends, though its connection is full of life, holds nobody up for ever."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_desk import Desk, opened_desk, request
from messages_server import Reply, text

from search.claude.calls import StoppedError
from search.claude.deadline import Limits


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened_desk(tmp_path) as made:
        yield made


def ends(desk: Desk) -> list[str]:
    return [row["stop_reason"] for row in desk.rows()]


def test_an_answer_that_only_drips_is_cut_off_counted_and_asked_for_again(desk: Desk) -> None:
    def drip(_: dict[str, Any]) -> Reply:
        desk.server.drip = threading.Event()
        return text("never told")

    def speak(_: dict[str, Any]) -> Reply:
        desk.server.drip = None
        return text("at last")

    desk.replies = [drip, speak]
    caller = desk.caller(limits=Limits(answer_seconds=0.6))
    answer = caller.ask(request())
    assert answer.text() == "at last"
    assert "no whole answer in 0 minutes" in desk.said[0]
    assert ends(desk) == ["lost", "end_turn"]
    assert caller.spent_usd > 0.02 + answer.cost_usd


def test_once_the_search_is_to_end_an_answer_has_a_while_to_come_and_no_more(desk: Desk) -> None:
    def stop_and(drip: threading.Event | None) -> Reply:
        desk.stopping.set()
        desk.server.drip = drip
        return text("in time")

    desk.replies = [lambda _: stop_and(None), lambda _: stop_and(threading.Event())]
    caller = desk.caller(limits=Limits(stopping_seconds=0.6), wait=None)
    assert caller.ask(request("a")).text() == "in time"
    desk.stopping.clear()
    with pytest.raises(StoppedError, match="not waited for"):
        caller.ask(request("b"))
    assert sorted(ends(desk)) == ["end_turn", "lost", "withdrawn"]
    spent = caller.spent_usd
    desk.stopping.clear()
    desk.server.drip = None
    again = desk.caller()
    assert again.spent_usd == pytest.approx(spent)
    assert again.ask(request("b")).text() == "as you like"
    assert desk.requests() == 3
