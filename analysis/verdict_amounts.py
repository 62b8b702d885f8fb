"""Speed-ups, savings, scales and arms of a verdict as its page prints them, and the order in which arms come."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.fit_amounts import amount
from analysis.grid import one_line
from analysis.law_axes import flops_text
from analysis.wording import MISSING, percent, saving_text, shortened

Answer = Mapping[str, Any]

LONGEST_NAME = 60
LONGEST_TEXT = 1_000  # a stranger's names stand in warnings too
LARGE = 100.0
NARROW = 0.03  # an interval of a speed-up that two decimals would hide


def name_text(arm: str, length: int = LONGEST_NAME) -> str:
    """Return an arm's name on one line, without control characters, cut to `length`."""
    return shortened(one_line(arm), length) or MISSING


def strongest_first(answer: Answer) -> list[Answer]:
    """Return the arms by the speed-up at their highest rung, the largest first; those without a number come last.

    Where only a bound of it is known, that counts.
    """

    def order(arm: Answer) -> tuple[bool, float]:
        top = top_of(arm) or bound_of(arm)
        return top is None, 0.0 if top is None else -(top["speedup"] or top["speedup_low"] or top["speedup_high"])

    return sorted(answer["arms"], key=order)


def top_of(arm: Answer) -> Answer | None:
    """Return what was measured at the arm's highest rung, all horizons pooled; None without a number."""
    return arm["pooled"][-1] if arm["pooled"] and arm["pooled"][-1]["speedup"] is not None else None


def bound_of(arm: Answer) -> Answer | None:
    """Return the arm's highest rung where its speed-up is known by a bound alone, else None."""
    return arm["pooled"][-1] if arm["pooled"] and arm["pooled"][-1].get("bound") else None


def scale_key(answer: Answer) -> str:
    """Return what tells rungs apart: 'params', or along budgets 'flops'."""
    return "flops" if answer["axis"] == "flops" else "params"


def size_text(answer: Answer, one: Answer) -> str:
    """Return a rung or a target in words: '1.2B params', '2.6e19 FLOPs'."""
    scale = scale_text(answer, one)
    return scale if scale == MISSING else f"{scale} {'FLOPs' if scale_key(answer) == 'flops' else 'params'}"


def scale_text(answer: Answer, one: Answer) -> str:
    """Return the same without its unit: '1.2B', '2.6e19'."""
    return flops_text(one["flops"]) if scale_key(answer) == "flops" else amount(one["params"])


def speedup_text(one: Answer | None) -> str:
    """Return a speed-up with its 90 % interval: '1.13 (1.11 to 1.15)', '1.129 (1.126 to 1.131)'; 'at least 1.41'."""
    if one is not None and one.get("bound"):
        return f"{one['bound']} {times_text(one['speedup_low'] or one['speedup_high'])}"
    if one is None or one["speedup"] is None:
        return MISSING
    low, high = one["speedup_low"], one["speedup_high"]
    if low is None or high is None:
        return times_text(one["speedup"])
    places = 3 if high - low < NARROW else 2
    return f"{times_text(one['speedup'], places)} ({times_text(low, places)} to {times_text(high, places)})"


def times_text(speedup: float | None, places: int = 2) -> str:
    """Return a speed-up with so many decimals; a very large one with three digits."""
    if speedup is None:
        return MISSING
    return f"{speedup:.{places}f}" if speedup < LARGE else f"{speedup:.3g}"


def saved_text(one: Answer | None) -> str:
    """Return the saving that a speed-up makes, with its 90 % interval: '12 % (9.7 to 13 %)'; 'at least 29 %'."""
    if one is None:
        return MISSING
    if one.get("bound"):
        return f"{one['bound']} {percent(saved(one['speedup_low'] or one['speedup_high']))}"
    saving, low, high = (saved(one[key]) for key in ("speedup", "speedup_low", "speedup_high"))
    return saving_text(saving, low, high)


def saved(speedup: float | None) -> float | None:
    """Return the saving 1 - 1/S of a speed-up S."""
    return None if not speedup else 1 - 1 / speedup


def signed_text(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a difference of lnS with its sign: '−0.191 (−0.203 to −0.179)'."""
    if value is None or not math.isfinite(value):
        return MISSING
    bounds = "" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})"
    return f"{value:+.3f}{bounds}".replace("-", "−")


def kept_together(text: str) -> str:
    """Return the text with its percent signs, and its intervals in percent, on the line of their numbers."""
    whole = re.sub(r"\(\S+ to \S+ %\)", lambda found: found.group().replace(" ", "\u00a0"), text)
    return whole.replace(" %", "\u00a0%")


def several_horizons(answer: Answer) -> bool:
    """Whether any arm has more than one horizon at a rung."""
    return any(len(arm["rungs"]) > len(arm["pooled"]) for arm in answer["arms"])


def texts(said: Sequence[str]) -> list[str]:
    """Return remarks on one line each, cut where a stranger's names make them too long to read."""
    return [name_text(one, LONGEST_TEXT) for one in said]
