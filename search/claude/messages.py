"""A request to a model, and its answer, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]

# What is nested deeper can neither be written down nor sent back.
_DEEPEST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of the Messages protocol.

    key: its name in the journal, stable over restarts; a request of a known key is answered from the journal.
    purpose: what it is for, in one word. effort: how much the model shall think, None for its own default.
    exchange: the conversation that it belongs to. slug: that of the proposal to be repaired.
    """

    key: str
    purpose: str
    model: str
    messages: list[dict[str, Any]]
    max_tokens: int
    system: list[Block] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: dict[str, Any] | None = None
    effort: str | None = None
    exchange: str | None = None
    slug: str | None = None

    def prompt(self) -> dict[str, Any]:
        """What is counted as input."""
        parts: dict[str, Any] = {"model": self.model, "messages": self.messages}
        if self.system:
            parts["system"] = self.system
        if self.tools:
            parts["tools"] = self.tools
        if self.tool_choice is not None:
            parts["tool_choice"] = self.tool_choice
        if self.effort is not None:
            parts["output_config"] = {"effort": self.effort}
        return parts

    def body(self) -> dict[str, Any]:
        """What is sent."""
        return {**self.prompt(), "max_tokens": self.max_tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a request; input_tokens are those neither read from the cache nor written to it.

    stop_reason: the service's own word (end_turn, tool_use, max_tokens, refusal, pause_turn, ...), or for a request
    that got no message rejected (it was not taken), errored (too long) or lost; error says why. broken: by the id of a
    tool call, the text of an input that is no whole JSON object; its block in the content has an empty input.
    seconds: from sending the request to the answer's end, waiting for other tries left out. api_request_id: the
    service's own name for it.
    """

    key: str
    content: list[Block]
    stop_reason: str
    model: str
    refusal_category: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    api_request_id: str | None = None
    error: str = ""
    broken: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """What it says in prose."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")

    def tool_calls(self) -> list[Block]:
        """The tool_use blocks, in their order."""
        return [block for block in self.content if block.get("type") == "tool_use"]


def usable(content: object) -> list[Block]:
    """The blocks of an answer that can be acted on and said back, others left out.

    Text has a text, and a tool call a name and an id; an input that is no object becomes empty.
    """
    blocks = content if isinstance(content, list) else []
    return [_whole(block) for block in blocks if isinstance(block, dict) and _is_usable(block)]


def deep(value: object) -> bool:
    """Whether a JSON value is nested too deep to be handled."""
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [part for one in layer for part in _parts(one)]
    return bool(layer)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_usable(block: Block) -> bool:
    kind = block.get("type")
    if kind == "tool_use":
        return bool(_is_name(block.get("id")) and _is_name(block.get("name")))
    return isinstance(kind, str) and (kind != "text" or isinstance(block.get("text"), str)) and not deep(block)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _whole(block: Block) -> Block:
    if block["type"] != "tool_use" or isinstance(block.get("input"), dict):
        return block
    return {**block, "input": {}}
