"""The picture of a verdict: every arm's speed-up by scale with its intervals, and the forecast beyond."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import altair as alt

from analysis.style import BAND, FAINT, INK, QUIET, STACK_COLOUR, Drawing, heading, values
from analysis.verdict_amounts import (
    Answer,
    name_text,
    saved_text,
    scale_text,
    size_text,
    strongest_first,
    times_text,
    top_of,
)
from analysis.verdict_frame import Frame, axes_of, frame_of, is_cut, mark_of
from analysis.wording import percent

MOST_PANELS = 12
GAIN, LOSS = "#009E73", "#D55E00"
COLOURS = {"transfers": GAIN, "grows": GAIN, "gains": STACK_COLOUR, "shrinks": STACK_COLOUR}
COLOURS |= dict.fromkeys(("reverses", "harmful", "invalid"), LOSS)
APART = 0.016  # of the axis: between two horizons of a rung, drawn beside each other
EMPTY = "No arm has a speed-up that can be told, so there is nothing to draw; the reasons are in the table."


def draw(answer: Answer) -> Drawing | None:
    """Draw one panel per arm, strongest first, on common axes; None where no arm has a number."""
    arms = [one for one in strongest_first(answer) if top_of(one)]
    shown = arms[:MOST_PANELS]
    if not shown:
        return None
    frame = frame_of(answer, shown)
    panels = [_panel(answer, arm, frame, first=place % frame.columns == 0) for place, arm in enumerate(shown)]
    lines = [
        alt.hconcat(*panels[start : start + frame.columns], spacing=18)
        for start in range(0, len(panels), frame.columns)
    ]
    note = _note(answer, shown, frame, left=len(arms) - len(shown))
    return alt.vconcat(*lines, spacing=20).properties(title=heading(_title(answer, shown[0]), note))


def _panel(answer: Answer, arm: Answer, frame: Frame, *, first: bool) -> Drawing:
    colour = COLOURS.get(arm["verdict"], QUIET)
    x, y = axes_of(frame, first=first)
    pooled = [mark_of(one, frame) for one in arm["pooled"] if one["speedup"]]
    forecast = [mark_of(arm["forecast"], frame)] if arm["forecast"] and arm["forecast"]["speedup"] else []
    base = {
        name: alt.Chart(values(rows)).encode(x=x, y=y)
        for name, rows in (
            ("pooled", pooled),
            ("forecast", forecast),
            ("path", [*pooled[-1:], *forecast]),
            ("horizons", _horizons(arm, frame)),
        )
    }
    ends = {"y": alt.Y("low:Q"), "y2": "high:Q"}
    layers = [
        *_ground(arm, frame, x, y),
        base["horizons"].mark_point(filled=True, size=16, opacity=0.35, color=colour, clip=True),
        base["path"].mark_line(strokeDash=[4, 4], strokeWidth=1.5, color=colour, clip=True),
        base["pooled"].mark_line(strokeWidth=1.2, color=colour, clip=True),
        base["pooled"].mark_rule(strokeWidth=2.2, color=colour, clip=True).encode(**ends),
        base["forecast"].mark_rule(strokeWidth=2, strokeDash=[3, 3], color=colour, clip=True).encode(**ends),
        base["pooled"].mark_point(
            filled=True, size=40, opacity=1, color=colour, stroke="white", strokeWidth=0.8, clip=True
        ),
        base["forecast"].mark_point(fill="white", size=48, opacity=1, strokeWidth=2, color=colour, clip=True),
    ]
    panel: Drawing = alt.layer(*layers).properties(
        width=frame.width,
        height=frame.height,
        title=alt.TitleParams(
            name_text(arm["arm"], frame.name_length),
            subtitle=_words(answer, arm),
            fontSize=13,
            subtitleFontSize=11,
            subtitlePadding=3,
            color=INK,
            anchor="start",
            frame="group",
            offset=6,
        ),
    )
    return panel


def _horizons(arm: Answer, frame: Frame) -> list[dict[str, Any]]:
    """The single horizons of rungs that have several, short to long from left to right about the rung."""
    by_rung: defaultdict[int, list[Answer]] = defaultdict(list)
    for cell in arm["rungs"]:
        by_rung[cell["rung"]].append(cell)
    scales = [one[frame.key] for one in arm["pooled"]]
    apart = APART * math.log(frame.x[1] / frame.x[0])
    rows = []
    for cells in by_rung.values():
        if len(cells) < 2:
            continue
        near = _nearest(scales, cells[0][frame.key])
        for place, cell in enumerate(sorted(cells, key=lambda one: one["tokens"] or 0.0)):
            if cell["speedup"] and frame.y[0] <= cell["speedup"] <= frame.y[1]:
                shift = math.exp(apart * (place - (len(cells) - 1) / 2))
                rows.append({"x": near * shift, "y": cell["speedup"]})
    return rows


def _nearest(scales: Sequence[float], scale: float) -> float:
    """The rung's own scale, which is the baseline's: an arm may have a few params more or fewer."""
    return min(scales, key=lambda one: abs(math.log(one / scale)))


def _ground(arm: Answer, frame: Frame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """What lies under the marks: the ground beyond what was measured, named, and the band of what is too little."""
    worth = {"x": frame.x[0], "y": max(1 - frame.smallest_saving, frame.y[0]), "top": 1 / (1 - frame.smallest_saving)}
    one = alt.Chart(values([worth]))
    ground = [
        one.mark_rect(color=BAND, opacity=1, clip=True).encode(y=y, y2="top:Q"),
        alt.Chart(values([{"y": 1.0}])).mark_rule(color=INK, strokeWidth=1).encode(y=y),
    ]
    forecast, top = arm["forecast"], top_of(arm)
    if not forecast or not top or forecast[frame.key] <= 1.02 * top[frame.key]:
        return ground
    beyond = {"x": math.sqrt(forecast[frame.key] * top[frame.key]), "end": frame.x[1]}
    word = "extrapolated" if forecast["extrapolated"] else "forecast"
    return [
        alt.Chart(values([beyond])).mark_rect(color=FAINT, opacity=0.45).encode(x=x, x2="end:Q"),
        *ground,
        alt.Chart(values([{"word": word}]))
        .mark_text(color=QUIET, fontSize=10, fontStyle="italic", align="right", baseline="top", dx=-4, dy=4)
        .encode(x=alt.value(frame.width), y=alt.value(0), text="word:N"),
    ]


def _words(answer: Answer, arm: Answer) -> list[str]:
    fragile = ", fragile" if arm["fragile"] else ""
    top = top_of(arm)
    assert top is not None  # only arms with a number have a panel
    return [f"{arm['verdict']}{fragile}", f"saves {saved_text(top)} at {scale_text(answer, top)}"]


def _title(answer: Answer, strongest: Answer) -> str:
    name, ends = name_text(strongest["arm"], 34), [strongest["pooled"][0], strongest["pooled"][-1]]
    over = name_text(answer["baseline"], 24)
    if len(strongest["pooled"]) < 2 or not ends[0]["speedup"]:
        return f"{name}: a speed-up of {times_text(ends[1]['speedup'])} over {over} at {size_text(answer, ends[1])}"
    first, last = (times_text(one["speedup"]) for one in ends)
    at = f"{first} at {scale_text(answer, ends[0])} to {last} at {size_text(answer, ends[1])}"
    return f"{name}: speed-up over {over} from {at}"


def _note(answer: Answer, arms: Sequence[Answer], frame: Frame, *, left: int) -> str:
    several = any(_horizons(arm, frame) for arm in arms)
    parts = ["Filled: all horizons of a rung pooled, with 90 % interval." if several else "Filled: 90 % interval."]
    if several:
        parts.append("Faint: single horizons, short to long from left to right.")
    target = next((arm["forecast"] for arm in arms if arm["forecast"]), None)
    if target:
        parts.append(f"Hollow, dashed: forecast at {size_text(answer, target)} with its 90 % interval.")
    if any(arm["forecast"] and arm["forecast"]["extrapolated"] for arm in arms):
        parts.append("Extrapolated: more than 4x beyond the arm's highest rung.")
    parts.append(f"Grey band about 1: less than the {percent(answer['smallest_saving'])} worth having.")
    if is_cut(arms, frame):
        parts.append(f"Intervals are cut at {times_text(frame.cut[0])} and {times_text(frame.cut[1])}.")
    if left:
        parts.append(f"The other {left} arms are in the table.")
    return " ".join(parts)
