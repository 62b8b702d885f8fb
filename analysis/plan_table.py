"""A plan as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.grid import Grid, to_table
from analysis.wording import digits, duration, large, params_text, percent, tokens_text


def plan_text(rungs: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """The rungs as a table, what the numbers rest on below it; `rungs` are rows of `transfer.plan.RungPlan`."""
    sizes = ("rung", "params", "tokens", "per param", "FLOPs", "memory")
    names = (*sizes, "a run", "runs", "all runs", "pairs", "sees from")
    rows = [
        (
            one["rung"],
            params_text(one["params"]),
            tokens_text(one["tokens"]),
            f"{digits(one['tokens_per_param'])}{' *' if one['transition'] else ''}",
            f"{one['flops']:.2g}",
            large(one["memory_bytes"], "B"),
            duration(one["seconds"]),
            f"{one['runs']:.0f}",
            duration(one["hours"] * 3600),
            one["pairs"],
            _sees(one),
        )
        for one in rungs
    ]
    starred = ["* in transition"] if any(one["transition"] for one in rungs) else []
    return to_table(Grid(names, rows)) + "".join(f"{note}\n" for note in (*starred, *notes))


def _sees(one: Mapping[str, Any]) -> str:
    """The smallest saving on the study's own axis, and in tokens where that is another."""
    own, in_tokens = one["smallest_saving"], one["smallest_saving_tokens"]
    return percent(own) if one["axis"] == "tokens" else f"{percent(own, sign=False)}, {percent(in_tokens)}"
