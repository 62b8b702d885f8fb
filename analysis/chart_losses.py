"""The picture of the ladder: finished loss against tokens, one panel per rung, one colour per arm."""

import math
from collections import defaultdict
from statistics import fmean
from typing import Any

import altair as alt

from analysis.style import BASELINE_COLOUR, INK, WIDTH, Drawing, Picture, Rows, Scene, heading, short_labels, values
from analysis.wording import params_text, tokens_text

PANELS_IN_A_LINE = 3
MOST_IN_TWO_COLUMNS = 8
SPREAD = 0.062  # natural log of tokens between two arms drawn beside each other

SQL = """\
SELECT rung, params, arm, purpose, tokens, seed, val_loss
FROM runs
WHERE status = 'finished' AND val_loss IS NOT NULL
  AND purpose IN ('horizon', 'pair', 'landing') AND arm NOT LIKE 'without:%' AND arm NOT LIKE 'plan:%'
ORDER BY rung, arm, tokens, seed, run_id"""


def draw(rows: Rows, scene: Scene) -> Drawing | None:
    """Draw every finished run of the ladder as a small dot, every arm's mean as a large one, the baseline as a line."""
    if not rows:
        return None
    arms = sorted({row["arm"] for row in rows}, key=lambda arm: (arm != "baseline", arm != "stack", arm))
    length = 46 if len(arms) <= MOST_IN_TWO_COLUMNS else 32
    names = short_labels({arm: scene.title(arm) for arm in arms}, length)
    colour = alt.Color(
        "label:N",
        title=None,
        legend=alt.Legend(orient="bottom", columns=2 if len(arms) <= MOST_IN_TWO_COLUMNS else 3, symbolOpacity=1),
        scale=alt.Scale(domain=list(names.values()), range=[scene.colour(arm) for arm in arms]),
    )
    shape = alt.Shape(
        "label:N",
        title=None,
        scale=alt.Scale(domain=list(names.values()), range=[scene.shapes.get(arm, "circle") for arm in arms]),
    )
    rungs = _params_by_rung(rows)
    width = min(300, (WIDTH - 60 * min(len(rungs), PANELS_IN_A_LINE)) // min(len(rungs), PANELS_IN_A_LINE))
    panels = [
        _panel([row for row in rows if row["rung"] == rung], names, colour, shape).properties(
            width=width,
            height=280,
            title=alt.TitleParams(
                f"Rung {rung}: {params_text(params)} params", fontSize=12, color=INK, anchor="start", offset=6
            ),
        )
        for rung, params in rungs.items()
    ]
    lines = [
        alt.hconcat(*panels[start : start + PANELS_IN_A_LINE], spacing=14)
        for start in range(0, len(panels), PANELS_IN_A_LINE)
    ]
    return alt.vconcat(*lines).properties(
        title=heading(
            _title(rows),
            "Finished runs only: small marks are runs, large ones means. The line "
            "joins the baseline's horizons. Arms are set apart sideways: those at the same tokens are pairs, those "
            "at fewer lead to the tokens on which an arm ends at the baseline's loss; the hollow "
            "mark is the landing run, shortened by what was claimed.",
        )
    )


def _params_by_rung(rows: Rows) -> dict[int, int | None]:
    """Return the size of each rung, which is the baseline's: an arm may have more parameters, or fewer."""
    sizes: dict[int, int | None] = dict.fromkeys(sorted({row["rung"] for row in rows}))
    return sizes | {row["rung"]: row["params"] for row in rows if row["arm"] == "baseline"}


def _panel(rows: Rows, names: dict[str, str], colour: alt.Color, shape: alt.Shape) -> Drawing:
    shift = {arm: math.exp(SPREAD * (place - len(names) / 2)) for place, arm in enumerate(names)}
    shift["baseline"] = 1.0
    runs = [
        {"x": row["tokens"] * shift[row["arm"]], "val_loss": row["val_loss"], "label": names[row["arm"]]}
        for row in rows
    ]
    means = _means(rows)
    large = [{**mean, "x": mean["tokens"] * shift[mean["arm"]], "label": names[mean["arm"]]} for mean in means]
    landed = [mean for mean in large if mean["purpose"] == "landing"]
    horizons = sorted({mean["tokens"] for mean in means if mean["arm"] == "baseline"})
    x = alt.X(
        "x:Q",
        title="tokens (log)",
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(
            values=horizons, labelExpr=labels({value: tokens_text(value) for value in horizons}), labelOverlap=True
        ),
    )
    y = alt.Y(
        "val_loss:Q",
        title="finished loss, nats per token",
        scale=alt.Scale(zero=False, padding=8),
        axis=alt.Axis(tickCount=5, labelBound=True),
    )
    line = (
        alt.Chart(values([mean for mean in large if mean["arm"] == "baseline"]))
        .mark_line(color=BASELINE_COLOUR, strokeWidth=1.5)
        .encode(x=x, y=y)
    )
    small = (
        alt.Chart(values(runs))
        .mark_point(filled=True, size=12, opacity=0.45)
        .encode(x=x, y=y, color=colour, shape=shape)
    )
    big = (
        alt.Chart(values([mean for mean in large if mean["purpose"] != "landing"]))
        .mark_point(filled=True, size=62, opacity=1, stroke="white", strokeWidth=0.8)
        .encode(x=x, y=y, color=colour, shape=shape)
    )
    hollow = (
        alt.Chart(values(landed))
        .mark_point(fill="white", size=62, opacity=1, strokeWidth=2)
        .encode(x=x, y=y, color=colour, shape=shape)
    )
    return alt.layer(line, small, big, hollow)


def labels(texts: dict[float, str]) -> str:
    """Return a Vega expression that writes each axis value as the text given for it; other values stay bare."""
    chain = "''"
    for value, text in texts.items():
        chain = f"abs(datum.value/{value} - 1) < 1e-6 ? '{text}' : {chain}"
    return chain


def _means(rows: Rows) -> list[dict[str, Any]]:
    groups: defaultdict[tuple[str, int, str], list[float]] = defaultdict(list)
    for row in rows:
        purpose = "landing" if row["purpose"] == "landing" and row["arm"] != "baseline" else "pair"
        groups[row["arm"], row["tokens"], purpose].append(row["val_loss"])
    return [
        {"arm": arm, "tokens": tokens, "purpose": purpose, "val_loss": fmean(losses)}
        for (arm, tokens, purpose), losses in sorted(groups.items())
    ]


def _title(rows: Rows) -> str:
    top = max(row["rung"] for row in rows)
    means = {
        (mean["arm"], mean["tokens"]): mean["val_loss"]
        for mean in _means([row for row in rows if row["rung"] == top])
        if mean["purpose"] == "pair"
    }
    shared = [tokens for arm, tokens in means if arm == "stack" and ("baseline", tokens) in means]
    if not shared:
        return "Finished loss by tokens, rung by rung"
    gap = means["baseline", shared[-1]] - means["stack", shared[-1]]
    side = "below" if gap > 0 else "above"
    return f"On the top rung the stack ends {abs(gap):.3f} nats {side} the baseline at the same tokens"


PICTURE = Picture(
    "losses",
    "Finished loss by tokens",
    SQL,
    draw,
    "No run of the ladder has finished yet, so there is no loss to draw.",
)
