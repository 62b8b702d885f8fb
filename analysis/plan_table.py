"""A plan as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.grid import Grid, to_table
from analysis.wording import duration, large, params_text, percent, tokens_text


def plan_text(rungs: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """The rungs as a table, what the numbers rest on below it; `rungs` are rows of `transfer.plan.RungPlan`."""
    names = ("rung", "params", "tokens", "FLOPs a run", "memory", "a run", "runs", "all runs", "pairs", "sees from")
    rows = [
        (
            one["rung"],
            params_text(one["params"]),
            tokens_text(one["tokens"]),
            f"{one['flops']:.2g}",
            large(one["memory_bytes"], "B"),
            duration(one["seconds"]),
            f"{one['runs']:.0f}",
            duration(one["hours"] * 3600),
            one["pairs"],
            percent(one["smallest_saving"]),
        )
        for one in rungs
    ]
    return to_table(Grid(names, rows)) + "".join(f"{note}\n" for note in notes)
