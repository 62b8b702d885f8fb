"""The server that stands for the model's service is as strict as the service, and works as a process of its own."""

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from messages_rules import WrongRequestError, check
from messages_server import KEY

import scaleproof
from data.study import Study
from search.claude.calls import Caller, Journal, Prices, Request

CALL = {"type": "tool_use", "id": "toolu_1", "name": "query", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}
TOOL: dict[str, Any] = {
    "name": "query",
    "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
}
MARKED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}


def body(*contents: Any, **fields: Any) -> dict[str, Any]:
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": content} for place, content in enumerate(contents or ["Hello"])]
    return {"model": "claude-opus-5", "max_tokens": 10, "messages": messages, "tools": [TOOL], **fields}


def strict(**schema: Any) -> dict[str, Any]:
    return {**TOOL, "strict": True, "input_schema": {**TOOL["input_schema"], **schema}}


def test_what_the_service_takes_it_takes() -> None:
    check(body("Hello", [CALL], [RESULT, {"type": "text", "text": "go on"}]))
    check(body(tools=[strict()], tool_choice={"type": "tool", "name": "query"}))
    check(body([MARKED], output_config={"effort": "low"}, thinking={"type": "adaptive"}))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (body(temperature=1.0), "temperature: Extra inputs"),
        ({name: part for name, part in body().items() if name != "max_tokens"}, "max_tokens: Field required"),
        (body("Hello", "Hi"), "prefill"),
        ({**body(), "messages": [{"role": "assistant", "content": "Hi"}]}, "roles must alternate"),
        (body("Hello", [CALL], "never mind"), "`tool_use` ids were found without `tool_result`"),
        (body([RESULT]), "unexpected `tool_use_id`"),
        (body("Hello", [], "Hello?"), "non-empty content"),
        (body([{"type": "text", "text": " "}]), "text content blocks must be non-empty"),
        (body(output_config={"effort": "most"}), "effort"),
        (body(tools=[TOOL, TOOL]), "unique"),
        (body(tools=[strict(additionalProperties=True)]), "'additionalProperties' must be explicitly set to false"),
        (body(tools=[strict(properties={"n": {"type": "integer", "minimum": 1}})]), "property 'minimum' is not"),
        (body(tool_choice={"type": "any"}, model="claude-opus-5-5"), "not supported for this model"),
        (body(tool_choice={"type": "tool", "name": "other"}), "'other' not found"),
        (body([MARKED] * 5), "maximum of 4 blocks"),
        (body([{**MARKED, "cache_control": {"type": "ephemeral", "ttl": "1d"}}]), "ttl"),
        (
            body([MARKED, {**MARKED, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
            "must not come after a ttl='5m'",
        ),
    ],
)
def test_what_the_service_refuses_it_refuses(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongRequestError) as refused:
        check(wrong)
    assert words in str(refused.value)


def test_as_a_process_it_says_its_port_and_notes_what_it_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    log = tmp_path / "log.jsonl"
    server = Path(scaleproof.__file__).with_name("tests") / "messages_server.py"
    command = [sys.executable, str(server), "--script", "messages_replies:polite", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = f"http://127.0.0.1:{int(process.stdout.readline())}"
        caller = Caller(
            journal=Journal(Study.create(tmp_path / "study", {})),
            prices=Prices.read(),
            max_usd=1.0,
            say=print,
            stopping=threading.Event(),
            base_url=url,
        )
        messages = [{"role": "user", "content": "Hello"}]
        request = Request(key="a", purpose="propose", model="claude-opus-5", max_tokens=9, messages=messages)
        assert caller.ask(request).text() == "as you like, 1 times"
        # The same connection is served in order, so that what the first left is written once the second is answered.
        caller.ask(replace(request, key="b"))
        caller.close()
        process.kill()
    line = json.loads(log.read_text().splitlines()[0])
    assert (line["path"], line["status"], line["sent"]) == ("/v1/messages", 200, True)
