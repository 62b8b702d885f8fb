"""What the panels of a verdict's picture share: their size, both logarithmic axes, and where intervals are cut."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.chart_losses import labels
from analysis.fit_amounts import amount
from analysis.law_axes import flops_text, round_numbers
from analysis.verdict_amounts import Answer, scale_key

MOST_TICKS = 5  # rungs; of more, round numbers are labelled
LEAST_REACH = 1.1
REACH = 0.6  # an interval is drawn so far past all estimates, in shares of their range on the log axis
STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MOST_LABELS = 7
MOST_SPEEDUP = 1_000.0
LEAST_ROOM = 1.15


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels share: ends of both axes, in scale and in speed-up; intervals are cut at `cut`."""

    key: str
    x: tuple[float, float]
    y: tuple[float, float]
    cut: tuple[float, float]
    ticks: Mapping[float, str]
    smallest_saving: float
    width: int
    height: int
    columns: int
    name_length: int


def frame_of(answer: Answer, arms: Sequence[Answer]) -> Frame:
    """Return the frame that holds `arms`, each of which has a speed-up at one rung at least, and their forecasts."""
    key = scale_key(answer)
    sizes = sorted({one[key] for arm in arms for one in arm["pooled"]})
    targets = sorted({arm["forecast"][key] for arm in arms if arm["forecast"]})
    every = sorted({*sizes, *targets})
    room = max((every[-1] / every[0]) ** 0.09, LEAST_ROOM)
    x = every[0] / room, every[-1] * room
    cut = _cut(arms, answer["smallest_saving"])
    tall = math.log(cut[1] / cut[0])
    y = (cut[0] * math.exp(-0.05 * tall), cut[1] * math.exp(0.16 * tall))
    write = flops_text if key == "flops" else amount
    ticks = every if len(sizes) <= MOST_TICKS else round_numbers(*x)
    columns = min(len(arms), 2 if len(arms) in (1, 2, 4) else 3)
    width, height = {1: (600, 300), 2: (285, 190), 3: (180, 150)}[columns]
    return Frame(
        key,
        x,
        y,
        cut,
        {tick: write(tick) for tick in ticks},
        answer["smallest_saving"],
        width,
        height,
        columns,
        {1: 70, 2: 38, 3: 24}[columns],
    )


def _cut(arms: Sequence[Answer], smallest_saving: float) -> tuple[float, float]:
    """All estimates, and as much of their intervals as leaves the estimates room."""
    drawn = [one for arm in arms for one in (*arm["pooled"], arm["forecast"]) if one and one["speedup"]]
    estimates = [1 - smallest_saving, 1 / (1 - smallest_saving), *(one["speedup"] for one in drawn)]
    low, high = min(estimates), max(estimates)
    reach = max((high / low) ** REACH, LEAST_REACH)
    ends = [one[end] for one in drawn for end in ("speedup_low", "speedup_high") if one[end]]
    least, most = max(min([*ends, low]), low / reach), min(max([*ends, high]), high * reach)
    return max(least, 1 / MOST_SPEEDUP), min(most, MOST_SPEEDUP)


def axes_of(frame: Frame, *, first: bool) -> tuple[alt.X, alt.Y]:
    """Return the axes of a panel; the first of a line of panels says what is drawn upwards."""
    title = "compute of the budget, FLOPs (log)" if frame.key == "flops" else "params (log)"
    x = alt.X(
        "x:Q",
        title=title,
        scale=alt.Scale(type="log", domain=list(frame.x), nice=False),
        axis=alt.Axis(
            values=list(frame.ticks), labelExpr=labels(dict(frame.ticks)), labelOverlap="greedy", grid=False, ticks=True
        ),
    )
    speedups = speedup_ticks(*frame.y)
    y = alt.Y(
        "y:Q",
        title="speed-up (log)" if first else None,
        scale=alt.Scale(type="log", domain=list(frame.y), nice=False),
        axis=alt.Axis(
            values=speedups,
            labelExpr=labels({one: f"{one:g}x" for one in speedups}),
            labelOverlap=False,
            minExtent=32,
            maxExtent=32,
        ),
    )
    return x, y


def speedup_ticks(low: float, high: float) -> list[float]:
    """Return round speed-ups in the range, 1 among them where it lies inside; at most seven."""
    for step in STEPS:
        ticks = [round(step * place, 2) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if 1 < len(ticks) <= MOST_LABELS and ticks[0] > 0 and high / low < 4:
            return ticks
    every = math.ceil(math.log2(high / low) / MOST_LABELS)
    powers = range(math.ceil(math.log2(low) / every), math.floor(math.log2(high) / every) + 1)
    return [2.0 ** (every * power) for power in powers]


def mark_of(one: Answer, frame: Frame) -> dict[str, Any]:
    """Return a point at its scale, its interval cut to the picture; an unknown end is open, and drawn to the cut."""
    low, high = frame.cut
    return {
        "x": one[frame.key],
        "y": one["speedup"],
        "low": min(max(one["speedup_low"] or low, low), high),
        "high": max(min(one["speedup_high"] or high, high), low),
    }


def is_cut(arms: Iterable[Answer], frame: Frame) -> bool:
    """Return whether any interval reaches beyond the picture."""
    drawn = [one for arm in arms for one in (*arm["pooled"], arm["forecast"]) if one and one["speedup"]]
    return any(
        not one["speedup_low"]
        or one["speedup_low"] < frame.cut[0] * 0.999
        or not one["speedup_high"]
        or one["speedup_high"] > frame.cut[1] * 1.001
        for one in drawn
    )
