"""The picture of the A/A check: baseline against baseline, rung by rung, must say nothing."""

import altair as alt

from analysis.style import INK, WIDTH, Drawing, Picture, Rows, Scene, heading, values
from analysis.wording import count_of, listed, params_text

LABELS = 170
COLOURS = {"passes": "#0072B2", "frozen": "#D55E00"}

SQL = """\
SELECT rung, params, pairs, 1 - exp(-ln_speedup) AS saving, 1 - exp(-low_99) AS saving_low_99,
       1 - exp(-high_99) AS saving_high_99, frozen
FROM aa ORDER BY rung"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw one line per rung: the saving of the baseline over itself with its 99 % interval, which should cover 0."""
    if not rows:
        return None
    drawn = [
        {
            **row,
            "label": f"rung {row['rung']}: {params_text(row['params'])}, {count_of(row['pairs'], 'pair')}",
            "outcome": "frozen" if row["frozen"] else "passes",
        }
        for row in rows
    ]
    base = alt.Chart(values(drawn)).encode(
        y=alt.Y(
            "label:N",
            sort=[row["label"] for row in drawn],
            title=None,
            axis=alt.Axis(
                minExtent=LABELS,
                maxExtent=LABELS,
                labelLimit=LABELS,
                labelFontSize=12,
                labelColor=INK,
                ticks=False,
                domain=False,
            ),
        ),
        color=alt.Color(
            "outcome:N",
            title=None,
            scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
            legend=alt.Legend(orient="top", symbolType="circle", offset=4),
        ),
    )
    x = alt.X(
        "saving_low_99:Q", title="tokens that the baseline saves over itself (99 % interval)", axis=alt.Axis(format="%")
    )
    zero = alt.Chart(values([{"zero": 0}])).mark_rule(color=INK, strokeWidth=1).encode(x="zero:Q")
    return alt.layer(
        zero,
        base.mark_rule(strokeWidth=2).encode(x=x, x2="saving_high_99:Q"),
        base.mark_point(filled=True, size=80, opacity=1).encode(x="saving:Q"),
    ).properties(
        width=WIDTH - LABELS - 40,
        height=alt.Step(26),
        title=heading(
            _title(rows),
            "Two baselines on fresh seeds. An interval that leaves out 0 "
            "freezes the rung: its numbers cannot be trusted.",
        ),
    )


def _title(rows: Rows) -> str:
    frozen = [str(row["rung"]) for row in rows if row["frozen"]]
    if frozen:
        return (
            f"Rung {listed(frozen)} {'is' if len(frozen) == 1 else 'are'} "
            "frozen: baseline against baseline differs there"
        )
    if len(rows) == 1:
        return "Baseline against baseline shows nothing on the one rung checked, as it should"
    return f"Baseline against baseline shows nothing on any of {len(rows)} rungs, as it should"


PICTURE = Picture(
    "aa",
    "A/A: the baseline against itself",
    SQL,
    draw,
    "No A/A pair has been run yet: nothing shows that the bench is level.",
)
