"""Scripted researchers for the loopback server: what a model might answer, well and badly."""

import json
import re
import threading
from collections.abc import Callable
from typing import Any

from messages_server import Reply, text, tools

Body = dict[str, Any]
Answerer = Callable[[Body], Reply]

GELU = "h = functional.gelu(h)"
NAMES = (
    "relu",
    "silu",
    "elu",
    "selu",
    "mish",
    "celu",
    "leaky_relu",
    "hardswish",
    "softsign",
    "tanh",
    "relu6",
    "sigmoid",
)


def opening(body: Body) -> str:
    """The first thing that was said to the model."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else str(content[0]["text"])


def is_repair(body: Body) -> bool:
    """Whether it is asked to put an edit right."""
    return opening(body).startswith("# Repair")


def exchange_of(body: Body) -> int:
    """The number of the exchange."""
    found = re.match(r"# Exchange (\d+)", opening(body))
    assert found is not None
    return int(found[1])


def wanted(body: Body) -> int:
    """How many edits are asked for."""
    found = re.search(r"^Propose (\d+) edit", opening(body), re.MULTILINE)
    assert found is not None
    return int(found[1])


def results(body: Body) -> list[Any]:
    """What the tools gave in the turn before, parsed where it is JSON; none at the beginning."""
    content = body["messages"][-1]["content"]
    blocks = [] if isinstance(content, str) else [one for one in content if one["type"] == "tool_result"]
    return [_parsed(str(block["content"])) for block in blocks]


def edit(place: int, **fields: Any) -> Body:
    """The input of a call of `propose` that applies; another one for each place."""
    name, factor = NAMES[place % len(NAMES)], 1 + place // len(NAMES)
    return {
        "title": f"Use {name} times {factor}",
        "hypothesis": f"What {name} lets through is worth more than what it holds back.",
        "category": "activation",
        "expected_effect": 0.01,
        "expected_scaling": "constant",
        "scale_rule": "constant",
        "replacements": [{"old": GELU, "new": f"h = {factor} * functional.{name}(h)"}],
        "diff": "",
        "knobs": [],
        **fields,
    }


def propose(*edits: Body) -> Reply:
    """An answer with a call of `propose` for each."""
    return tools(*(("propose", one) for one in edits))


def good(body: Body) -> Reply:
    """Asks one question, reads one recipe, and then proposes."""
    if not is_repair(body) and not results(body):
        counted = {"sql": "select category, count(*) as tried from trials group by category"}
        return tools(("query", counted), ("read_recipe", {"recipe": "baseline", "first_line": 1, "last_line": 40}))
    return plain(body)


def plain(body: Body) -> Reply:
    """Asks nothing, and proposes as many edits as are wanted, never one twice."""
    if is_repair(body):
        return propose(edit(1_000))
    first = 6 * exchange_of(body)
    return propose(*(edit(first + place) for place in range(wanted(body))))


class Scripted:
    """Gives the listed answers one after the other, then those of another researcher; keeps what it was asked."""

    def __init__(self, *replies: Reply | Answerer, then: Answerer = plain) -> None:
        self.replies = list(replies)
        self.then = then
        self.asked: list[Body] = []
        self._lock = threading.Lock()

    def __call__(self, body: Body) -> Reply:
        with self._lock:
            self.asked.append(body)
            reply = self.replies.pop(0) if self.replies else self.then
        return reply(body) if callable(reply) else reply


def sloppy() -> list[Reply]:
    """Answers of a careless model, each of another kind; none of them holds an edit that applies."""
    broken = Reply([{"type": "tool_use", "name": "propose", "input": {}, "raw": '{"title": "Half a th'}], "max_tokens")
    return [
        text("I would try a squared ReLU. Shall I go on?"),
        Reply([], "end_turn"),
        broken,
        tools(("propose", {"title": "Nothing else"})),
        tools(("propose", edit(1, category="astrology"))),
        tools(("propose", edit(1, replacements=[], diff="", knobs=[]))),
        tools(("write_file", {"path": "/tmp/x"})),
        tools(("query", {"statement": "select 1"})),
        Reply([{"type": "text", "text": "The context"}], "model_context_window_exceeded"),
    ]


def _parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError:
        return content
