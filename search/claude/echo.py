"""What a model said, as it can be said back to it."""

from __future__ import annotations

import json
from dataclasses import replace

from search.claude.messages import Answer, Block


def repeatable(answer: Answer) -> Answer:
    """The answer as the next request can carry it.

    JSON as a model writes it can hold half a character, or a number beyond all bounds; no request can. The input of a
    tool call that holds such a thing becomes empty, and the call counts as broken; other such blocks are left out.
    """
    content, broken = [], set[str]()
    for block in answer.content:
        if _can_be_sent(block):
            content.append(block)
        elif block.get("type") == "tool_use":
            content.append({**block, "input": {}})
            broken.add(block["id"])
    return replace(answer, content=content, broken={**dict.fromkeys(broken, ""), **answer.broken})


def _can_be_sent(block: Block) -> bool:
    # The service gives empty text now and then, and does not take it back.
    if block.get("type") == "text" and not block["text"].strip():
        return False
    try:
        json.dumps(block, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return True
