"""What a scripted model answers to a request of the Messages protocol, and the shape in which it is sent."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

ERRORS = {
    400: ("invalid_request_error", "Invalid request"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your account has an unpaid invoice"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: nothing-of-that-name"),
    408: ("timeout_error", "Request timed out"),
    409: ("conflict_error", "Conflict"),
    413: ("request_too_large", "Request exceeds the maximum allowed number of bytes."),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    504: ("timeout_error", "Gateway timeout"),
    529: ("overloaded_error", "Overloaded"),
}

Block = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the model answers, or how the service fails.

    output_tokens: a token per four bytes where it is not given. status: an error of that status instead of an answer.
    stream_error: the type of an error event amid the stream. drop: the connection breaks, before or amid the answer.
    gate: the answer waits until it is set. batch: how the request ends as part of a batch. A tool_use block that
    has a text `raw` streams that in the place of its input.
    """

    content: list[Block] = field(default_factory=list)
    stop_reason: str = "end_turn"
    category: str | None = None
    output_tokens: int | None = None
    status: int | None = None
    message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stream_error: str | None = None
    drop: Literal["before", "amid"] | None = None
    gate: threading.Event | None = None
    batch: Literal["expired", "canceled"] | None = None


Researcher = Callable[[dict[str, Any]], Reply]


def text(words: str, stop_reason: str = "end_turn") -> Reply:
    """An answer in prose."""
    return Reply([{"type": "text", "text": words}], stop_reason)


def tools(*calls: tuple[str, dict[str, Any]]) -> Reply:
    """An answer that calls tools; the calls' ids are made when it is sent."""
    return Reply([{"type": "tool_use", "name": name, "input": given} for name, given in calls], "tool_use")


def polite(body: dict[str, Any]) -> Reply:
    """A script that has nothing to say."""
    return text(f"as you like, {len(body['messages'])} times")


def refusal(category: str | None = "frontier_llm", words: str = "") -> Reply:
    """A refusal with status 200, its content empty unless words are given."""
    return Reply([{"type": "text", "text": words}] if words else [], "refusal", category)


def error(status: int, message: str | None = None, *, retry_after: float | None = None) -> Reply:
    """An error status."""
    return Reply(
        status=status, message=message, headers={} if retry_after is None else {"retry-after": f"{retry_after:g}"}
    )


def error_body(reply: Reply, request_id: str) -> dict[str, Any]:
    """An error in the shape of the protocol."""
    kind, message = ERRORS[reply.status or 500]
    return {
        "type": "error",
        "error": {"type": kind, "message": message if reply.message is None else reply.message},
        "request_id": request_id,
    }


def events(message: dict[str, Any], reply: Reply) -> Iterator[dict[str, Any]]:
    """The events of a streamed answer, from start to stop."""
    usage = message["usage"]
    opening = {**message, "content": [], "stop_reason": None, "stop_details": None}
    yield {"type": "message_start", "message": {**opening, "usage": {**usage, "output_tokens": 1}}}
    yield {"type": "ping"}
    for index, (block, told) in enumerate(zip(message["content"], reply.content, strict=True)):
        yield from _block_events(index, block, told.get("raw"))
    stopped = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": usage["output_tokens"]}}
    yield {"type": "message_stop"}


def _block_events(index: int, block: Block, raw: str | None) -> Iterator[dict[str, Any]]:
    kinds = {"text": ("text", "text_delta", "text"), "thinking": ("thinking", "thinking_delta", "thinking")}
    if block["type"] == "tool_use":
        whole, kind, name = raw if raw is not None else json.dumps(block["input"]), "input_json_delta", "partial_json"
        opened = {**block, "input": {}}
    else:
        field_, kind, name = kinds[block["type"]]
        whole, opened = block[field_], {**block, field_: ""} | ({"signature": ""} if "signature" in block else {})
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    step = max(1, -(-len(whole) // 3))
    for start in range(0, len(whole), step):
        delta = {"type": kind, name: whole[start : start + step]}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    if "signature" in block:
        signed = {"type": "signature_delta", "signature": block["signature"]}
        yield {"type": "content_block_delta", "index": index, "delta": signed}
    yield {"type": "content_block_stop", "index": index}
