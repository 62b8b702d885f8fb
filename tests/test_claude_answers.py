"""Careless answers, refusals and requests that are not taken: each ends in proposals or in a recorded skip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, Reply, error, refusal, text, tools
from researcher_desk import FIRST, SECOND, Desk, applies, asked_for, open_desk, outcome
from researchers import Scripted, edit, opening, propose, sloppy, wanted
from tiny import BASELINE

from scaling.edits import EditError
from search.catalogue import CATALOGUE
from search.proposals import Failure


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("bad", sloppy(), ids=lambda reply: f"{reply.stop_reason}-{len(reply.content)}")
def test_every_careless_answer_is_followed_by_another_try(desk: Desk, bad: Reply) -> None:
    desk.script = Scripted(bad)
    proposals = asked_for(desk.open())
    assert proposals
    assert all(applies(one) and one.proposer is None for one in proposals)


def test_an_invalid_call_is_told_once_and_then_recorded(desk: Desk) -> None:
    wrong = tools(("propose", edit(1, category="astrology")))
    desk.script = Scripted(wrong, wrong, text("I give up"))
    (skipped,) = asked_for(desk.open())
    told = desk.asked[1]["messages"][-1]["content"][0]
    assert told["is_error"]
    assert "category: is one of architecture" in told["content"]
    with pytest.raises(EditError, match="could not be read twice"):
        skipped.edit.apply(BASELINE)
    assert desk.open().repair(skipped, Failure("edit", "It does not apply.")) is None


def test_what_came_before_an_answer_was_cut_is_kept(desk: Desk) -> None:
    whole, half = {"type": "tool_use", "name": "propose", "input": edit(1)}, '{"title": "Half a th'
    cut = Reply([whole, {"type": "tool_use", "name": "propose", "input": {}, "raw": half}], "max_tokens")
    desk.script = Scripted(cut)
    (kept,) = asked_for(desk.open())
    assert applies(kept)
    assert len(desk.asked) == 1


def test_a_refusal_is_followed_by_a_narrower_request_then_the_next_model_then_the_catalogue(desk: Desk) -> None:
    desk.script = Scripted(refusal("frontier_llm"), refusal(None), refusal("cyber", "I would rather not."))
    history = [outcome(one) for one in CATALOGUE for _ in range(5)]
    (instead,) = asked_for(desk.open(), 6, history)
    assert [one["model"] for one in desk.asked] == [FIRST, FIRST, SECOND]
    assert [wanted(one) for one in desk.asked] == [6, 2, 2]
    assert len(opening(desk.asked[1])) < len(opening(desk.asked[0])) / 3
    assert instead.proposer == "catalogue"
    assert instead.edit == CATALOGUE[0].edit
    assert any("frontier_llm" in line and CATALOGUE[0].slug in line for line in desk.said)
    assert desk.open().repair(instead, Failure("crash", "It fell over.")) is None


def test_where_the_catalogue_is_empty_too_a_skip_is_recorded(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: refusal("frontier_llm"))
    proposer = desk.open(categories=("activation",))
    entries = [one for one in CATALOGUE if one.category == "activation"]
    *instead, last = [asked_for(proposer, 1)[0] for _ in range(len(entries) + 1)]
    assert [one.edit for one in instead] == [one.edit for one in entries]
    with pytest.raises(EditError, match="proposed nothing: claude-opus-5-5: refusal"):
        last.edit.apply(BASELINE)


def test_a_model_that_does_not_take_the_request_gives_way_to_the_next(desk: Desk) -> None:
    def only_the_second(body: dict[str, Any]) -> Reply:
        return error(400, "effort is not supported") if body["model"] == FIRST else propose(edit(1), edit(2))

    desk.script = Scripted(then=only_the_second)
    first = asked_for(desk.open())
    assert len(first) == 2
    count = len(desk.asked)
    assert asked_for(desk.open()) == first
    assert len(desk.asked) == count


def test_a_context_that_is_full_is_followed_by_a_shorter_request(desk: Desk) -> None:
    desk.server.context_tokens = 9_000
    history = [outcome(one, reason="too little " * 20) for one in CATALOGUE for _ in range(5)]
    asked_for(desk.open(), 3, history)
    assert max(len(opening(one)) for one in desk.asked) < 8_000
