"""What the Messages protocol asks of a request, and how its prompt is counted and cached."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KNOWN = frozenset(
    {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stream", "metadata", "stop_sequences"}
    | {"thinking", "output_config", "service_tier", "cache_control", "inference_geo", "container"}
)
COUNTED = KNOWN - {"max_tokens", "stream", "metadata", "stop_sequences", "service_tier", "inference_geo", "container"}
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})
# These think before they act, and cannot be made to call a tool.
UNFORCED = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-", "claude-mythos-5-")
NOT_IN_STRICT = ("minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "uniqueItems")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


class WrongRequestError(Exception):
    """The request breaks a rule of the protocol; the message is the service's."""


def check(body: dict[str, Any], known: frozenset[str] = KNOWN) -> None:
    """Raise WrongRequestError for a request that the service would not take."""
    for name in body:
        _require(name in known, f"{name}: Extra inputs are not permitted")
    required = ("model", "messages", "max_tokens") if known is KNOWN else ("model", "messages")
    for name in required:
        _require(name in body, f"{name}: Field required")
    if known is KNOWN:
        _require(isinstance(body["max_tokens"], int) and body["max_tokens"] > 0, "max_tokens: must be at least 1")
    effort = body.get("output_config", {}).get("effort", "high")
    _require(effort in EFFORTS, f"output_config.effort: {effort!r} is not one of {sorted(EFFORTS)}")
    _check_tools(body)
    _check_breakpoints(body)
    _check_messages(body["messages"])


def _check_tools(body: dict[str, Any]) -> None:
    names = [tool.get("name", "") for tool in body.get("tools", [])]
    _require(len(set(names)) == len(names), "tools: Tool names must be unique.")
    for place, tool in enumerate(body.get("tools", [])):
        _require(bool(_NAME.fullmatch(tool.get("name", ""))), f"tools.{place}.name: String should match the pattern")
        schema = tool.get("input_schema", {})
        _require(schema.get("type") == "object", f"tools.{place}.input_schema.type: Field required")
        if tool.get("strict"):
            _check_strict(schema, f"tools.{place}.input_schema")
    forced = body.get("tool_choice", {}).get("type") in {"any", "tool"}
    _require(not (forced and not names), "tool_choice: may only be specified while providing tools")
    unforced = forced and str(body["model"]).startswith(UNFORCED)
    _require(not unforced, "tool_choice forces tool use, which is not supported for this model.")
    chosen = body.get("tool_choice", {}).get("name")
    _require(chosen is None or chosen in names, f"Tool '{chosen}' not found in provided tools")


def _check_strict(schema: Any, place: str) -> None:
    if isinstance(schema, list):
        for part in schema:
            _check_strict(part, place)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        _require(closed, f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for word in NOT_IN_STRICT:
        told = word in schema and not isinstance(schema[word], dict)
        _require(not told, f"{place}: For '{schema.get('type')}' type, property '{word}' is not supported")
    for name, part in schema.items():
        _check_strict(part, f"{place}.{name}")


def _check_breakpoints(body: dict[str, Any]) -> None:
    marked = [block["cache_control"] for block in blocks(body) if block.get("cache_control")]
    _require(len(marked) <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {len(marked)}.")
    for mark in marked:
        _require(mark.get("type") == "ephemeral", "cache_control.type: Input should be 'ephemeral'")
        _require(mark.get("ttl", "5m") in {"5m", "1h"}, "cache_control.ttl: Input should be '5m' or '1h'")
    lives = [mark.get("ttl", "5m") for mark in marked]
    order = "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block"
    _require(lives == sorted(lives), order)


def _check_messages(messages: list[dict[str, Any]]) -> None:
    _require(bool(messages), "messages: at least one message is required")
    asked: list[str] = []
    for place, message in enumerate(messages):
        role = "assistant" if place % 2 else "user"
        _require(message.get("role") == role, f"messages.{place}: roles must alternate between user and assistant")
        content = message.get("content")
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        _require(bool(content), f"messages.{place}: all messages must have non-empty content")
        for block in content or []:
            blank = block["type"] == "text" and not block["text"].strip()
            _require(not blank, f"messages.{place}: text content blocks must be non-empty")
        answered = [block["tool_use_id"] for block in content or [] if block["type"] == "tool_result"]
        unknown = sorted(set(answered) - set(asked))
        _require(not unknown, f"messages.{place}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown}")
        missing = sorted(set(asked) - set(answered))
        told = f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        _require(not missing, f"{told}{', '.join(missing)}")
        asked = [block["id"] for block in content or [] if block["type"] == "tool_use"]
    _require(messages[-1]["role"] == "user", "This model does not support assistant message prefill.")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise WrongRequestError(message)


def blocks(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every block of the prompt in the order in which it is cached: tools, system, messages."""
    yield from body.get("tools", [])
    system = body.get("system", [])
    yield from [{"type": "text", "text": system}] if isinstance(system, str) else system
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield {"role": message["role"], **block}


@dataclass
class Cache:
    """Prompts whose prefix was seen: what a request reads, writes and pays in full, in tokens of four bytes."""

    seen: set[str] = field(default_factory=set)

    def usage(self, body: dict[str, Any]) -> dict[str, Any]:
        """The input part of a usage, counting the prompt's marked prefixes as seen from now on."""
        prefixes = list(_prefixes(body))
        total = prefixes[-1][1]
        marked = [(digest, tokens, ttl) for digest, tokens, ttl in prefixes if ttl]
        read = max((tokens for digest, tokens, _ in prefixes if digest in self.seen), default=0)
        written = {"5m": 0, "1h": 0}
        end = read
        for digest, tokens, ttl in marked:
            written[str(ttl)] += max(0, tokens - end)
            end = max(end, tokens)
            self.seen.add(digest)
        return {
            "input_tokens": total - end,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": sum(written.values()),
            "cache_creation": {
                "ephemeral_5m_input_tokens": written["5m"],
                "ephemeral_1h_input_tokens": written["1h"],
            },
        }


def count(body: dict[str, Any]) -> int:
    """Tokens of the whole prompt."""
    return list(_prefixes(body))[-1][1]


def _prefixes(body: dict[str, Any]) -> Iterator[tuple[str, int, str | None]]:
    digest, size = hashlib.blake2b(str(body["model"]).encode(), digest_size=8), 0
    for block in blocks(body):
        text = json.dumps({name: part for name, part in block.items() if name != "cache_control"}, sort_keys=True)
        digest.update(text.encode())
        size += len(text)
        mark = block.get("cache_control")
        yield digest.hexdigest(), -(-size // 4), mark.get("ttl", "5m") if mark else None
