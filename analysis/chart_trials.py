"""The picture of the search: what every confirmed trial did to the finished loss on rung 0."""

from collections import Counter

import altair as alt

from analysis.style import INK, STATUS_COLOURS, WIDTH, Drawing, Picture, Rows, Scene, heading, short_labels, values
from analysis.wording import count_of, listed, number

MOST_ROWS = 60
LABELS = 290

SQL = """\
SELECT trial_id, title, status, coalesce(placebo, false) AS placebo, effect, effect_low, effect_high, pairs
FROM trials WHERE status IS NOT NULL
ORDER BY effect DESC NULLS LAST, trial_id"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw one row per trial that has an effect: the point, its 90 % interval, its status as colour."""
    measured = [row for row in rows if row["effect"] is not None and row["status"] in STATUS_COLOURS]
    if not measured:
        return None
    floor = _floor(measured)
    inside = [row for row in measured if row["effect"] >= floor]
    shown = _shown(inside)
    names = short_labels({row["trial_id"]: str(row["title"] or row["trial_id"]) for row in shown}, 40)
    labels = list(names.values())
    drawn = [{**row, "label": label} for row, label in zip(shown, labels, strict=True)]
    low = max(floor, min(row["effect"] if row["effect_low"] is None else row["effect_low"] for row in shown))
    high = max(row["effect"] if row["effect_high"] is None else row["effect_high"] for row in shown)
    x_title = "loss taken off at rung 0, nats per token (right of 0 is better; 90 % interval)"
    x = alt.X("effect:Q", title=x_title, scale=alt.Scale(domain=[min(low, 0), max(high, 0)]))
    base = alt.Chart(values(drawn)).encode(
        x=x,
        y=alt.Y("label:N", sort=labels, title=None, axis=_label_axis()),
        color=alt.Color(
            "status:N",
            title=None,
            legend=alt.Legend(orient="top", symbolType="circle", offset=4),
            scale=alt.Scale(domain=list(STATUS_COLOURS), range=list(STATUS_COLOURS.values())),
        ),
    )
    interval = base.mark_rule(strokeWidth=2, clip=True).encode(x="effect_low:Q", x2="effect_high:Q")
    changes = base.transform_filter("!datum.placebo").mark_point(filled=True, size=75, opacity=1)
    placebos = base.transform_filter("datum.placebo").mark_point(
        shape="diamond", size=95, fill="white", opacity=1, strokeWidth=2
    )
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color=INK, strokeWidth=1).encode(x="zero:Q")
    return alt.layer(zero, interval, changes, placebos).properties(
        width=WIDTH - LABELS,
        height=alt.Step(20),
        title=heading(_title(rows), _note(rows, measured, inside, shown, floor)),
    )


def _label_axis() -> alt.Axis:
    return alt.Axis(
        labelLimit=LABELS - 14,
        minExtent=LABELS - 10,
        maxExtent=LABELS - 10,
        labelFontSize=12,
        labelColor=INK,
        ticks=False,
        domain=False,
        grid=False,
    )


def _floor(measured: Rows) -> float:
    """Where the picture ends on the left: one ruinous trial must not press all others into a line."""
    best = max(float(row["effect"]) for row in measured)
    middle = sorted(abs(float(row["effect"])) for row in measured)[len(measured) // 2]
    return -3.0 * max(best, middle)


def _shown(measured: Rows) -> Rows:
    if len(measured) <= MOST_ROWS:
        return measured
    first = [row for row in measured if row["status"] == "kept" or row["placebo"]][:MOST_ROWS]
    room = MOST_ROWS - len(first)
    chosen = {row["trial_id"] for row in first} | {
        row["trial_id"] for row in [row for row in measured if row not in first][:room]
    }
    return [row for row in measured if row["trial_id"] in chosen]


def _title(rows: Rows) -> str:
    changes = [row for row in rows if not row["placebo"]]
    placebos = [row for row in rows if row["placebo"]]
    kept = sum(row["status"] == "kept" for row in changes)
    text = f"{kept} of {count_of(len(changes), 'trial')} {'was' if kept == 1 else 'were'} kept"
    if not placebos:
        return text
    false = sum(row["status"] == "kept" for row in placebos)
    return (
        f"{text}; of {count_of(len(placebos), 'placebo')}, which change nothing, "
        f"{false or 'none'} {'were' if false > 1 else 'was'}"
    )


def _note(rows: Rows, measured: Rows, inside: Rows, shown: Rows, floor: float) -> str:
    parts = ["Effects come from the confirmation pairs alone and are shrunk. Hollow diamonds are placebos."]
    silent = Counter(str(row["status"]) for row in rows if row["effect"] is None)
    if silent:
        counts = listed([f"{times} {status}" for status, times in sorted(silent.items())])
        parts.append(f"Not drawn, having no effect from confirmation: {counts}.")
    if len(inside) < len(measured):
        parts.append(
            f"{count_of(len(measured) - len(inside), 'trial')} worse than {number(floor)} would lie off to the left."
        )
    if len(shown) < len(inside):
        parts.append(f"{len(shown)} of {len(inside)} are drawn: the kept, the placebos and the best of the rest.")
    return " ".join(parts)


PICTURE = Picture("trials", "Trials on rung 0", SQL, draw, "No trial has an effect yet, so there is nothing to draw.")
