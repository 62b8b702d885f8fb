"""A researcher whose truth is known, for a search of many hours in minutes; see `soak.py`.

Of its proposals 4 % are truly good, 10 % do not apply and 5 % crash; the others change nothing that matters or do harm.
Of its requests 2 % are refused and 5 % meet an error of the service.
"""

import itertools
import random
from typing import Any

from messages_server import Reply, error, refusal, tools

RATE = 1.4e-3
"""The baseline's learning rate, a quarter of the tuned one: what raises it is truly good."""
PROPOSALS = 700
SHARES = {"good": 0.04, "misfit": 0.10, "crash": 0.05, "null": 0.46, "harm": 0.35}
PER_REQUEST = 6


def kinds(seed: int = 5) -> list[str]:
    """The kind of every proposal, in a random order that is always the same."""
    counted = [kind for kind, share in SHARES.items() for _ in range(round(share * PROPOSALS))]
    random.Random(seed).shuffle(counted)
    return counted


class Researcher:
    """Proposes in a fixed order; what it is told makes no difference to it."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.kinds = itertools.chain(kinds(), itertools.repeat("null"))
        self.number = itertools.count(1)
        self.choose = random.Random(6)

    def __call__(self, body: dict[str, Any]) -> Reply:
        """Answer a request."""
        luck = self.choose.random()
        if luck < 0.05:
            return error(self.choose.choice([500, 529, 429]))
        if luck < 0.07:
            return refusal(self.choose.choice(["frontier_llm", None]))
        if body["tool_choice"].get("name") == "propose" and "repair" in str(body["messages"][0])[:4000].lower():
            again = self.choose.choice(["null", "misfit"])
            return tools(("propose", proposal(again, next(self.number))))
        return tools(*(("propose", proposal(next(self.kinds), next(self.number))) for _ in range(PER_REQUEST)))


def proposal(kind: str, number: int) -> dict[str, Any]:
    """The input of a call of `propose`; the title begins with the kind, so that the end can be held against it."""
    knobs: dict[str, float] = {}
    replacements: list[tuple[str, str]] = []
    if kind == "good":
        knobs = {"learning_rate": RATE * (2 + 0.003 * (number % 700))}
    elif kind == "harm":
        knobs = {"learning_rate": RATE * (0.3 + 0.0005 * (number % 700))}
    elif kind == "null":
        knobs = {"init_std": 0.1 * (1 + 1e-6 * number)}
    elif kind == "misfit":
        replacements = [(f"    this line is not in the recipe  # {number}", "    pass")]
    else:
        line = '    warmup = knobs["warmup_share"]'
        crash = f'    if progress > 0.5:\n        raise ValueError("step {number} went wrong")\n'
        replacements = [(line, crash + line)]
    return {
        "title": f"{kind} {number}",
        "hypothesis": f"The {number}th idea helps.",
        "category": "optimiser",
        "expected_effect": 0.01,
        "expected_scaling": "constant",
        "scale_rule": "constant",
        "replacements": [{"old": old, "new": new} for old, new in replacements],
        "diff": "",
        "knobs": [{"name": name, "value": value} for name, value in knobs.items()],
    }


researcher = Researcher()
