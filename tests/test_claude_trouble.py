"""A service in trouble is waited for, what may have been paid for nothing is counted, and the limit on money holds."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claude_desk import MODEL, Desk, opened_desk, request
from messages_server import MessagesServer, Reply, error

from search.claude.calls import (
    BudgetSpentError,
    ServiceDownError,
    StoppedError,
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened_desk(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (408, "gave up on the request (408)"),
        (409, "busy with the same request (409)"),
        (429, "too many requests (429)"),
        (500, "the service failed (500)"),
        (503, "the service failed (503)"),
        (529, "the service is overloaded (529)"),
    ],
)
def test_what_passes_is_waited_out_ever_longer_with_the_reason(desk: Desk, status: int, words: str) -> None:
    desk.replies = [error(status)] * 4
    caller = desk.caller()
    assert caller.ask(request()).text() == "as you like"
    assert len(desk.said) == len(desk.waits) == 4
    assert all(words in line for line in desk.said)
    assert desk.said[3].endswith("try 5")
    assert all(0.75 * 2**n <= seconds <= 2**n for n, seconds in enumerate(desk.waits))
    assert [row["stop_reason"] for row in desk.rows()] == ["end_turn"]
    assert caller.spent_usd < 0.001


def test_the_sdk_tries_twice_more_before_anybody_waits(desk: Desk) -> None:
    desk.replies = [error(529), error(500)]
    assert desk.caller(retries=2).ask(request()).text() == "as you like"
    assert (desk.requests(), desk.waits) == (3, [])


def test_the_service_says_how_long_to_wait_and_nothing_sleeps_that_cannot_be_woken(desk: Desk) -> None:
    desk.replies = [error(429, retry_after=40), error(529, retry_after=9000)]
    desk.caller(retries=2).ask(request())
    assert desk.waits == [40.0, 3600.0]
    assert desk.said[0] == "waiting 40 s: too many requests (429); try 2"


def test_waits_grow_to_an_hour_and_no_further(desk: Desk) -> None:
    desk.replies = [error(529)] * 16
    desk.caller().ask(request())
    assert max(desk.waits) <= 3600
    assert min(desk.waits[-3:]) >= 0.75 * 3600


@pytest.mark.parametrize("retries", [0, 2])
def test_told_to_stop_while_waiting_it_stops_and_nothing_is_counted(desk: Desk, retries: int) -> None:
    def stop(_: dict[str, Any]) -> Reply:
        desk.stopping.set()
        return error(529)

    desk.replies = [stop]
    caller = desk.caller(wait=None, retries=retries)
    with pytest.raises(StoppedError):
        caller.ask(request())
    assert caller.spent_usd == 0
    with pytest.raises(StoppedError):
        caller.ask(request("another"))
    assert desk.requests() == 1


def test_told_to_stop_while_the_key_is_looked_at_it_ends_as_an_interrupt_does(desk: Desk) -> None:
    desk.server.failures = {"/count_tokens": [error(529)] * 2}
    with pytest.raises(KeyboardInterrupt):
        desk.caller(wait=lambda _: True).check(MODEL)


def test_as_many_tries_as_allowed_then_the_service_counts_as_down(desk: Desk) -> None:
    desk.replies = [error(500)] * 3
    with pytest.raises(ServiceDownError, match="no answer in 3 tries: the service failed"):
        desk.caller(max_tries=3).ask(request())


LOSSES = {
    "dropped before": Reply(drop="before"),
    "dropped amid": Reply([{"type": "text", "text": "half of"}], drop="amid"),
    "error amid": Reply([{"type": "text", "text": "half of"}], stream_error="overloaded_error"),
    "gateway": error(504),
}


@pytest.mark.parametrize("retries", [0, 2])
def test_an_error_that_is_cut_off_is_one_all_the_same(desk: Desk, retries: int) -> None:
    desk.server.failures = {"/v1/messages": [replace(error(529), drop="amid")] * 3}
    caller = desk.caller(retries=retries)
    assert caller.ask(request()).text() == "as you like"
    assert [row["stop_reason"] for row in desk.rows()] == ["end_turn"]
    assert all("the answer broke off" in line for line in desk.said)
    assert len(desk.said) == (1 if retries else 3)


def test_a_page_in_the_place_of_an_answer_is_waited_out(desk: Desk) -> None:
    page = Reply(status=200, message="<html>log in to this network</html>")
    desk.server.failures = {"/count_tokens": [page] * 2, "/v1/messages": [page]}
    caller = desk.caller(max_usd=0.15)
    caller.check(MODEL)
    assert len(desk.said) == 2
    assert "what came is no answer of the service" in desk.said[0]
    # By its bytes the prompt could pass the limit, so that the service is asked to count.
    assert caller.ask(request(messages=[{"role": "user", "content": "word " * 4000}])).text() == "as you like"
    assert "the answer ended early" in desk.said[2]
    assert [row["stop_reason"] for row in desk.rows()] == ["lost", "end_turn"]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_request_lost_on_its_way_counts_at_its_worst_and_is_asked_again(desk: Desk, loss: str) -> None:
    desk.replies = [LOSSES[loss], LOSSES[loss]]
    caller = desk.caller()
    answer = caller.ask(request())
    rows = {row["request_id"]: row for row in desk.rows()}
    assert set(rows) == {"e0001.t1", "e0001.t1~1", "e0001.t1~2"}
    lost = rows["e0001.t1~1"]
    assert (lost["stop_reason"], lost["purpose"]) == ("lost", "propose")
    assert lost["cost_usd"] >= 1000 * 20 / 1e6
    assert caller.spent_usd == pytest.approx(answer.cost_usd + 2 * lost["cost_usd"])
    assert desk.caller().ask(request()) == answer
    assert desk.requests() == 3


def test_tries_that_the_sdk_lost_by_itself_are_counted_too(desk: Desk) -> None:
    desk.replies = [Reply(drop="before")]
    desk.caller(retries=2).ask(request())
    assert [row["stop_reason"] for row in desk.rows()] == ["lost", "end_turn"]


def test_no_answer_in_time_is_a_loss(desk: Desk) -> None:
    gate = threading.Event()
    desk.replies = [Reply(gate=gate)]
    desk.caller(timeout_seconds=0.3).ask(request())
    gate.set()
    assert [row["stop_reason"] for row in desk.rows()] == ["lost", "end_turn"]
    assert "no answer in time" in desk.said[0]


def test_a_service_out_of_reach_costs_nothing(desk: Desk) -> None:
    with MessagesServer(desk.next) as gone:
        pass
    caller = desk.caller(base_url=gone.url, max_tries=2)
    with pytest.raises(ServiceDownError, match="cannot be reached"):
        caller.ask(request())
    assert caller.spent_usd == 0


def test_the_limit_holds_before_a_request_that_could_pass_it(desk: Desk) -> None:
    words = "word " * 4000
    long = request("long", messages=[{"role": "user", "content": words}])
    # By its bytes the prompt might cost 0.2, by the service's count some 0.06.
    caller = desk.caller(max_usd=0.1)
    assert caller.ask(long).cost_usd < 0.05
    assert len(desk.server.asked("/v1/messages/count_tokens")) == 1
    with pytest.raises(BudgetSpentError, match=r"of 0.10 dollars are spent, and the next request could cost 0.0"):
        for number in range(9):
            caller.ask(request(f"more{number}", messages=long.messages))
    assert caller.spent_usd < 0.1
    count = desk.requests()
    assert count < 9
    with pytest.raises(BudgetSpentError):
        desk.caller(max_usd=0.1).ask(request("even more", messages=long.messages))
    assert desk.requests() == count
    assert desk.caller(max_usd=0.2).ask(request("even more", messages=long.messages)).stop_reason == "end_turn"


def test_losses_count_towards_the_limit(desk: Desk) -> None:
    desk.replies = [Reply(drop="before")] * 50
    caller = desk.caller(max_usd=0.2, retries=2)
    with pytest.raises(BudgetSpentError):
        caller.ask(request())
    assert caller.spent_usd <= 0.2
    assert 3 < desk.requests() < 12
