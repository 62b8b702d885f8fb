"""A streamed message, put together from its events."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from search.claude.messages import Block
from search.claude.prices import Usage

_JOINED = {"text_delta": "text", "thinking_delta": "thinking"}
# An input nested deeper can neither be written down nor sent back.
_DEEPEST = 100


@dataclass
class Message:
    """What has come so far. whole: whether the service said that it is all.

    The SDK would complete a tool call's input that was cut off, and fail on one that is no JSON; here both are kept
    apart as `broken`, and so is one that is nested too deep.
    """

    content: list[Block] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    stop_reason: str = ""
    refusal_category: str | None = None
    whole: bool = False
    _inputs: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, message: dict[str, Any]) -> Message:
        """A message that came in one piece."""
        made = cls(content=message["content"], whole=True)
        made._open(message)
        made._stop(message)
        for block in made.content:
            if block["type"] == "tool_use" and _deep(block["input"]):
                made._break(block, "")
        return made

    def add(self, event: dict[str, Any]) -> None:
        """Take in the next event; unknown ones are passed over."""
        kind = event["type"]
        if kind == "message_start":
            self._open(event["message"])
        elif kind == "content_block_start":
            self.content.append(dict(event["content_block"]))
        elif kind == "content_block_delta":
            self._extend(event["index"], event["delta"])
        elif kind == "content_block_stop":
            self._close(event["index"])
        elif kind == "message_delta":
            self._stop(event["delta"])
            self.usage.update({name: told for name, told in event["usage"].items() if told is not None})
        elif kind == "message_stop":
            for index in list(self._inputs):
                self._close(index)
            self.whole = True

    def used(self) -> Usage:
        """Tokens by what they cost; cache writes of unsaid duration count as the dearer ones, of an hour."""
        usage = self.usage
        written = usage.get("cache_creation_input_tokens") or 0
        short = (usage.get("cache_creation") or {}).get("ephemeral_5m_input_tokens") or 0
        return Usage(
            input=usage.get("input_tokens") or 0,
            cache_read=usage.get("cache_read_input_tokens") or 0,
            cache_write_5m=min(short, written),
            cache_write_1h=max(0, written - short),
            output=usage.get("output_tokens") or 0,
        )

    def _open(self, message: dict[str, Any]) -> None:
        self.model = message["model"]
        self.usage = dict(message["usage"])

    def _extend(self, index: int, delta: dict[str, Any]) -> None:
        block, kind = self.content[index], delta["type"]
        if kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]
        elif kind in _JOINED:
            name = _JOINED[kind]
            block[name] = (block.get(name) or "") + delta[name]
        elif kind == "signature_delta":
            block["signature"] = delta["signature"]
        elif kind == "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]

    def _close(self, index: int) -> None:
        raw = self._inputs.pop(index, "")
        if not raw.strip():
            return
        block = self.content[index]
        try:
            block["input"] = json.loads(raw)
        except (ValueError, RecursionError):
            block["input"] = None
        if not isinstance(block["input"], dict) or _deep(block["input"]):
            self._break(block, raw)

    def _break(self, block: Block, raw: str) -> None:
        block["input"] = {}
        self.broken[block["id"]] = raw

    def _stop(self, told: dict[str, Any]) -> None:
        self.stop_reason = told.get("stop_reason") or self.stop_reason
        details = told.get("stop_details") or {}
        self.refusal_category = details.get("category")


def _deep(value: object) -> bool:
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [part for one in layer for part in _parts(one)]
    return bool(layer)


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
