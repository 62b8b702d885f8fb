"""Claude as a proposer, by the real SDK against a server on loopback with scripted answers."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, Reply, refusal, text
from report_fixture import demo_records, write_spool
from researcher_desk import KNOBS, Desk, applies, asked_for, open_desk, outcome
from researchers import Scripted, edit, exchange_of, good, opening, propose, results, sloppy, wanted
from tiny import BASELINE, ladder

from data.study import Study
from search.claude.calls import Caller, Journal, Prices
from search.claude.course import Courses
from search.claude.proposer import ClaudeProposer
from search.claude.researcher import met_by
from search.claude.settings import ClaudeSettings


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as opened:
        yield opened


def test_a_question_is_answered_and_then_proposals_come(desk: Desk) -> None:
    write_spool(desk.study.path, demo_records(until="search"))
    desk.script = Scripted(then=good)
    proposals = asked_for(desk.open())
    assert [applies(one) for one in proposals] == [True] * 3
    assert len({one.slug for one in proposals}) == 3
    assert [one.category for one in proposals] == ["activation"] * 3
    assert proposals[0].expected_effect == 0.01
    assert proposals[0].edit.apply(BASELINE).source.count("functional.leaky_relu") == 1
    second = desk.asked[1]
    assert results(second)[0]["columns"] == ["category", "tried"]
    assert "Lines 1 to 40" in results(second)[1]
    assert BASELINE.source.splitlines()[0] in results(second)[1]


def test_variety_is_asked_for(desk: Desk) -> None:
    proposer = desk.open(efforts=["low", "high"])
    for _ in range(4):
        asked_for(proposer)
    begun = [one for one in desk.asked if not results(one)]
    assert len({opening(one).splitlines()[2] for one in begun}) == 4
    assert [one["output_config"]["effort"] for one in begun] == ["low", "high"] * 2


def test_the_cost_of_an_exchange_is_shared_among_its_proposals(desk: Desk) -> None:
    proposer = desk.open()
    proposals = asked_for(proposer)
    assert len({one.cost_usd for one in proposals}) == 1
    assert sum(one.cost_usd for one in proposals) == pytest.approx(desk.callers[-1].spent_usd)
    assert proposals[0].cost_usd > 0


def test_a_resumed_search_gets_the_same_proposals_and_asks_nothing(desk: Desk) -> None:
    desk.script = Scripted(good, good, refusal(), *sloppy(), text("no"), text("no"))
    proposer = desk.open()
    first = [asked_for(proposer) for _ in range(4)]
    count = len(desk.asked)
    write_spool(desk.study.path, demo_records())
    again = desk.open()
    history = [outcome(one) for one in first[0]]
    assert [asked_for(again, 3, history) for _ in range(4)] == first
    assert len(desk.asked) == count
    asked_for(again)
    assert len(desk.asked) > count


def test_more_proposals_than_asked_for_are_not_lost(desk: Desk) -> None:
    desk.script = Scripted(propose(*(edit(place) for place in range(5))))
    proposer = desk.open()
    given = [asked_for(proposer, 2), asked_for(proposer, 2), asked_for(proposer, 2)]
    assert len(desk.asked) == 1
    assert [len(some) for some in given] == [2, 2, 1]


def test_one_answer_with_too_few_is_followed_by_a_request_for_the_others(desk: Desk) -> None:
    desk.script = Scripted(propose(edit(1)), propose(edit(2), edit(3)))
    assert len(asked_for(desk.open())) == 3
    assert "Propose 2 more" in desk.asked[1]["messages"][-1]["content"][-1]["text"]


def test_a_spent_budget_ends_the_proposals(desk: Desk) -> None:
    proposer = desk.open(max_usd=1e-6)
    assert asked_for(proposer) == []
    assert asked_for(proposer) == []
    assert desk.asked == []


def test_a_batch_asks_for_several_categories_at_once(desk: Desk) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        if exchange_of(body) == 2 and wanted(body) == 3:
            return refusal()
        first = 10 * exchange_of(body)
        return propose(*(edit(first + place) for place in range(wanted(body))))

    desk.script = Scripted(then=answer)
    settings: dict[str, Any] = {"batch": True, "proposals_per_request": 3, "requests_per_batch": 3}
    proposer = desk.open(**settings)
    assert proposer.batch == 9
    proposals = asked_for(proposer, 8)
    assert [applies(one) for one in proposals] == [True] * 7  # 3, 2 of the narrower request, 2
    assert {one.slug.split("-e0")[1][:3] for one in proposals} == {"001", "002", "003"}
    assert not [one for one in desk.server.exchanges if one.path == "/v1/messages"]
    count = len(desk.server.exchanges)
    assert asked_for(desk.open(**settings), 8) == proposals
    assert len(desk.server.exchanges) == count


@pytest.mark.live
@pytest.mark.skipif("ANTHROPIC_API_KEY" not in os.environ, reason="asks the real service, which needs a key")
def test_one_real_exchange(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", {})
    journal = Journal(study)
    courses = Courses(study, met_by(journal))
    caller = Caller(journal=journal, prices=Prices.read(), max_usd=1.0, say=print, stopping=threading.Event())
    settings = ClaudeSettings.read({"proposals_per_request": 2, "efforts": ["low"]})
    proposer = ClaudeProposer(study, BASELINE, KNOBS, caller, settings, courses=courses, rungs=ladder().rungs)
    proposals = asked_for(proposer, 2)
    caller.close()
    courses.close()
    assert any(applies(one) for one in proposals)
    assert all(one.proposer is None for one in proposals)
