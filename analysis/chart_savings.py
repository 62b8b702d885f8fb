"""The picture of transfer: each arm's saving at every rung, its interval, and the forecast beyond."""

from itertools import pairwise
from typing import Any

import altair as alt

from analysis.chart_losses import labels
from analysis.style import BAND, INK, QUIET, WIDTH, Drawing, Picture, Row, Rows, Scene, heading, values
from analysis.wording import params_text, percent, saving_text, shortened

AXES = ("tokens", "seconds")
LOWEST, HIGHEST = -0.6, 0.8
SETTLED_METHOD = "decay"

SQL = f"""\
SELECT arm, finding_id, axis, 'measured' AS kind, rung, params, saving, saving_low, saving_high, false AS extrapolated
FROM savings
WHERE axis IN ('tokens', 'seconds') AND (arm = 'stack' OR arm LIKE 'alone:%')
UNION ALL
SELECT arm, finding_id, axis, 'forecast', NULL, params, saving, saving_low, saving_high, extrapolated
FROM forecasts
WHERE axis IN ('tokens', 'seconds') AND (arm = 'stack' OR arm LIKE 'alone:%') AND method = '{SETTLED_METHOD}'
ORDER BY arm, axis, kind DESC, params"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw a line of panels per arm, the stack first, then the findings from the largest saving at the top down."""
    drawable = [row for row in rows if row["saving"] is not None]
    if not drawable:
        return None
    arms = sorted({row["arm"] for row in drawable}, key=lambda arm: (arm != "stack", -_top_saving(drawable, arm), arm))
    params = sorted({row["params"] for row in drawable})
    domain = _domain(drawable, scene)
    lines = [
        alt.hconcat(
            *[
                _panel(drawable, arm, axis, scene, params, domain, last=arm == arms[-1], first=axis == AXES[0])
                for axis in AXES
            ],
            spacing=22,
        )
        for arm in arms
    ]
    return alt.vconcat(*lines, spacing=10).properties(title=heading(_title(drawable), _note(rows, drawable, scene)))


def _panel(
    rows: Rows, arm: str, axis: str, scene: Scene, params: list[int], domain: list[float], *, last: bool, first: bool
) -> alt.LayerChart:
    colour = scene.colour(arm)
    mine = [row for row in rows if row["arm"] == arm and row["axis"] == axis]
    measured, forecast = [[row for row in mine if row["kind"] == kind] for kind in ("measured", "forecast")]
    beyond = [*measured[-1:], *forecast] if forecast else []
    x = alt.X(
        "params:Q",
        title="parameters (log)" if last else None,
        scale=alt.Scale(type="log", domain=[params[0] * 0.75, params[-1] * 1.33], nice=False),
        axis=alt.Axis(
            values=params,
            labelExpr=labels({value: params_text(value) for value in params}),
            labelOverlap=True,
            grid=False,
            labels=last,
            ticks=last,
        ),
    )
    y = alt.Y(
        "saving:Q",
        title=f"{axis} saved",
        scale=alt.Scale(domain=domain, nice=False),
        axis=alt.Axis(format="%", tickCount=4 if arm != "stack" else 6),
    )
    layers: list[alt.Chart] = [*_ground(scene, domain)]
    if beyond:
        layers.append(
            alt.Chart(values(beyond))
            .mark_area(color=colour, opacity=0.13, clip=True)
            .encode(x=x, y=alt.Y("saving_low:Q"), y2="saving_high:Q")
        )
        layers.append(
            alt.Chart(values(beyond))
            .mark_line(color=colour, strokeDash=[4, 4], strokeWidth=1.5, clip=True)
            .encode(x=x, y=y)
        )
    layers.append(alt.Chart(values(measured)).mark_line(color=colour, strokeWidth=1.5, clip=True).encode(x=x, y=y))
    for part, dash in ((measured, [1, 0]), (forecast, [3, 3])):
        layers.append(
            alt.Chart(values(part))
            .mark_rule(color=colour, strokeWidth=2, strokeDash=dash, clip=True)
            .encode(x=x, y="saving_low:Q", y2="saving_high:Q")
        )
    layers.append(
        alt.Chart(values(measured))
        .mark_point(color=colour, filled=True, size=70, opacity=1, clip=True)
        .encode(x=x, y=y)
    )
    layers.append(
        alt.Chart(values(forecast))
        .mark_point(color=colour, fill="white", size=70, opacity=1, strokeWidth=2, clip=True)
        .encode(
            x=x,
            y=y,
            shape=alt.Shape(
                "extrapolated:N", legend=None, scale=alt.Scale(domain=[False, True], range=["circle", "diamond"])
            ),
        )
    )
    title = alt.TitleParams(
        shortened(scene.title(arm), 44) if first else _at_top(measured),
        fontSize=12,
        anchor="start",
        offset=5,
        color=INK if first else QUIET,
        fontWeight=600 if first else "normal",
    )  # type: ignore[arg-type]
    return alt.layer(*layers).properties(width=(WIDTH - 130) // 2, height=150 if arm == "stack" else 84, title=title)


def _ground(scene: Scene, domain: list[float]) -> list[alt.Chart]:
    ground = [alt.Chart(values([{"zero": 0}])).mark_rule(color=INK, strokeWidth=1).encode(y="zero:Q")]
    if scene.smallest_saving:
        band = {"low": max(-scene.smallest_saving, domain[0]), "high": min(scene.smallest_saving, domain[1])}
        ground.insert(0, alt.Chart(values([band])).mark_rect(color=BAND, opacity=1).encode(y="low:Q", y2="high:Q"))
    return ground


def _domain(rows: Rows, scene: Scene) -> list[float]:
    ends = [
        value for row in rows for value in (row["saving"], row["saving_low"], row["saving_high"]) if value is not None
    ]
    smallest = scene.smallest_saving or 0.0
    low, high = min(*ends, -smallest, -0.02), max(*ends, smallest, 0.02)
    room = 0.04 * (high - low)
    return [max(low - room, LOWEST), min(high + room, HIGHEST)]


def _top(rows: Rows, arm: str, axis: str) -> Row | None:
    mine = [row for row in rows if (row["arm"], row["axis"], row["kind"]) == (arm, axis, "measured")]
    return max(mine, key=lambda row: row["rung"]) if mine else None


def _top_saving(rows: Rows, arm: str) -> float:
    top = _top(rows, arm, "seconds") or _top(rows, arm, "tokens")
    return float(top["saving"]) if top else -9.0


def _at_top(measured: list[Row]) -> str:
    if not measured:
        return ""
    last = measured[-1]
    return f"at {params_text(last['params'])}: {saving_text(last['saving'], last['saving_low'], last['saving_high'])}"


def _title(rows: Rows) -> str:
    steps: list[tuple[Any, Any]] = []
    stack = sorted(
        (row for row in rows if row["arm"] == "stack" and row["axis"] == "seconds" and row["kind"] == "measured"),
        key=lambda row: row["rung"],
    )
    steps = [(before["saving"], after["saving"]) for before, after in pairwise(stack)]
    if not steps:
        return "Saving of each arm, rung by rung"
    first, last = stack[0], stack[-1]
    ends = f"from {percent(first['saving'])} at {params_text(first['params'])} to {percent(last['saving'])} at {params_text(last['params'])}"
    if all(after < before for before, after in steps):
        return f"The stack's saving of time falls with scale, {ends}"
    if all(after > before for before, after in steps):
        return f"The stack's saving of time rises with scale, {ends}"
    return f"The stack's saving of time goes {ends}"


def _note(rows: Rows, drawable: Rows, scene: Scene) -> str:
    parts = ["Filled: measured, with 90 % interval."]
    if any(row["kind"] == "forecast" for row in drawable):
        parts.append("Hollow, dashed: forecast with its 90 % band.")
    if any(row["extrapolated"] for row in drawable):
        parts.append("Diamond: more than 4x beyond the top rung.")
    if scene.smallest_saving:
        parts.append(f"Grey band: less than the {percent(scene.smallest_saving)} worth having.")
    if len(drawable) < len(rows):
        parts.append(f"{len(rows) - len(drawable)} points are out of the slope's range and have no number.")
    ends = [value for row in drawable for value in (row["saving_low"], row["saving_high"]) if value is not None]
    if ends and (min(ends) < LOWEST or max(ends) > HIGHEST):
        parts.append(f"Cut at {percent(LOWEST)} and {percent(HIGHEST)}.")
    return " ".join(parts)


PICTURE = Picture(
    "savings",
    "Saving by rung, and the forecast",
    SQL,
    draw,
    "No saving has been measured above rung 0 yet, so there is no curve to draw.",
)
