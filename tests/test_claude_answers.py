"""Careless answers, refusals and requests that are not taken: each ends in proposals or in a recorded skip."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, Reply, error, refusal, text, tools
from researcher_desk import FIRST, SECOND, Desk, applies, asked_for, open_desk, outcome
from researchers import Scripted, edit, exchange_of, opening, plain, propose, sloppy, wanted
from tiny import BASELINE

from scaling.edits import EditError
from search.catalogue import CATALOGUE
from search.proposals import Failure, ProposerGoneError


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
    skipped, instead = asked_for(desk.open(), 6, history)
    assert [one["model"] for one in desk.asked] == [FIRST, FIRST, SECOND]
    assert [wanted(one) for one in desk.asked] == [6, 2, 2]
    assert len(opening(desk.asked[1])) < len(opening(desk.asked[0])) / 3
    assert instead.proposer == "catalogue"
    assert instead.edit == CATALOGUE[0].edit
    assert (instead.cost_usd, instead.exchange) == (0, None)
    assert (skipped.proposer, skipped.exchange) == (None, "e0001")
    assert skipped.cost_usd == pytest.approx(desk.callers[-1].spent_usd)
    with pytest.raises(EditError, match="proposed nothing: claude-opus-5-5: refusal"):
        skipped.edit.apply(BASELINE)
    assert any("frontier_llm" in line and CATALOGUE[0].slug in line for line in desk.said)
    assert desk.open().repair(instead, Failure("crash", "It fell over.")) is None


def test_where_the_catalogue_is_empty_too_a_skip_is_recorded(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: refusal("frontier_llm"))
    proposer = desk.open(categories=("activation",))
    entries = [one for one in CATALOGUE if one.category == "activation"]
    given = [asked_for(proposer, 1)[0] for _ in range(2 * len(entries) + 2)]
    assert [one.edit for one in given[1:-2:2]] == [one.edit for one in entries]
    assert {one.category for one in (*given[:-2:2], *given[-2:])} == {"skipped"}
    assert len({one.slug for one in given}) == len(given)


def test_a_model_that_does_not_take_the_request_gives_way_to_the_next(desk: Desk) -> None:
    def only_the_second(body: dict[str, Any]) -> Reply:
        return error(400, "effort is not supported") if body["model"] == FIRST else propose(edit(1), edit(2))

    desk.script = Scripted(then=only_the_second)
    first = asked_for(desk.open())
    assert len(first) == 2
    count = len(desk.asked)
    assert asked_for(desk.open()) == first
    assert len(desk.asked) == count


WHOLE = json.dumps(edit(1))
UNSENDABLE = {
    "a number beyond all bounds": WHOLE.replace("0.01", "1e999"),
    "no number": WHOLE.replace("0.01", "NaN"),
    "half a character": WHOLE.replace("gelu(h)", "gelu(h) \\ud83d"),
}


@pytest.mark.parametrize("raw", UNSENDABLE.values(), ids=UNSENDABLE.keys())
def test_what_no_request_can_carry_is_answered_as_invalid_also_when_it_was_recorded(desk: Desk, raw: str) -> None:
    desk.script = Scripted(Reply([{"type": "tool_use", "name": "propose", "raw": raw}], "tool_use"), error(401))
    with pytest.raises(ProposerGoneError):
        asked_for(desk.open())
    said, told = desk.asked[1]["messages"][-2:]
    assert said["content"][0]["input"] == {}
    assert told["content"][0]["is_error"]
    assert [applies(one) for one in asked_for(desk.open())] == [True] * 3
    assert len(desk.asked) == 3


def test_a_service_that_goes_on_taking_nothing_ends_the_search_and_is_asked_again_by_the_next(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: error(400, "Something about the account."))
    proposer = desk.open()
    first = [asked_for(proposer) for _ in range(2)]
    assert [[one.category == "skipped" for one in some] for some in first] == [[True, False]] * 2
    for _ in range(2):  # whoever asks all the same does not wear the search out
        with pytest.raises(ProposerGoneError, match=r"account.*3 exchanges in a row; run the same command again later"):
            asked_for(proposer)
    desk.script = Scripted()
    again = desk.open()
    assert [asked_for(again) for _ in range(2)] == first
    assert desk.asked == []
    assert [applies(one) for one in asked_for(again)] == [True] * 3
    assert len(desk.asked) == 1


def test_a_service_that_takes_no_batch_is_asked_for_the_same_exchanges_again(desk: Desk) -> None:
    desk.server.failures = {"/messages/batches": [error(400)] * 3}
    proposer = desk.open(batch=True, proposals_per_request=2, requests_per_batch=3)
    with pytest.raises(ProposerGoneError, match="3 exchanges in a row"):
        asked_for(proposer, 6)
    assert desk.asked == []
    assert {one.exchange for one in asked_for(proposer, 6)} == {"e0001", "e0002", "e0003"}


def test_a_service_that_takes_a_request_now_and_then_is_asked_on(desk: Desk) -> None:
    def moody(body: dict[str, Any]) -> Reply:
        return plain(body) if exchange_of(body) == 3 else error(400)

    desk.script = Scripted(then=moody)
    proposer = desk.open()
    given = [asked_for(proposer) for _ in range(5)]
    assert [some[0].category for some in given] == ["skipped", "skipped", "activation", "skipped", "skipped"]


@pytest.mark.parametrize(("reply", "why"), [(error(401), "refuses the key"), (error(500), "no answer in 2 tries")])
def test_a_service_that_goes_away_amid_a_search_takes_its_proposer_along(desk: Desk, reply: Reply, why: str) -> None:
    proposer = desk.open(max_tries=2)
    (made,) = asked_for(proposer, 1)
    desk.script = Scripted(then=lambda body: reply)
    with pytest.raises(ProposerGoneError, match=why):
        proposer.repair(made, Failure("crash", "ValueError"))
    with pytest.raises(ProposerGoneError, match=why):
        asked_for(proposer, 1)
    desk.script = Scripted()
    assert proposer.repair(made, Failure("crash", "ValueError")) is not None
    assert [one.exchange for one in asked_for(proposer, 1)] == ["e0002"]


def test_a_context_that_is_full_is_followed_by_a_shorter_request(desk: Desk) -> None:
    desk.server.context_tokens = 9_000
    history = [outcome(one, reason="too little " * 20) for one in CATALOGUE for _ in range(5)]
    asked_for(desk.open(), 3, history)
    assert max(len(opening(one)) for one in desk.asked) < 8_000
