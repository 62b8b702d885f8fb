"""The picture of what was inverted: the baseline's finished curve at each size, and what arms gain along it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
from numpy.typing import NDArray

from analysis.chart_losses import PANELS_IN_A_LINE, labels
from analysis.fit_amounts import amount
from analysis.law_axes import flops_text, round_numbers
from analysis.law_rows import evenly
from analysis.style import (
    BASELINE_COLOUR,
    FINDING_COLOURS,
    INK,
    SHAPES,
    Drawing,
    heading,
    short_labels,
    values,
)
from analysis.verdict_amounts import Answer, name_text, strongest_first, top_of
from analysis.wording import count_of
from transfer.tables.curve import Shape

MOST_PANELS = 9
MOST_ARMS = len(FINDING_COLOURS)
MOST_TICKS = 5
NAME_LENGTH = 30
STEPS = 80
EMPTY = "The baseline has no curve to draw."


def draw(answer: Answer) -> Drawing | None:
    """Draw a panel per size, or the frontier of budgets in one: the curve, its points, the arms' finished runs."""
    curves = evenly(answer["baseline_curves"], MOST_PANELS)
    arms = [one for one in strongest_first(answer) if top_of(one)][:MOST_ARMS]
    if not curves:
        return None
    named = {str(place): name_text(arm["arm"], 200) for place, arm in enumerate(arms)}
    own = name_text(answer["baseline"], NAME_LENGTH - 12)
    baseline = own if own == "baseline" else f"{own} (baseline)"
    names = [*short_labels(named, NAME_LENGTH).values()]
    columns = 2 if len(curves) == 4 else min(len(curves), PANELS_IN_A_LINE)
    width = {1: 560, 2: 280, 3: 172}[columns]
    panels = [
        _panel(curve, arms, names, baseline).properties(width=width, height=300 if columns == 1 else 200)
        for curve in curves
    ]
    lines = [alt.hconcat(*panels[start : start + columns], spacing=14) for start in range(0, len(panels), columns)]
    return alt.vconcat(*lines, spacing=16).properties(title=heading(_title(answer), _note(answer, curves, names)))


def _panel(curve: Answer, arms: Sequence[Answer], names: Sequence[str], baseline: str) -> Drawing:
    rows = [
        {"x": cell[curve["x"]], "y": cell["loss"], "label": name, "end": _end(cell, curve["x"])}
        for arm, name in zip(arms, names, strict=True)
        for cell in arm["rungs"]
        if cell["rung"] == curve["rung"] or curve["rung"] is None
    ]
    points = [{"x": x, "y": y, "label": baseline} for x, y in zip(curve["points"], curve["losses"], strict=True)]
    reached = [row["end"] for row in rows if names and row["label"] == names[0] and row["end"]]
    held = [*curve["points"], *(row["x"] for row in rows), *reached]
    room = (max(held) / min(held)) ** 0.06
    ends = min(held) / room, max(held) * room
    lined = _line(curve, ends)
    losses = [row["y"] for row in (*points, *rows)]
    x, y = _axes(curve, ends, losses)
    domain = [baseline, *names]
    colour = alt.Color(
        "label:N",
        title=None,
        legend=alt.Legend(orient="bottom", columns=4, symbolOpacity=1, labelLimit=160),
        scale=alt.Scale(domain=domain, range=[BASELINE_COLOUR, *FINDING_COLOURS[: len(names)]]),
    )
    shape = alt.Shape(
        "label:N",
        title=None,
        scale=alt.Scale(domain=domain, range=["circle", *(SHAPES[1 + place % 5] for place in range(len(names)))]),
    )
    gained = [row for row in rows if names and row["label"] == names[0] and row["end"]]
    layers = [
        *(
            alt.Chart(values(lined[part]))
            .mark_line(color=BASELINE_COLOUR, strokeWidth=1.5, strokeDash=dash, clip=True)
            .encode(x=x, y=y)
            for part, dash in (("below", [4, 4]), ("between", [1, 0]), ("above", [4, 4]))
        ),
        alt.Chart(values(gained)).mark_rule(color=FINDING_COLOURS[0], strokeWidth=1.2).encode(x=x, y=y, x2="end:Q"),
        alt.Chart(values([*points, *rows]))
        .mark_point(filled=True, size=38, opacity=0.9, stroke="white", strokeWidth=0.6)
        .encode(x=x, y=y, color=colour, shape=shape),
    ]
    panel: Drawing = alt.layer(*layers)
    if curve["params"] is None:
        return panel
    title = alt.TitleParams(f"{amount(curve['params'])} params", fontSize=12, color=INK, anchor="start", offset=6)
    titled: Drawing = panel.properties(title=title)
    return titled


def _end(cell: Answer, axis: str) -> float | None:
    """Where along the curve the baseline reaches the arm's loss."""
    speedup = cell["axes"].get(axis, {}).get("speedup")
    return None if speedup is None else float(cell[axis] * speedup)


def _line(curve: Answer, ends: tuple[float, float]) -> Mapping[str, list[dict[str, float]]]:
    """The curve below, between and above its points; beyond them it is a guess of the fit."""
    points = np.array(curve["points"])
    cuts = [min(ends[0], points[0]), points[0], points[-1], max(ends[1], points[-1])]
    parts = {}
    for name, low, high in zip(("below", "between", "above"), cuts[:-1], cuts[1:], strict=True):
        x = np.geomspace(low, high, STEPS)
        parts[name] = [{"x": float(a), "y": float(b)} for a, b in zip(x, curve_loss(curve, x), strict=True)]
    return parts


def curve_loss(curve: Answer, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the baseline's finished loss at x (k,), in tokens or FLOPs as the curve says, in nats per token."""

    points = np.array(curve["points"])
    strays = np.array(curve["losses"]) - _smooth(curve, points)
    kept: float = curve["misfit_kept"]
    return _smooth(curve, x) + kept * np.interp(np.log(x), np.log(points), strays)


def _smooth(curve: Answer, x: NDArray[np.float64]) -> NDArray[np.float64]:
    shape = Shape(np.log(curve["points"]), np.array(curve["exponents"]))
    return np.asarray(curve["loss_ref"] - curve["kappa_ref"] * shape.fallen(np.log(x)), dtype=np.float64)


def _axes(curve: Answer, ends: tuple[float, float], losses: Sequence[float]) -> tuple[alt.X, alt.Y]:
    few = len(curve["points"]) <= MOST_TICKS
    ticks = curve["points"] if few else round_numbers(*ends)
    write = flops_text if curve["x"] == "flops" else amount
    x = alt.X(
        "x:Q",
        title="compute, FLOPs (log)" if curve["x"] == "flops" else "tokens (log)",
        scale=alt.Scale(type="log", domain=list(ends), nice=False),
        axis=alt.Axis(
            values=ticks, labelExpr=labels({tick: write(tick) for tick in ticks}), labelOverlap="greedy", grid=False
        ),
    )
    room = 0.06 * (max(losses) - min(losses)) or 0.01
    y = alt.Y(
        "y:Q",
        title="finished loss, nats per token",
        scale=alt.Scale(domain=[min(losses) - room, max(losses) + room], nice=False, zero=False),
        axis=alt.Axis(tickCount=5, labelBound=True),
    )
    return x, y


def _title(answer: Answer) -> str:
    over = "compute" if answer["baseline_curves"][0]["x"] == "flops" else "tokens"
    return f"What was inverted: {name_text(answer['baseline'], 40)}'s finished loss over {over}"


def _note(answer: Answer, curves: Sequence[Answer], names: Sequence[str]) -> str:
    along = curves[0]["x"] == "flops"
    parts = [
        f"Grey: the baseline's {'frontier' if along else 'curve at each size'} through its finished runs, dashed "
        "beyond them. Each mark is a mean of finished runs."
    ]
    if names:
        parts.append(
            f"The horizontal lines lead from {names[0]} to where the baseline has its loss: their length is its "
            f"speed-up{' in tokens' if answer['axis'] == 'seconds' else ''}."
        )
    left = sum(1 for one in answer["arms"] if top_of(one)) - len(names)
    if left:
        parts.append(f"{count_of(left, 'weaker arm')} left out.")
    if len(curves) < len(answer["baseline_curves"]):
        parts.append(f"{len(curves)} of {len(answer['baseline_curves'])} sizes are drawn.")
    return " ".join(parts)
