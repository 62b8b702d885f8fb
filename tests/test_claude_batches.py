"""Requests of a batch cost half, come when they come, and are asked once whatever happens to the process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claude_desk import Desk, opened_desk, request
from messages_server import Reply, error, refusal, text

from search.claude.calls import BudgetSpentError, KeyRefusedError, Request, StoppedError

BATCHES = "/v1/messages/batches"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened_desk(tmp_path) as made:
        yield made


def requests(*numbers: int) -> list[Request]:
    return [request(f"e{n}.t1", messages=[{"role": "user", "content": f"question {n}"}]) for n in numbers]


def echo(body: dict[str, Any]) -> Reply:
    return text(f"to {body['messages'][0]['content']}")


def test_answers_come_in_order_at_half_the_price_one_row_each(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.batch_polls = 3
    caller = desk.caller(max_usd=1.0)
    answers = caller.ask_batch(requests(1, 2, 3))
    assert [answer.text() for answer in answers] == [f"to question {n}" for n in (1, 2, 3)]
    whole = [(answer.input_tokens * 4 + answer.output_tokens * 20) / 1e6 for answer in answers]
    assert [answer.cost_usd for answer in answers] == pytest.approx([cost / 2 for cost in whole])
    assert caller.spent_usd == pytest.approx(sum(whole) / 2)
    rows = {row["request_id"]: row for row in desk.rows()}
    assert {"e1.t1", "e2.t1", "e3.t1"} < rows.keys()
    assert [row["purpose"] for name, row in rows.items() if not name.startswith("e")] == ["batch"]
    assert desk.waits == [5.0, 10.0]
    assert desk.said[0].startswith("waiting for a batch of 3 requests")
    assert caller.ask_batch(requests(1, 2, 3)) == answers
    assert desk.caller().ask(requests(2)[0]) == answers[1]
    assert (len(desk.server.asked(BATCHES)), desk.requests()) == (1, 0)


def test_requests_that_got_no_message_say_so_and_cost_nothing(desk: Desk) -> None:
    long = error(400, "prompt is too long: 9 tokens > 8 maximum")
    desk.replies = [Reply(batch="expired"), Reply(batch="canceled"), error(400), refusal(), text("fine"), long]
    caller = desk.caller()
    answers = caller.ask_batch(requests(1, 2, 3, 4, 5, 6))
    told = [answer.stop_reason for answer in answers]
    assert told == ["rejected", "rejected", "rejected", "refusal", "end_turn", "errored"]
    assert "(expired)" in answers[0].error
    assert "(400: Invalid request)" in answers[2].error
    assert answers[3].refusal_category == "frontier_llm"
    assert caller.spent_usd == pytest.approx(answers[3].cost_usd + answers[4].cost_usd)
    assert desk.caller().ask_batch(requests(1, 2, 3, 4, 5, 6)) == answers
    assert len(desk.server.asked(BATCHES)) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 529])
def test_what_passes_is_asked_again_in_another_batch_and_the_others_answers_are_kept(desk: Desk, status: int) -> None:
    desk.replies = [text("one"), *[error(status)] * 3, text("three"), text("two")]
    caller = desk.caller()
    answers = caller.ask_batch(requests(1, 2, 3))
    assert [answer.text() for answer in answers] == ["one", "two", "three"]
    assert [len(one.body["requests"]) for one in desk.server.asked(BATCHES)] == [3, 2, 1]
    assert [f"({status}); try" in line for line in desk.said if "try" in line] == [True, True]
    assert caller.spent_usd == pytest.approx(sum(answer.cost_usd for answer in answers))
    assert desk.caller().ask_batch(requests(1, 2, 3)) == answers


def test_told_to_stop_while_what_passes_is_waited_out_nothing_is_written_down_as_an_answer(desk: Desk) -> None:
    desk.replies = [error(529), text("one")]
    with pytest.raises(StoppedError):
        desk.caller(wait=lambda seconds: seconds < 5).ask_batch(requests(1))
    desk.stopping.clear()
    assert [one.text() for one in desk.caller().ask_batch(requests(1))] == ["one"]


@pytest.mark.parametrize("reply", [error(401), error(402), error(403), error(400, "Your credit balance is too low.")])
def test_an_account_that_may_not_spend_ends_the_asking_and_leaves_the_requests(desk: Desk, reply: Reply) -> None:
    desk.replies = [text("one"), reply]
    with pytest.raises(KeyRefusedError):
        desk.caller().ask_batch(requests(1, 2))
    answers = desk.caller().ask_batch(requests(1, 2))
    assert [one.text() for one in answers] == ["one", "as you like"]
    assert [len(one.body["requests"]) for one in desk.server.asked(BATCHES)] == [2, 1]


def test_no_batch_is_made_that_could_pass_the_limit(desk: Desk) -> None:
    with pytest.raises(BudgetSpentError):
        desk.caller(max_usd=0.05).ask_batch(requests(*range(9)))
    assert desk.server.asked(BATCHES) == []


def test_a_batch_under_way_counts_at_its_worst_until_it_has_ended(desk: Desk) -> None:
    desk.server.batch_polls = 10**6
    caller = desk.caller(wait=lambda _: True)
    with pytest.raises(StoppedError):
        caller.ask_batch(requests(1, 2))
    assert caller.spent_usd >= 2 * 1000 * 20 / 1e6 / 2
    desk.stopping.clear()
    desk.server.batch_polls = 1
    later = desk.caller()
    answers = later.ask_batch(requests(1, 2))
    assert later.spent_usd == pytest.approx(sum(answer.cost_usd for answer in answers))
    assert len(desk.server.asked(BATCHES)) == 1


def test_what_a_batch_holds_is_not_asked_again_in_another_or_alone(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.batch_polls = 10**6
    with pytest.raises(StoppedError):
        desk.caller(wait=lambda _: True).ask_batch(requests(1, 2, 3))
    desk.stopping.clear()
    desk.server.batch_polls = 1
    caller = desk.caller()
    assert caller.ask(requests(2)[0]).text() == "to question 2"
    assert [one.text() for one in caller.ask_batch(requests(3, 4))] == ["to question 3", "to question 4"]
    carried = [len(one.body["requests"]) for one in desk.server.asked(BATCHES)]
    assert (carried, desk.requests()) == ([3, 1], 0)


def test_others_are_answered_while_a_batch_runs(desk: Desk) -> None:
    desk.server.script = echo
    resting, go = threading.Event(), threading.Event()

    def wait(_: float) -> bool:
        resting.set()
        return not go.wait(60)

    desk.server.batch_polls = 2
    caller = desk.caller(wait=wait)
    answers: list[str] = []
    batch = threading.Thread(target=lambda: answers.extend(one.text() for one in caller.ask_batch(requests(1, 2))))
    batch.start()
    assert resting.wait(60)
    assert caller.ask(requests(3)[0]).text() == "to question 3"
    assert answers == []
    go.set()
    batch.join()
    assert answers == ["to question 1", "to question 2"]


def test_results_that_are_gone_count_at_their_worst(desk: Desk) -> None:
    desk.server.batch_polls = 10**6
    with pytest.raises(StoppedError):
        desk.caller(wait=lambda _: True).ask_batch(requests(1))
    desk.stopping.clear()
    desk.server.batches.clear()
    caller = desk.caller()
    (answer,) = caller.ask_batch(requests(1))
    assert (answer.stop_reason, "404" in answer.error) == ("lost", True)
    assert caller.spent_usd >= 1000 * 20 / 1e6 / 2


def test_trouble_while_a_batch_is_made_or_looked_at_is_waited_out(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.failures = {
        BATCHES: [error(529), Reply(drop="before")],
        "/results": [Reply(drop="before"), error(500), Reply(drop="amid")],
    }
    answers = desk.caller().ask_batch(requests(1))
    assert [answer.text() for answer in answers] == ["to question 1"]
    assert len(desk.said) == 5
    lost = [row for row in desk.rows() if row["stop_reason"] == "lost"]
    assert [row["purpose"] for row in lost] == ["batch"]


def test_a_batch_that_was_read_whole_before_its_process_was_killed_counts_what_it_cost(desk: Desk) -> None:
    caller = desk.caller()
    answers = caller.ask_batch(requests(1, 2))
    caller.close()
    (file,) = [path for path in desk.study.spool.rglob("*.jsonl") if "has ended" in path.read_text()]
    lines = file.read_text().splitlines(keepends=True)
    assert "has ended" in lines[-1]
    file.write_text("".join(lines[:-1]))
    assert desk.caller().spent_usd == pytest.approx(sum(answer.cost_usd for answer in answers))


@pytest.mark.parametrize("retries", [0, 2])
def test_a_batch_whose_making_was_cut_off_is_found_and_not_made_again(desk: Desk, retries: int) -> None:
    desk.server.script = echo
    desk.server.batch_polls = 3
    desk.server.failures = {BATCHES: [Reply(drop="amid")]}
    caller = desk.caller(retries=retries)
    answers = caller.ask_batch(requests(1, 2))
    assert [one.text() for one in answers] == ["to question 1", "to question 2"]
    assert len(desk.server.batches) == 1
    assert caller.spent_usd == pytest.approx(sum(one.cost_usd for one in answers))
    assert desk.caller().ask_batch(requests(1, 2)) == answers


def test_what_such_a_batch_holds_is_not_asked_alone(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.failures = {BATCHES: [Reply(drop="amid")]}
    with pytest.raises(StoppedError):
        desk.caller(wait=lambda _: True).ask_batch(requests(1, 2))
    desk.stopping.clear()
    caller = desk.caller()
    assert caller.ask(requests(2)[0]).text() == "to question 2"
    assert [one.text() for one in caller.ask_batch(requests(1, 3))] == ["to question 1", "to question 3"]
    carried = [len(one.body["requests"]) for one in desk.server.asked(BATCHES) if one.body]
    assert (carried, desk.requests()) == ([2, 1], 0)


def test_the_batch_of_another_study_is_not_taken_for_the_lost_one(desk: Desk, tmp_path: Path) -> None:
    desk.server.script = echo
    (tmp_path / "other").mkdir()
    with opened_desk(tmp_path / "other") as other:
        asked = [replace(one, messages=[{"role": "user", "content": "something else"}]) for one in requests(1, 2)]
        other.caller(base_url=desk.server.url).ask_batch(asked)
    desk.server.failures = {BATCHES: [Reply(drop="before")]}
    caller = desk.caller()
    answers = caller.ask_batch(requests(1, 2))
    assert [one.text() for one in answers] == ["to question 1", "to question 2"]
    assert caller.spent_usd > sum(one.cost_usd for one in answers) + 2 * 1000 * 20 / 1e6 / 2


def test_a_service_that_lists_no_batches_is_asked_for_another(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.failures = {BATCHES: [Reply(drop="amid")], "/batches?limit=100": [error(404)]}
    assert [one.text() for one in desk.caller().ask_batch(requests(1))] == ["to question 1"]
    assert len(desk.server.batches) == 2


ASK = """
import sys, threading
from data.study import Study
from search.claude.calls import Caller, Journal, Prices, Request

caller = Caller(journal=Journal(Study.open(sys.argv[1])), prices=Prices.read(), max_usd=None,
                say=lambda line: print(line, flush=True), stopping=threading.Event(), base_url=sys.argv[2])
asked = [Request(key=f"e{n}", purpose="propose", model="claude-opus-5-5", max_tokens=100,
                 messages=[{"role": "user", "content": f"question {n}"}]) for n in range(3)]
for answer in caller.ask_batch(asked):
    print(answer.text(), flush=True)
"""


def test_a_process_killed_while_its_batch_runs_finds_it_again(desk: Desk) -> None:
    desk.server.script = echo
    desk.server.batch_polls = 10**6
    command = [sys.executable, "-c", ASK, str(desk.study.path), desk.server.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("waiting for a batch of 3")
        first.send_signal(signal.SIGKILL)
    desk.server.batch_polls = 1
    second = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert second.stdout.splitlines() == [f"to question {n}" for n in range(3)]
    assert len(desk.server.asked(BATCHES)) == 1


class Gate(threading.Event):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)


def test_a_process_killed_while_its_batch_is_made_finds_it_again(desk: Desk) -> None:
    desk.server.script = echo
    gate = Gate()
    desk.server.failures = {BATCHES: [Reply(drop="amid", gate=gate)]}
    command = [sys.executable, "-c", ASK, str(desk.study.path), desk.server.url]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment) as first:
        assert gate.reached.wait(60)
        first.send_signal(signal.SIGKILL)
    gate.set()
    second = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert second.stdout.splitlines() == [f"to question {n}" for n in range(3)]
    assert len(desk.server.asked(BATCHES)) == len(desk.server.batches) == 1
    costs = {row["request_id"]: row["cost_usd"] for row in desk.rows()}
    assert desk.caller().spent_usd == pytest.approx(sum(costs[f"e{n}"] for n in range(3)))
