"""A streamed message, put together from its events."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from search.claude.messages import Block, deep
from search.claude.prices import Usage

_JOINED = {"text_delta": "text", "thinking_delta": "thinking"}
_COUNTED = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
# What a row can hold.
_MOST_TOKENS = 2**63


@dataclass
class Message:
    """What has come so far. whole: whether the service said that it is all.

    The SDK would complete a tool call's input that was cut off, and fail on one that is no JSON; here both are kept
    apart as `broken`, and so is one that is nested too deep. usage: None once it was told in no readable way.
    """

    content: list[Block] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    usage: dict[str, Any] | None = field(default_factory=dict)
    model: object = None
    stop_reason: object = None
    refusal_category: object = None
    whole: bool = False
    _inputs: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, message: dict[str, Any]) -> Message:
        """A message that came in one piece."""
        told = message.get("content")
        made = cls(content=[block for block in told if isinstance(block, dict)] if isinstance(told, list) else [])
        made.whole = True
        made._open(message)
        made._stop(message)
        for block in made.content:
            if block.get("type") == "tool_use" and deep(block.get("input")):
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
            self._count(event.get("usage"))
        elif kind == "message_stop":
            for index in list(self._inputs):
                self._close(index)
            self.whole = True

    def used(self) -> Usage | None:
        """Tokens by what they cost; cache writes of unsaid duration count as the dearer ones, of an hour.

        None where what was told is no count of tokens.
        """
        usage = self.usage or {}
        details = usage.get("cache_creation") or {}
        told = [usage.get(name) for name in _COUNTED]
        told.append(details.get("ephemeral_5m_input_tokens") if isinstance(details, dict) else details)
        counts = [0 if one is None else one for one in told]
        if not usage or not all(type(one) is int and 0 <= one < _MOST_TOKENS for one in counts):
            return None
        new, read, written, output, short = counts
        return Usage(
            input=new,
            cache_read=read,
            cache_write_5m=min(short, written),
            cache_write_1h=max(0, written - short),
            output=output,
        )

    def _open(self, message: dict[str, Any]) -> None:
        self.model = message.get("model")
        self._count(message.get("usage"))

    def _count(self, told: object) -> None:
        if self.usage is None or not isinstance(told, dict):
            self.usage = None
        else:
            self.usage.update({name: count for name, count in told.items() if count is not None})

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
        if not isinstance(block["input"], dict) or deep(block["input"]):
            self._break(block, raw)

    def _break(self, block: Block, raw: str) -> None:
        block["input"] = {}
        if isinstance(block.get("id"), str):
            self.broken[block["id"]] = raw

    def _stop(self, told: dict[str, Any]) -> None:
        self.stop_reason = told.get("stop_reason") or self.stop_reason
        details = told.get("stop_details")
        self.refusal_category = details.get("category") if isinstance(details, dict) else None
