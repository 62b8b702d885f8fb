"""The picture of transfer: each arm's saving at every rung, its interval, and the forecast beyond."""

from typing import Any, Literal

import altair as alt

from analysis.chart_losses import labels
from analysis.style import BAND, INK, QUIET, WIDTH, Drawing, Picture, Row, Rows, Scene, heading, short_labels, values
from analysis.wording import bounded, least_saving, measured_text, params_text, percent

AXES = ("tokens", "seconds")
PANEL = (WIDTH - 70) // 2
LOWEST, HIGHEST = -0.6, 1.0
NAME_LENGTH = 44  # a longer name would stretch its panel
SETTLED_METHOD = "decay"
ARROW = 0.16  # of the panel's height: how far an arrow reaches from its bound
HEAD = 0.04  # of the panel's height: half of the arrow's head, which stays within the panel

SQL = f"""\
SELECT arm, finding_id, axis, 'measured' AS kind, rung, params, saving, saving_low, saving_high,
       coalesce(bound, '') AS bound, false AS extrapolated
FROM savings
WHERE axis IN ('tokens', 'seconds') AND (arm = 'stack' OR arm LIKE 'alone:%')
UNION ALL
SELECT arm, finding_id, axis, 'forecast', NULL, params, saving, saving_low, saving_high, '', extrapolated
FROM forecasts
WHERE axis IN ('tokens', 'seconds') AND (arm = 'stack' OR arm LIKE 'alone:%') AND method = '{SETTLED_METHOD}'
ORDER BY arm, axis, kind DESC, params"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw a line of panels per arm, the stack first, then the findings from the largest saving at the top down."""
    drawable = [row for row in _without_vain_forecasts(rows) if least_saving(row) is not None]
    if not drawable:
        return None
    arms = sorted({row["arm"] for row in drawable}, key=lambda arm: (arm != "stack", -_top_saving(drawable, arm), arm))
    names = short_labels({arm: scene.title(arm) for arm in arms}, NAME_LENGTH)
    lines = [
        _panels(drawable, group, names, scene)
        for group in (["stack"], [arm for arm in arms if arm != "stack"])
        if any(row["arm"] in group for row in drawable)
    ]
    return alt.vconcat(*lines, spacing=18).properties(title=heading(_title(drawable), _note(rows, drawable, scene)))


def _panels(rows: Rows, arms: list[str], names: dict[str, str], scene: Scene) -> alt.FacetChart:
    """Return one line of panels per arm and one column per axis; all share both scales, so that heights compare."""
    params, domain = sorted({row["params"] for row in rows}), _domain(rows, scene)
    drawn = [
        {**row, "label": names[row["arm"]], **_arrow(row, domain)} for row in _parts(rows, names) if row["arm"] in arms
    ]
    x = alt.X(
        "params:Q",
        title="parameters (log)",
        scale=alt.Scale(type="log", domain=[params[0] * 0.7, params[-1] * 1.4], nice=False),
        axis=alt.Axis(
            values=params,
            labelExpr=labels({value: params_text(value) for value in params}),
            labelOverlap=True,
            grid=False,
        ),
    )
    y = alt.Y(
        "saving:Q", title=None, scale=alt.Scale(domain=domain, nice=False), axis=alt.Axis(format="%", tickCount=5)
    )
    colour = alt.Color(
        "label:N",
        legend=None,
        scale=alt.Scale(domain=list(names.values()), range=[scene.colour(arm) for arm in names]),
    )
    base = alt.Chart().encode(x=x, y=y, color=colour)
    measured, forecast, path, bound = (
        base.transform_filter(f"datum.part === '{part}'") for part in ("measured", "forecast", "path", "bound")
    )
    shape = alt.Shape("extrapolated:N", legend=None, scale=alt.Scale(domain=[False, True], range=["circle", "diamond"]))
    layers = [
        *_ground(scene, domain),
        path.mark_area(opacity=0.13, clip=True).encode(y=alt.Y("saving_low:Q"), y2="saving_high:Q"),
        path.mark_line(strokeDash=[4, 4], strokeWidth=1.5, clip=True),
        measured.mark_line(strokeWidth=1.5, clip=True).encode(detail="stretch:N"),
        measured.mark_rule(strokeWidth=2, clip=True).encode(y="saving_low:Q", y2="saving_high:Q"),
        forecast.mark_rule(strokeWidth=2, strokeDash=[3, 3], clip=True).encode(y="saving_low:Q", y2="saving_high:Q"),
        bound.mark_rule(strokeWidth=2).encode(y="arrow_from:Q", y2="arrow_to:Q"),
        *(
            bound.transform_filter(f"datum.opens === '{opens}'")
            .mark_point(fill="white", shape=shape_, size=80, opacity=1, strokeWidth=2)
            .encode(y="arrow_to:Q")
            for opens, shape_ in (("up", "triangle-up"), ("down", "triangle-down"))
        ),
        measured.mark_point(filled=True, size=70, opacity=1, clip=True),
        forecast.mark_point(fill="white", size=70, opacity=1, strokeWidth=2, clip=True).encode(shape=shape),
        _text("text", dy=-5, colour=QUIET, bold=False),
        _text("name", dy=-21, colour=INK, bold=True),
    ]
    return (
        alt.layer(*layers, data=values(drawn))
        .properties(width=PANEL, height=150 if arms == ["stack"] else 84)
        .facet(
            row=alt.Row("label:N", title=None, sort=[names[arm] for arm in arms], header=alt.Header(labels=False)),
            column=alt.Column("axis:N", title=None, sort=list(AXES), header=alt.Header(labels=False)),
            spacing={"row": 12, "column": 24},
        )
    )


def _arrow(row: Row, domain: list[float]) -> dict[str, Any]:
    """Return where the arrow of a bound begins and ends, within the panel, and which way it opens."""
    if row["part"] != "bound":
        return {"arrow_from": None, "arrow_to": None, "opens": None}
    bound, opens_up, height = least_saving(row), row["saving_low"] is not None, domain[1] - domain[0]
    assert bound is not None
    start, margin = min(max(bound, domain[0]), domain[1]), HEAD * height
    tip = start + ARROW * height * (1 if opens_up else -1)
    tip = min(max(tip, domain[0] + margin), domain[1] - margin)
    return {"arrow_from": start, "arrow_to": tip, "opens": "up" if opens_up else "down"}


def _text(column: str, *, dy: int, colour: str, bold: bool) -> alt.Chart:
    """Return the layer that writes a column above its panel, once per panel."""
    weight: Literal["bold", "normal"] = "bold" if bold else "normal"
    words: alt.Chart = alt.Chart().transform_filter(f"datum.{column} != null")
    written: alt.Chart = words.mark_text(
        align="left", baseline="bottom", fontSize=12, dy=dy, color=colour, fontWeight=weight
    ).encode(text=f"{column}:N", x=alt.value(0), y=alt.value(0))
    return written


def _parts(rows: Rows, names: dict[str, str]) -> list[dict[str, Any]]:
    """Return the rows with what each is drawn as: a measured point, a bound, a forecast, or a step of the path.

    stretch: measured points are joined where no bound lies between them.
    """
    parts: list[dict[str, Any]] = []
    for arm, axis in sorted({(row["arm"], row["axis"]) for row in rows}):
        mine = [{**row, "text": None, "name": None} for row in rows if (row["arm"], row["axis"]) == (arm, axis)]
        measured = sorted((row for row in mine if row["kind"] == "measured"), key=lambda row: row["rung"])
        forecast = sorted((row for row in mine if row["kind"] == "forecast"), key=lambda row: row["params"])
        path = [*measured[-1:], *forecast] if forecast else []
        steps = [
            {
                **row,
                "part": "bound" if bounded(row) else "measured",
                "stretch": sum(bounded(one) for one in measured[:place]),
            }
            for place, row in enumerate(measured)
        ]
        drawn = [
            *steps,
            *({**row, "part": part} for part, group in (("forecast", forecast), ("path", path)) for row in group),
        ]
        drawn[0]["name"] = names[arm] if axis == AXES[0] else None
        drawn[0]["text"] = _at_top(measured[-1]) if measured else f"{axis}: not measured"
        parts += drawn
    return parts


def _without_vain_forecasts(rows: Rows) -> Rows:
    """Leave out forecasts of arms whose highest rung has a bound alone: they would pass that rung over."""
    vain = {
        (arm, axis)
        for arm, axis in {(row["arm"], row["axis"]) for row in rows}
        if (top := _top(rows, arm, axis)) is not None and bounded(top)
    }
    return [row for row in rows if row["kind"] == "measured" or (row["arm"], row["axis"]) not in vain]


def _ground(scene: Scene, domain: list[float]) -> list[alt.Chart]:
    once = alt.Chart().transform_filter("datum.text != null")
    ground = [once.mark_rule(color=INK, strokeWidth=1).encode(y=alt.datum(0))]
    if scene.smallest_saving:
        low, high = max(-scene.smallest_saving, domain[0]), min(scene.smallest_saving, domain[1])
        ground.insert(0, once.mark_rect(color=BAND, opacity=1).encode(y=alt.datum(low), y2=alt.datum(high)))
    return ground


def _domain(rows: Rows, scene: Scene) -> list[float]:
    ends = [
        value for row in rows for value in (row["saving"], row["saving_low"], row["saving_high"]) if value is not None
    ]
    smallest = scene.smallest_saving or 0.0
    low, high = min(*ends, -smallest, -0.02), max(*ends, smallest, 0.02)
    opens_up, opens_down = (
        any(bounded(row) and row[end] is not None for row in rows) for end in ("saving_low", "saving_high")
    )
    below, above = (ARROW if opens else 0.04 for opens in (opens_down, opens_up))
    return [max(low - below * (high - low), LOWEST), min(high + above * (high - low), HIGHEST)]


def _top(rows: Rows, arm: str, axis: str) -> Row | None:
    mine = [row for row in rows if (row["arm"], row["axis"], row["kind"]) == (arm, axis, "measured")]
    return max(mine, key=lambda row: row["rung"]) if mine else None


def _top_saving(rows: Rows, arm: str) -> float:
    top = _top(rows, arm, "seconds") or _top(rows, arm, "tokens")
    saving = None if top is None else least_saving(top)
    return -9.0 if saving is None else saving


def _at_top(row: Row) -> str:
    return f"{row['axis']} at {params_text(row['params'])}: {measured_text(row)}"


def _title(rows: Rows) -> str:
    stack = sorted(
        (row for row in rows if row["arm"] == "stack" and row["axis"] == "seconds" and row["kind"] == "measured"),
        key=lambda row: row["rung"],
    )
    if len(stack) < 2:
        return "Saving of each arm, rung by rung"
    first, last = stack[0], stack[-1]
    if any(bounded(row) for row in (first, last)):
        ends = ", ".join(f"{_end(row)} at {params_text(row['params'])}" for row in (first, last))
        return f"The stack's saving of time: {ends}"
    ends = " to ".join(f"{_end(row)} at {params_text(row['params'])}" for row in (first, last))
    return f"The stack's saving of time {_direction(first, last)} from {ends}"


def _end(row: Row) -> str:
    return measured_text(row) if bounded(row) else percent(row["saving"])


def _direction(first: Row, last: Row) -> str:
    """Return what the intervals of both ends bear out: points alone would call noise a trend."""
    if None in {first["saving_low"], first["saving_high"], last["saving_low"], last["saving_high"]}:
        return "goes"
    if last["saving_high"] < first["saving_low"]:
        return "falls with scale,"
    return "rises with scale," if last["saving_low"] > first["saving_high"] else "goes"


def _note(rows: Rows, drawable: Rows, scene: Scene) -> str:
    parts = ["Filled: measured, with 90 % interval."]
    if any(bounded(row) for row in drawable):
        parts.append("Arrow: a bound alone, since the arm did not meet the baseline's loss within its horizons.")
    if any(row["kind"] == "forecast" for row in drawable):
        parts.append("Hollow, dashed: forecast with its 90 % band.")
    if any(row["extrapolated"] for row in drawable):
        parts.append("Diamond: more than 4x beyond the top rung.")
    if scene.smallest_saving:
        parts.append(f"Grey band: less than the {percent(scene.smallest_saving)} worth having.")
    if lost := sum(least_saving(row) is None for row in rows):
        parts.append(f"{lost} points have no number.")
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
