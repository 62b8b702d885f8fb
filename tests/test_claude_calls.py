"""A model is asked at most once for each key, within its budget, and what goes wrong is waited out or told."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_server import KEY, MessagesServer, Reply, error, refusal, text, tools

from data.store import Store
from data.study import Study
from search.claude.calls import (
    BudgetSpentError,
    Caller,
    ContextFullError,
    Journal,
    KeyRefusedError,
    Prices,
    Request,
    RequestRefusedError,
    ServiceDownError,
    StoppedError,
    require_key,
)

MODEL = "claude-opus-5-5"
PRICES = Prices.read()


class Desk:
    """A study, a server with its script, and callers on them that do not really wait."""

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


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    made = Desk(tmp_path)
    yield made
    for one in made.callers:
        one.close()
    made.server.close()


def request(key: str = "e0001.t1", **fields: Any) -> Request:
    asked = {"purpose": "propose", "model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": "Go"}]}
    return Request(key=key, **{**asked, **fields})


def test_an_answer_comes_with_what_it_cost_and_is_a_row(desk: Desk) -> None:
    desk.replies = [tools(("query", {"sql": "select 1"}))]
    tool = {"name": "query", "input_schema": {"type": "object"}, "description": "x" * 4000}
    given = request(tools=[tool], effort="high", tool_choice={"type": "auto"}, trial_id="t1")
    answer = desk.caller().ask(given)
    assert answer.stop_reason == "tool_use"
    assert [call["input"] for call in answer.tool_calls()] == [{"sql": "select 1"}]
    (row,) = desk.rows()
    assert (row["request_id"], row["trial_id"], row["purpose"], row["model"]) == ("e0001.t1", "t1", "propose", MODEL)
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


def test_told_to_stop_while_waiting_it_stops_and_nothing_is_counted(desk: Desk) -> None:
    def stop(_: dict[str, Any]) -> Reply:
        desk.stopping.set()
        return error(529)

    desk.replies = [stop]
    caller = desk.caller(wait=None)
    with pytest.raises(StoppedError):
        caller.ask(request())
    assert caller.spent_usd == 0
    with pytest.raises(StoppedError):
        caller.ask(request("another"))
    assert desk.requests() == 1


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


@pytest.mark.parametrize("loss", LOSSES)
def test_a_request_lost_on_its_way_counts_at_its_worst_and_is_asked_again(desk: Desk, loss: str) -> None:
    desk.server.script = desk.next
    desk.replies = [LOSSES[loss], LOSSES[loss]] if loss != "gateway" else [error(503), error(503)]
    if loss == "gateway":
        pytest.skip("told by its own test")
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


@pytest.mark.parametrize("raw", ['{"sql": "sel', '{"sql" nonsense', "[1]", '{"a": ' * 3000])
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
    desk.replies = [error(400, "Your credit balance is too low to access the Anthropic API."), error(402)]
    for _ in range(2):
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
    assert held.wait(30)
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
