"""A model is asked at most once for each key; what it answers, and what it costs, is on disk first."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claude_desk import MODEL, Desk, opened_desk, request
from messages_server import KEY, Reply, error, refusal, text, tools

from search.claude.calls import (
    ContextFullError,
    KeyRefusedError,
    RequestRefusedError,
    require_key,
)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with opened_desk(tmp_path) as made:
        yield made


def test_an_answer_comes_with_what_it_cost_and_is_a_row(desk: Desk) -> None:
    desk.replies = [tools(("query", {"sql": "select 1"}))]
    tool = {"name": "query", "input_schema": {"type": "object"}, "description": "x" * 4000}
    given = request(tools=[tool], effort="high", tool_choice={"type": "auto"}, slug="t1")
    answer = desk.caller().ask(given)
    assert answer.stop_reason == "tool_use"
    assert [call["input"] for call in answer.tool_calls()] == [{"sql": "select 1"}]
    (row,) = desk.rows()
    assert (row["request_id"], row["slug"], row["purpose"], row["model"]) == ("e0001.t1", "t1", "propose", MODEL)
    assert row["api_request_id"] == answer.api_request_id == desk.server.asked()[0].request_id
    assert desk.caller().ask(given) == answer
    used = desk.server.asked()[0].usage
    assert used["input_tokens"] > 1000
    assert row["cost_usd"] == pytest.approx((used["input_tokens"] * 4 + used["output_tokens"] * 20) / 1e6)
    assert (row["input_tokens"], row["output_tokens"]) == (used["input_tokens"], used["output_tokens"])
    assert row["seconds"] > 0
    body = desk.server.asked()[0].body
    assert (body["output_config"], body["tool_choice"]) == ({"effort": "high"}, {"type": "auto"})
    assert "temperature" not in body


def test_a_fixed_prefix_is_cached_for_an_hour_and_paid_as_such(desk: Desk) -> None:
    prefix = [{"type": "text", "text": "rules " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    caller = desk.caller()
    first = caller.ask(request("a", system=prefix))
    second = caller.ask(request("b", system=prefix))
    assert (first.cached_tokens, second.cache_write_tokens) == (0, 0)
    assert first.cache_write_tokens == second.cached_tokens > 2000
    tail = (first.input_tokens * 4 + first.output_tokens * 20) / 1e6
    assert first.cost_usd == pytest.approx(first.cache_write_tokens * 8 / 1e6 + tail)
    assert second.cost_usd == pytest.approx(second.cached_tokens * 0.2 / 1e6 + tail)
    assert caller.spent_usd == pytest.approx(first.cost_usd + second.cost_usd)


def test_a_key_that_was_answered_is_never_asked_again(desk: Desk) -> None:
    thought = {"type": "thinking", "thinking": "hm ✓", "signature": "c2ln"}
    desk.replies = [Reply([thought, {"type": "text", "text": "yes \ud83d"}])]
    caller = desk.caller()
    first = caller.ask(request())
    assert caller.ask(request()) == first
    again = desk.caller()
    assert again.ask(request()) == first
    assert first.content == [thought, {"type": "text", "text": "yes \ud83d"}]
    assert again.spent_usd == caller.spent_usd > 0
    assert desk.requests() == 1


@pytest.mark.parametrize("category", ["frontier_llm", None])
def test_a_refusal_is_an_answer_without_content(desk: Desk, category: str | None) -> None:
    desk.replies = [refusal(category)]
    answer = desk.caller().ask(request())
    assert (answer.stop_reason, answer.refusal_category, answer.content) == ("refusal", category, [])
    assert desk.rows()[0]["refusal_category"] == category
    assert desk.caller().ask(request()) == answer


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_context_window_exceeded", "pause_turn", "end_turn"])
def test_however_an_answer_stops_it_is_an_answer(desk: Desk, stop_reason: str) -> None:
    desk.replies = [Reply([], stop_reason)]
    assert desk.caller().ask(request()).stop_reason == stop_reason


BROKEN = ['{"sql": "sel', '{"sql" nonsense', "[1]", '{"a": ' * 3000, '{"a": ' * 700 + "1" + "}" * 700]


@pytest.mark.parametrize("raw", BROKEN)
def test_a_tool_call_that_is_no_whole_object_is_kept_apart(desk: Desk, raw: str) -> None:
    desk.replies = [Reply([{"type": "tool_use", "name": "query", "raw": raw}], "max_tokens")]
    answer = desk.caller().ask(request())
    (call,) = answer.tool_calls()
    assert call["input"] == {}
    assert answer.broken == {call["id"]: raw}
    assert desk.caller().ask(request()) == answer


def test_a_request_that_the_service_does_not_take_says_why_and_is_not_sent_twice(desk: Desk) -> None:
    for _ in range(2):
        with pytest.raises(RequestRefusedError, match=r"does not take .* \(400: messages.0: all messages must have"):
            desk.caller().ask(request(messages=[{"role": "user", "content": []}]))
    assert desk.requests() == 1
    assert [row["stop_reason"] for row in desk.rows()] == ["rejected"]
    assert desk.waits == []


def test_a_request_that_was_not_taken_is_sent_again_once_that_is_forgotten(desk: Desk) -> None:
    desk.replies = [error(400), text("yes")]
    with pytest.raises(RequestRefusedError):
        desk.caller().ask(request())
    answered = desk.caller().ask(request("e0002.t1"))
    caller = desk.caller()
    caller.forget(["e0001.t1", "e0002.t1", "never asked"])
    with pytest.raises(RequestRefusedError):
        desk.replies = [error(400)]
        caller.ask(request())
    caller.forget(["e0001.t1"])
    later = desk.caller()
    assert later.ask(request()).text() == "as you like"
    assert later.ask(request("e0002.t1")) == answered
    assert desk.requests() == 4


UNSENDABLE: dict[str, dict[str, Any]] = {
    "infinite": {"effect": float("inf")},
    "no number": {"effect": float("nan")},
    "half a character": {"title": "gelu \ud83d"},
    "nested": {"title": None},
}


@pytest.mark.parametrize("kind", UNSENDABLE)
def test_what_no_request_can_carry_is_refused_before_it_is_sent_and_costs_nothing(desk: Desk, kind: str) -> None:
    given = UNSENDABLE[kind]
    for _ in range(2000 if kind == "nested" else 0):
        given = {"title": given}
    call = {"type": "tool_use", "id": "toolu_1", "name": "propose", "input": given}
    for max_usd in (None, 0.001):
        caller = desk.caller(max_usd=max_usd)
        with pytest.raises(RequestRefusedError, match="The SDK does not send the request"):
            caller.ask(request(messages=[{"role": "assistant", "content": [call]}]))
        assert caller.spent_usd == 0
    assert not [row for row in desk.rows() if row["stop_reason"] not in {"rejected", "withdrawn"}]
    assert desk.requests() == 0


def test_too_long_a_prompt_is_told_apart(desk: Desk) -> None:
    desk.server.context_tokens = 50
    for _ in range(2):
        with pytest.raises(ContextFullError, match="tokens > 50 maximum"):
            desk.caller().ask(request(messages=[{"role": "user", "content": "x" * 1000}]))
    with pytest.raises(ContextFullError):
        desk.replies = [error(413)]
        desk.caller().ask(request("b"))
    assert desk.requests() == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_ends_it_with_one_sentence(desk: Desk, status: int) -> None:
    desk.replies = [error(status)]
    with pytest.raises(KeyRefusedError, match=f"refuses the key \\({status}: ") as refused:
        desk.caller().ask(request())
    assert refused.value.exit_status == 2
    assert desk.caller().ask(request()).text() == "as you like"


def test_an_account_without_credit_is_no_fault_of_the_request(desk: Desk) -> None:
    desk.replies = [
        error(400, "Your credit balance is too low to access the Anthropic API."),
        error(400, "You have reached your specified API usage limits. You will regain access on 2026-12-01."),
        error(400, "This organization has been disabled."),
        error(402),
    ]
    for _ in range(4):
        with pytest.raises(KeyRefusedError, match="may not spend"):
            desk.caller().ask(request())
    assert desk.caller().ask(request()).text() == "as you like"


def test_key_and_model_are_checked_before_anything_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.caller().check(MODEL)
    with pytest.raises(Exception, match=r"price of claude-opus-9 is not known .* give a file of prices"):
        desk.caller().check("claude-opus-9")
    desk.server.key = "another"
    with pytest.raises(KeyRefusedError):
        desk.caller().check(MODEL)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
    with pytest.raises(KeyRefusedError, match="There is no key for Claude; set ANTHROPIC_API_KEY"):
        require_key(desk.server.url)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-with-a-newline\n")
    with pytest.raises(KeyRefusedError, match="a line break") as refused:
        require_key()
    assert "sk-with" not in str(refused.value)
    assert desk.requests() == 0


def test_the_key_stays_out_of_rows_errors_and_the_screen(desk: Desk) -> None:
    desk.replies = [error(529, f"busy with {KEY}"), error(400, f"no such thing: {KEY}")]
    with pytest.raises(RequestRefusedError, match=r"no such thing: \(key\)"):
        desk.caller().ask(request())
    written = "".join(path.read_text() for path in desk.study.spool.rglob("*.jsonl"))
    assert "no such thing" in written
    assert KEY not in written + "".join(desk.said)


def test_a_row_without_a_column_for_the_services_own_name_is_read(desk: Desk) -> None:
    told = {"content": [{"type": "text", "text": "yes"}], "broken": {}, "api_request_id": "req_old"}
    with desk.study.writer() as writer:
        writer.append("llm_call", request_id="e0001.t1", model=MODEL, stop_reason="end_turn", answer=told)
    answer = desk.caller().ask(request())
    assert (answer.text(), answer.api_request_id) == ("yes", "req_old")


ASK = """
import sys, threading
from data.study import Study
from search.claude.calls import Caller, Journal, Prices, Request

study = Study.open(sys.argv[1])
caller = Caller(journal=Journal(study), prices=Prices.read(), max_usd=None, say=print,
                stopping=threading.Event(), base_url=sys.argv[2])
for number in range(6):
    message = {"role": "user", "content": f"question {number}"}
    request = Request(key=f"e{number}", purpose="propose", model="claude-opus-5-5", max_tokens=100, messages=[message])
    print(caller.ask(request).text(), flush=True)
"""


def test_killed_between_and_amid_answers_it_pays_for_none_of_them_twice(desk: Desk) -> None:
    gate, held = threading.Event(), threading.Event()

    def answer(body: dict[str, Any]) -> Reply:
        question = body["messages"][0]["content"]
        first = len([one for one in desk.server.asked() if one.body["messages"][0]["content"] == question]) == 1
        if question == "question 3" and first:
            held.set()
            return Reply([{"type": "text", "text": "too late"}], gate=gate)
        return text(f"to {question}")

    desk.server.script = answer
    command = [sys.executable, "-c", ASK, str(desk.study.path), desk.server.url]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert held.wait(120)
    first.send_signal(signal.SIGKILL)
    told = first.communicate()[0].splitlines()
    gate.set()
    assert told == ["to question 0", "to question 1", "to question 2"]
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert second.stdout.splitlines() == [f"to question {number}" for number in range(6)]
    questions = [one.body["messages"][0]["content"] for one in desk.server.asked()]
    assert questions == [f"question {number}" for number in (0, 1, 2, 3, 3, 4, 5)]
    lost = [row for row in desk.rows() if row["stop_reason"] == "lost"]
    assert [(row["request_id"], "process ended" in row["error"]) for row in lost] == [("e3~1", True)]
    assert desk.caller().spent_usd == pytest.approx(sum(row["cost_usd"] for row in desk.rows()))
