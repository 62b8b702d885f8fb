"""What came over the wire in no shape that the protocol knows: paid for once, counted, and never in the way."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_desk import Desk, opened_desk, request
from messages_server import KEY, Reply
from researcher_desk import asked_for, open_desk
from researchers import Scripted, edit

from data.store import Store

# By its bytes the request is of some 2,100 tokens at 8 dollars a million, and its answer of 1,000 at 20.
WORST_USD = 0.037


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with opened_desk(tmp_path) as made:
        yield made


def twist(desk: Desk, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Let the server send messages that are changed."""
    right = desk.server.message
    monkeypatch.setattr(desk.server, "message", lambda *given: change(right(*given)))


def asked_twice(desk: Desk) -> dict[str, Any]:
    """The row of a request that two commands ask, after making sure that it was sent and paid for once."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = desk.caller().ask(request())
    assert desk.caller().ask(request()) == first
    assert desk.requests() == 1
    assert Store(desk.study.path).rows("select reason from rejected_lines") == []
    (row,) = desk.rows()
    assert row["cost_usd"] == first.cost_usd == pytest.approx(desk.caller().spent_usd)
    return row


COUNTS: dict[str, dict[str, Any]] = {
    "negative": {"output_tokens": -(10**7)},
    "too many for a row": {"output_tokens": 2**63},
    "half a token": {"input_tokens": 1.5},
    "a list": {"cache_read_input_tokens": [1]},
    "no details": {"cache_creation": "x"},
}


@pytest.mark.parametrize("counts", COUNTS.values(), ids=COUNTS.keys())
def test_tokens_that_are_no_count_are_paid_at_the_worst(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, counts: dict[str, Any]
) -> None:
    twist(desk, monkeypatch, lambda told: {**told, "usage": {**told["usage"], **counts}})
    row = asked_twice(desk)
    assert row["cost_usd"] == pytest.approx(WORST_USD, abs=0.001)
    assert (row["stop_reason"], row["output_tokens"]) == ("end_turn", 1000)


TEXTS: dict[str, dict[str, Any]] = {
    "model": {"model": 7},
    "no model": {"model": None},
    "half a character": {"model": "claude-opus-5-5", "stop_reason": "\udfff"},
    "stop reason": {"stop_reason": 5},
    "long stop reason": {"stop_reason": "x" * 10**6},
    "a word of the journal": {"stop_reason": "withdrawn"},
    "details": {"stop_details": "x"},
    "category": {"stop_details": {"type": "refusal", "category": {"a": 1}}},
}


@pytest.mark.parametrize("texts", TEXTS.values(), ids=TEXTS.keys())
def test_what_should_be_a_text_and_is_none_costs_no_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, texts: dict[str, Any]
) -> None:
    twist(desk, monkeypatch, lambda told: {**told, **texts})
    row = asked_twice(desk)
    assert row["model"] == "claude-opus-5-5"
    assert row["refusal_category"] is None
    assert len(row["stop_reason"]) <= 200
    assert row["cost_usd"] < 0.001


def call(**fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": "propose", "input": edit(1), **fields}


NAMELESS = {
    "no id": call(id=None),
    "a number for an id": call(id=7),
    "no name": {name: part for name, part in call(id="toolu_1").items() if name != "name"},
    "half a character for a name": call(name="\ud800"),
}


@pytest.mark.parametrize("bad", NAMELESS.values(), ids=NAMELESS.keys())
def test_a_call_without_a_name_or_an_id_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: dict[str, Any]
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as desk:
        desk.script = Scripted(Reply([bad, call()], "tool_use"), then=lambda _: Reply([bad], "tool_use"))
        for _ in range(2):
            proposer = desk.open()
            (kept,) = asked_for(proposer)
            assert kept.title == edit(1)["title"]
            skipped, instead = asked_for(proposer)
            assert (skipped.category, instead.proposer) == ("skipped", "catalogue")
        # Two answers of the first exchange, and one to each of the three ways in which the second is asked.
        assert len(desk.asked) == 5


def test_a_recorded_call_without_an_id_stops_no_later_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as desk:
        told = {"content": [{"type": "tool_use", "name": "propose", "input": edit(1)}], "broken": {}}
        with desk.study.writer() as writer:
            writer.append("llm_call", request_id="e0001.t1", model="m", stop_reason="tool_use", answer=told)
        desk.script = Scripted()
        assert len(asked_for(desk.open(), 2)) == 2
