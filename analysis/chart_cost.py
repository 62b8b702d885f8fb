"""The picture of the bill: FLOPs and seconds by purpose, and what the gates spared."""

import altair as alt

from analysis.style import INK, QUIET, STACK_COLOUR, WIDTH, Drawing, Picture, Rows, Scene, heading, values
from analysis.wording import duration, large, percent

LABELS = 190
PURPOSES = {
    "calibrate": "search: baseline seeds",
    "bracket": "search: tuning the baseline",
    "placebo": "search: placebo pairs",
    "screen": "search: screening",
    "confirm": "search: confirmation",
    "horizon": "ladder: baseline horizons",
    "pair": "ladder: pairs and crossing",
    "aa": "ladder: A/A",
    "plan": "ladder: half-stacks",
    "landing": "ladder: landing run",
    "spared": "not spent: gates",
}

SQL = """\
SELECT purpose, count(*) AS runs, round(fsum(flops)) AS flops, round(fsum(seconds), 3) AS seconds
FROM runs WHERE status IN ('finished', 'diverged', 'failed') GROUP BY purpose
UNION ALL
SELECT 'spared', count(*), round(fsum(flops_saved)), NULL
FROM gates WHERE flops_saved > 0 HAVING count(*) > 0
ORDER BY purpose"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw two columns of bars, FLOPs and seconds, in the order in which a study spends them."""
    order = list(PURPOSES)
    spent = sorted(
        (row for row in rows if row["flops"] or row["seconds"]),
        key=lambda row: order.index(row["purpose"]) if row["purpose"] in order else -1,
    )
    if not spent:
        return None
    drawn = [
        {
            "label": PURPOSES.get(row["purpose"], row["purpose"]),
            "spared": row["purpose"] == "spared",
            "flops": row["flops"] or 0.0,
            "seconds": row["seconds"] or 0.0,
            "flops_text": large(row["flops"], "FLOP") if row["flops"] else "",
            "seconds_text": duration(row["seconds"]) if row["seconds"] else "",
        }
        for row in spent
    ]
    panels = [
        _panel(drawn, "flops", "compute", first=True),
        _panel(drawn, "seconds", "seconds of training", first=False),
    ]
    return alt.hconcat(*panels, spacing=16).properties(
        title=heading(
            _title(rows),
            "Every run that ended, the diverged and failed ones too; the hollow "
            "bar is compute that the gates did not spend.",
        )
    )


def _panel(drawn: Rows, column: str, title: str, *, first: bool) -> Drawing:
    order = [row["label"] for row in drawn]
    axis = alt.Axis(
        minExtent=LABELS,
        maxExtent=LABELS,
        labelLimit=LABELS,
        labelFontSize=12,
        labelColor=INK,
        ticks=False,
        domain=False,
    )
    highest = max(row[column] for row in drawn) or 1.0
    base = alt.Chart(values(drawn)).encode(
        y=alt.Y("label:N", sort=order, title=None, axis=axis if first else None),
        x=alt.X(f"{column}:Q", title=None, axis=None, scale=alt.Scale(domain=[0, highest * 1.38])),
    )
    bars = base.transform_filter("!datum.spared").mark_bar(color=STACK_COLOUR, height=13)
    spared = base.transform_filter(f"datum.spared && datum.{column} > 0").mark_bar(
        fill="white", stroke=STACK_COLOUR, strokeDash=[3, 2], height=12
    )
    text = base.mark_text(align="left", dx=5, color=QUIET, fontSize=11).encode(text=f"{column}_text:N")
    return alt.layer(bars, spared, text).properties(
        width=(WIDTH - LABELS - 30) // 2,
        height=alt.Step(22),
        title=alt.TitleParams(title, fontSize=12, anchor="start", offset=6, color=INK),
    )


def _title(rows: Rows) -> str:
    spent = {row["purpose"]: row["flops"] or 0.0 for row in rows if row["purpose"] != "spared"}
    spared = sum(row["flops"] or 0.0 for row in rows if row["purpose"] == "spared")
    total = sum(spent.values())
    if not total:
        return "What the study cost"
    most = max(spent, key=lambda purpose: spent[purpose])
    stage, _, step = PURPOSES.get(most, most).partition(": ")
    text = f"{percent(spent[most] / total)} of {large(total, 'FLOP')} went to {f'{step} ({stage})' if step else stage}"
    return f"{text}; the gates spared {large(spared, 'FLOP')} more" if spared else text


PICTURE = Picture("cost", "What it cost", SQL, draw, "No run has ended yet, so nothing was spent.")
