"""Options that change between two commands are those of exchanges to come; what was begun goes on as it was begun."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, Reply, error, refusal, text, tools
from researcher_desk import FIRST, SECOND, Desk, applies, asked_for, open_desk
from researchers import Scripted, is_repair, plain

from search.proposals import Proposal, ProposerGoneError

BATCHES = "/v1/messages/batches"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as opened:
        yield opened


def asks_thrice(body: dict[str, Any]) -> Reply:
    """Reads three times before it proposes."""
    if is_repair(body) or len(body["messages"]) > 6:
        return plain(body)
    return tools(("read_recipe", {"recipe": "baseline", "first_line": 1, "last_line": 2}))


def first_refuses(body: dict[str, Any]) -> Reply:
    return refusal() if body["model"] == FIRST else plain(body)


def second_takes_it(body: dict[str, Any]) -> Reply:
    return error(400) if body["model"] == FIRST else plain(body)


@pytest.mark.parametrize(
    ("script", "first", "second"),
    [
        (asks_thrice, {}, {"batch": True}),
        (asks_thrice, {}, {"turns": 3}),
        (first_refuses, {}, {"models": [FIRST]}),
        (first_refuses, {"models": [FIRST]}, {}),
        (second_takes_it, {}, {"models": [FIRST]}),
        (plain, {"batch": True, "requests_per_batch": 2}, {}),
        (plain, {"batch": True, "requests_per_batch": 2}, {"batch": True, "requests_per_batch": 3}),
        (plain, {"proposals_per_request": 2}, {"proposals_per_request": 4}),
    ],
)
def test_an_exchange_is_gone_through_as_it_was_begun_and_the_next_as_is_wanted_now(
    desk: Desk, script: Any, first: dict[str, Any], second: dict[str, Any]
) -> None:
    desk.script = Scripted(then=script)

    def rounds(options: dict[str, Any], number: int) -> list[list[Proposal]]:
        proposer = desk.open(**{"proposals_per_request": 3, **options})
        return [asked_for(proposer, proposer.batch) for _ in range(number)]

    given = rounds(first, 2)
    count = len(desk.server.exchanges)
    assert rounds(second, 2) == given
    assert len(desk.server.exchanges) == count, "something was asked again"
    assert rounds(second, 3)[:2] == given
    new = desk.server.exchanges[count:]
    assert {one.path == BATCHES for one in new if one.body} == {bool(second.get("batch"))}


def test_an_exchange_of_more_proposals_than_there_is_room_for_now_gives_them_all_the_same(desk: Desk) -> None:
    given = asked_for(desk.open(), 5)
    count = len(desk.asked)
    again = desk.open()
    assert [*asked_for(again, 2), *asked_for(again, 3)] == given
    assert asked_for(desk.open(), 6) == given
    assert len(desk.asked) == count


def test_an_exchange_that_nothing_has_come_of_is_begun_as_is_wanted_now(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: error(529))
    with pytest.raises(ProposerGoneError):
        asked_for(desk.open(models=[FIRST], max_tries=1))
    desk.script = Scripted()
    assert [applies(one) for one in asked_for(desk.open(models=[SECOND]))] == [True] * 3
    assert {one["model"] for one in desk.asked} == {SECOND}


def test_after_a_service_that_took_nothing_another_model_can_be_named(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: error(400) if body["model"] == FIRST else plain(body))
    proposer = desk.open(models=[FIRST])
    skipped = [asked_for(proposer) for _ in range(2)]
    with pytest.raises(ProposerGoneError, match="3 exchanges in a row"):
        asked_for(proposer)
    other = desk.open(models=[SECOND])
    assert [asked_for(other) for _ in range(2)] == skipped
    assert [applies(one) for one in asked_for(other)] == [True] * 3


def test_a_service_that_takes_nothing_of_batches_ends_the_search_as_any_other_does(desk: Desk) -> None:
    desk.script = Scripted(then=lambda body: error(400, "Something about the account."))
    settings: dict[str, Any] = {"batch": True, "proposals_per_request": 3, "requests_per_batch": 4}
    for _ in range(2):
        with pytest.raises(ProposerGoneError, match=r"account.*3 exchanges in a row; run the same command again later"):
            asked_for(desk.open(**settings), 12)
    desk.script = Scripted()
    assert [applies(one) for one in asked_for(desk.open(**settings), 12)] == [True] * 12


def test_useless_answers_of_a_batch_are_followed_by_other_requests(desk: Desk) -> None:
    desk.script = Scripted(text("no"), error(400), Reply(batch="expired"))
    assert [applies(one) for one in asked_for(desk.open(batch=True, proposals_per_request=3), 9)] == [True] * 6
