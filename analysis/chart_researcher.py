"""The picture of a researcher's judgement: the effects that it expected against those that were measured."""

from typing import Any

import altair as alt

from analysis.style import INK, QUIET, STATUS_COLOURS, WIDTH, Drawing, Picture, Rows, Scene, heading, values
from analysis.wording import count_of, number

MOST_POINTS = 600

SQL = """\
SELECT trial_id, status, expected_effect, effect, effect_low, effect_high
FROM trials
WHERE expected_effect IS NOT NULL AND effect IS NOT NULL AND NOT coalesce(placebo, false)
ORDER BY status = 'kept', trial_id"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw a point per trial with its 90 % interval, kept ones on top, and the line of all that is as expected."""
    known = [row for row in rows if row["status"] in STATUS_COLOURS]
    if not known:
        return None
    x_domain, y_domain = _domain([row["expected_effect"] for row in known]), _domain([row["effect"] for row in known])
    inside = [
        row
        for row in known
        if x_domain[0] <= row["expected_effect"] <= x_domain[1] and y_domain[0] <= row["effect"] <= y_domain[1]
    ]
    shown = _thinned(inside)
    x = alt.X(
        "expected_effect:Q",
        title="expected by the researcher, nats per token",
        scale=alt.Scale(domain=x_domain, nice=False, zero=False),
        axis=alt.Axis(tickCount=8),
    )
    y = alt.Y(
        "effect:Q",
        title="measured, with its 90 % interval (up is better)",
        scale=alt.Scale(domain=y_domain, nice=False, zero=False),
    )
    base = alt.Chart(values(shown)).encode(x=x, color=_colour())
    intervals = base.mark_rule(strokeWidth=1.3, clip=True).encode(
        y=alt.Y("effect_low:Q"),
        y2="effect_high:Q",
        opacity=alt.condition("datum.status === 'kept'", alt.value(0.7), alt.value(0.25)),
    )
    points = base.mark_point(filled=True, opacity=1, size=46, stroke="white", strokeWidth=0.6).encode(y=y)
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color="#b9bec8", strokeWidth=1).encode(y="zero:Q")
    return alt.layer(zero, *_identity(x_domain, y_domain), intervals, points).properties(
        width=WIDTH - 70, height=360, title=heading(_title(known), _note(known, inside, shown))
    )


def _colour() -> alt.Color:
    return alt.Color(
        "status:N",
        title=None,
        legend=alt.Legend(orient="top", symbolType="circle", symbolOpacity=1, offset=4),
        scale=alt.Scale(domain=list(STATUS_COLOURS), range=list(STATUS_COLOURS.values())),
    )


def _domain(numbers: list[float]) -> list[float]:
    """All of them and zero with some room, without what lies far beyond the rest."""
    middle = sorted(abs(one) for one in numbers)[int(0.9 * (len(numbers) - 1))] or max(abs(one) for one in numbers)
    inside = [0.0, *(one for one in numbers if abs(one) <= 3 * middle)]
    room = 0.08 * (max(inside) - min(inside)) or 1e-6
    return [min(inside) - room, max(inside) + room]


def _identity(x_domain: list[float], y_domain: list[float]) -> list[Any]:
    low, high = max(x_domain[0], y_domain[0]), min(x_domain[1], y_domain[1])
    ends = alt.Chart(values([{"expected_effect": one, "effect": one} for one in (low, high)]))
    line = ends.mark_line(color=QUIET, strokeDash=[5, 4], strokeWidth=1.4).encode(x="expected_effect:Q", y="effect:Q")
    words = (
        alt.Chart(values([{"expected_effect": high, "effect": high, "words": "as expected"}]))
        .mark_text(color=INK, fontSize=11, align="right", baseline="bottom", dx=-6, dy=-2)
        .encode(x="expected_effect:Q", y="effect:Q", text="words:N")
    )
    return [line, words]


def _thinned(rows: Rows) -> Rows:
    """Leave out dropped trials, evenly, where there are more than a picture can hold."""
    dropped = [place for place, row in enumerate(rows) if row["status"] == "dropped"]
    room = max(MOST_POINTS - (len(rows) - len(dropped)), 1)
    every = -(-len(dropped) // room)
    left = set(dropped) - set(dropped[::every]) if dropped else set()
    return [row for place, row in enumerate(rows) if place not in left]


def _title(known: Rows) -> str:
    right = sum(row["expected_effect"] * row["effect"] > 0 for row in known)
    short = sum(row["effect_high"] is not None and row["effect_high"] < row["expected_effect"] for row in known)
    return (
        f"{right} of {count_of(len(known), 'measured effect')} {'has' if right == 1 else 'have'} the expected sign; "
        f"{short} {'is' if short == 1 else 'are'} clearly smaller than expected"
    )


def _note(known: Rows, inside: Rows, shown: Rows) -> str:
    text = (
        "Effects on rung 0, from the confirmation pairs alone and shrunk; trials that the screen dropped have none. "
        "Dashed: measured as expected."
    )
    if len(inside) < len(known):
        far = max(abs(float(row["expected_effect"])) for row in known)
        beyond = count_of(len(known) - len(inside), "trial")
        text += f" {beyond} beyond the axes (expectations reach {number(far)})."
    if len(shown) < len(inside):
        text += f" {len(shown)} of {len(inside)} are drawn: dropped ones are thinned out."
    return text


PICTURE = Picture(
    "expectations",
    "Expected and measured effects",
    SQL,
    draw,
    "No trial with an expected effect has been measured yet, so there is nothing to draw.",
)
