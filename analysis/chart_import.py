"""The pictures of an imported log: its trials in their order, and its keeps against the noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from analysis.import_summary import ImportSummary
from analysis.style import (
    BAND,
    INK,
    QUIET,
    STATUS_COLOURS,
    WIDTH,
    Drawing,
    Picture,
    Rows,
    heading,
    short_labels,
    shortened_title,
    values,
)
from analysis.wording import count_of, listed, number

LARGER, WITHIN, DROPPED, SWAP = "kept, larger than a seed swap", "kept, within a seed swap", "dropped", "seed swap"
KEPT = "kept"
COLOURS = {
    LARGER: STATUS_COLOURS["kept"],
    WITHIN: STATUS_COLOURS["unresolved"],
    KEPT: STATUS_COLOURS["kept"],
    DROPPED: "#b9bec8",
    SWAP: "#0072B2",
}
NOISE = "#cfe0ee"
HEADROOM = 0.04
LABELS = 290
MOST_ROWS = 60
MOST_DROPPED = 1500

TRIALS = """\
SELECT 0 AS trial, 'baseline' AS trial_id, 'baseline' AS title, 'baseline' AS status, false AS placebo,
       NULL AS gain, coalesce(val_bpb, val_loss) AS loss
FROM runs WHERE arm = 'baseline'
UNION ALL
SELECT row_number() OVER (ORDER BY trials.written_at), trial_id, title, trials.status, placebo,
       effect, coalesce(val_bpb, val_loss)
FROM trials JOIN runs ON arm = 'trial:' || trial_id
ORDER BY trial"""
GAINS = "SELECT finding_id, title, effect AS gain FROM findings ORDER BY effect DESC, finding_id"


def pictures(said: ImportSummary) -> tuple[Picture, ...]:
    """Return the pictures of a log; what they say of the noise is that of its summary."""
    return (
        Picture("import_trials", "The trials in their order", TRIALS, lambda rows, _: _trials(rows, said), "No trial."),
        Picture(
            "import_gains",
            "Each keep against the noise",
            GAINS,
            lambda rows, _: _gains(rows, said),
            "No keep gains anything over the best before it, or nothing tells the noise: there is nothing to draw.",
        ),
    )


def _group(row: Mapping[str, Any], said: ImportSummary) -> str:
    if row["placebo"]:
        return SWAP
    if row["status"] != "kept":
        return DROPPED
    if said.noise is None:
        return KEPT
    return LARGER if row["gain"] > said.noise.sd else WITHIN


def _trials(rows: Rows, said: ImportSummary) -> Drawing | None:
    """Draw losses over the number of the trial, the best kept so far as steps, and the noise as a band below it."""
    baseline, trials = rows[0], [row for row in rows[1:] if row["loss"] is not None]
    if not trials:
        return None
    steps = _steps(rows, said)
    low = min([*(row["loss"] for row in trials), *(step["low"] for step in steps)])
    room = HEADROOM * (baseline["loss"] - low) or HEADROOM * low
    losses = sorted(row["loss"] for row in trials)
    # One ruinous trial must not press all others into a line.
    domain = [low - room, max(baseline["loss"], losses[len(losses) // 2]) + room]
    inside = [{**row, "group": _group(row, said)} for row in trials if row["loss"] <= domain[1]]
    drawn = _thinned(inside)
    left_out = (
        (len(inside) - len(drawn), "that were dropped, for room"),
        (len(trials) - len(inside), f"worse than {number(domain[1])}"),
        (len(rows) - 1 - len(trials), "without a number"),
    )
    title, scale = f"loss, {said.unit} (lower is better)", alt.Scale(domain=domain, nice=False, zero=False)
    along = alt.X(
        "trial:Q",
        title="trial, in the order of the log",
        scale=alt.Scale(domain=[0, len(rows)], nice=False),
        axis=alt.Axis(grid=False),
    )
    over = alt.Chart(values(steps)).encode(x=along)
    band = over.mark_area(interpolate="step-after", color=NOISE).encode(
        y=alt.Y("low:Q", title=title, scale=scale), y2="best:Q"
    )
    line = over.mark_line(interpolate="step-after", color=INK, strokeWidth=1.2).encode(
        y=alt.Y("best:Q", title=title, scale=scale)
    )
    shown = [one for one in COLOURS if any(row["group"] == one for row in drawn)]
    points = (
        alt.Chart(values(drawn))
        .mark_point(filled=True, opacity=1)
        .encode(
            x=along,
            y=alt.Y("loss:Q", title=title, scale=scale),
            shape=alt.condition(f"datum.group === '{SWAP}'", alt.value("diamond"), alt.value("circle")),
            color=alt.Color(
                "group:N",
                title=None,
                legend=alt.Legend(orient="top", symbolType="circle", offset=4),
                scale=alt.Scale(domain=shown, range=[COLOURS[one] for one in shown]),
            ),
            size=alt.condition(f"datum.group === '{DROPPED}'", alt.value(28), alt.value(70)),
        )
    )
    layers = [line, points] if said.noise is None else [band, line, points]
    return alt.layer(*layers).properties(
        width=WIDTH - 70, height=330, title=heading(_title(said), _note(said, left_out))
    )


def _thinned(rows: Rows) -> Rows:
    """Leave out dropped trials, evenly, where there are more than a picture can hold; the others lie on top."""
    dropped = [row["trial"] for row in rows if row["group"] == DROPPED]
    every = -(-len(dropped) // MOST_DROPPED)
    shown = set(dropped[::every]) if dropped else set()
    drawn = [row for row in rows if row["group"] != DROPPED or row["trial"] in shown]
    return sorted(drawn, key=lambda row: row["group"] != DROPPED)


def _steps(rows: Rows, said: ImportSummary) -> list[dict[str, float]]:
    """Where the best kept so far changes, and at the end; one noise below it."""
    noise = 0.0 if said.noise is None else said.noise.sd
    best = rows[0]["loss"]
    steps: list[dict[str, float]] = []
    for row in rows:
        if row["status"] == "kept":
            best = min(best, row["loss"])
        if not steps or best < steps[-1]["best"] or row is rows[-1]:
            steps.append({"trial": row["trial"], "best": best, "low": best - noise})
    return steps


def _title(said: ImportSummary) -> str:
    if said.noise is None:
        return f"{said.kept} of {count_of(said.trials, 'trial')} kept, each against the best so far"
    return f"{said.larger} of {count_of(said.kept, 'keep')} beat the best so far by more than {_noise(said)}"


def _noise(said: ImportSummary) -> str:
    return "one seed swap" if said.noise is not None and said.noise.dof == 1 else "the noise of the seed swaps"


def _note(said: ImportSummary, left_out: Sequence[tuple[int, str]]) -> str:
    parts = ["Line: the best kept so far."]
    if said.noise is not None:
        parts.append(f"Band: {_noise(said)}, {number(said.noise.sd)}; a keep has to fall through it to be larger.")
    if absent := [f"{count_of(times, 'trial')} {which}" for times, which in left_out if times]:
        parts.append(f"Not drawn: {listed(absent)}.")
    return " ".join(parts)


def _gains(rows: Rows, said: ImportSummary) -> Drawing | None:
    """Draw each keep's gain on a logarithmic axis, over the interval that the noise may lie in."""
    noise = said.noise
    positive = [row for row in rows if row["gain"] > 0]
    if noise is None or not positive:
        return None
    drawn = positive[:MOST_ROWS]
    labels = list(short_labels({row["finding_id"]: shortened_title(row) for row in drawn}, 40).values())
    points = [
        {"label": label, "gain": row["gain"], "group": LARGER if row["gain"] > noise.sd else WITHIN}
        for label, row in zip(labels, drawn, strict=True)
    ]
    ends = [noise.low, noise.high, *(row["gain"] for row in drawn)]
    scale = alt.Scale(type="log", domain=[min(ends) / 1.3, max(ends) * 1.3], nice=False)
    x_title = f"gain over the best kept before, {said.unit} (logarithmic)"
    band = (
        alt.Chart(values([{"low": noise.low, "high": noise.high}]))
        .mark_rect(color=BAND)
        .encode(x=alt.X("low:Q", scale=scale, title=x_title), x2="high:Q")
    )
    line = alt.Chart(values([{"sd": noise.sd}])).mark_rule(color=QUIET, strokeWidth=1.5).encode(x="sd:Q")
    dots = (
        alt.Chart(values(points))
        .mark_point(filled=True, size=75, opacity=1)
        .encode(
            x=alt.X("gain:Q", scale=scale),
            y=alt.Y(
                "label:N",
                sort=labels,
                title=None,
                axis=alt.Axis(labelLimit=LABELS - 14, labelFontSize=12, labelColor=INK, ticks=False, domain=False),
            ),
            color=alt.Color(
                "group:N",
                title=None,
                legend=alt.Legend(orient="top", symbolType="circle", offset=4),
                scale=alt.Scale(domain=[LARGER, WITHIN], range=[COLOURS[LARGER], COLOURS[WITHIN]]),
            ),
        )
    )
    note = (
        f"Line: {_noise(said)}, {number(noise.sd)}. Grey: where the noise may lie (90 %), known from {noise.dof} "
        f"{'repeat' if noise.dof == 1 else 'repeats'}; only a keep to the right of the grey is larger whatever it is."
    )
    if len(positive) > len(drawn):
        note += f" The {len(drawn)} largest of {len(positive)} are drawn."
    hidden = len(rows) - len(positive)
    if hidden:
        note += f" {count_of(hidden, 'keep')} without a gain cannot be drawn on this axis."
    return alt.layer(band, line, dots).properties(
        width=WIDTH - LABELS, height=alt.Step(20), title=heading("What each keep gained, against the noise", note)
    )
