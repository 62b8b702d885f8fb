"""Proposals whose truth is known, for `soak.py`: of each the kind is known, and its title says it."""

import random
from typing import Any

RATE = 1.4e-3
"""The baseline's learning rate, a quarter of the tuned one: what raises it is truly good."""
PROPOSALS = 700
SHARES = {"good": 0.04, "misfit": 0.10, "crash": 0.05, "null": 0.46, "harm": 0.35}


def kinds(seed: int = 5) -> list[str]:
    """The kind of every proposal, in a random order that is always the same."""
    counted = [kind for kind, share in SHARES.items() for _ in range(round(share * PROPOSALS))]
    random.Random(seed).shuffle(counted)
    return counted


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
