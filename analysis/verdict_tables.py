"""The tables of a verdict's page: words, speed-ups by rung and horizon, forecasts, interactions, baseline curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.fit_amounts import amount
from analysis.law_axes import flops_text
from analysis.tables import Table
from analysis.verdict_amounts import (
    LONGEST_TEXT,
    Answer,
    bound_of,
    name_text,
    saved_text,
    scale_key,
    scale_text,
    signed_text,
    size_text,
    speedup_text,
    strongest_first,
    times_text,
    top_of,
)
from analysis.wording import MISSING

METHODS = {"decay": "decay (the forecast)", "last": "last rung", "mean": "mean of rungs", "linear": "straight line"}
MOST_COLUMNS = 5
VANISHING = " Its gain is forecast to vanish: at the target none is established."


@dataclass(frozen=True, slots=True)
class WordLine:
    """One arm in the table of words; `cells` beside its name and word, `reason` on a line of its own."""

    arm: str
    word: str
    fragile: bool
    cells: Sequence[str]
    reason: str


def word_columns(answer: Answer) -> list[str]:
    """Return the headings of the cells of `word_lines`."""
    target = next((one["forecast"] for one in answer["arms"] if one["forecast"]), None)
    at = "" if target is None else f" at {size_text(answer, target)}"
    scale = "FLOPs" if scale_key(answer) == "flops" else "params"
    return ["Saves", f"At {scale}", "Change from rung 0, lnS", "Trend, lnS", f"Forecast saving{at}"]


def word_lines(answer: Answer) -> list[WordLine]:
    """Return a line per arm, strongest first."""
    return [_word_line(answer, one) for one in strongest_first(answer)]


def _word_line(answer: Answer, arm: Answer) -> WordLine:
    top, forecast = top_of(arm) or bound_of(arm), arm["forecast"]
    far = "*" if forecast and forecast["extrapolated"] else ""
    cells = (
        saved_text(top),
        MISSING if top is None else scale_text(answer, top),
        _interval(arm, "retention"),
        _interval(arm, "trend_per_decade"),
        MISSING if not forecast else f"{saved_text(forecast)}{far}",
    )
    reason = name_text(arm["reason"], LONGEST_TEXT) + VANISHING * bool(arm["vanishing"])
    return WordLine(name_text(arm["arm"]), arm["verdict"], bool(arm["fragile"]), cells, reason)


def _interval(arm: Answer, key: str) -> str:
    return signed_text(arm[key], arm[f"{key}_low"], arm[f"{key}_high"])


def rung_table(answer: Answer) -> Table:
    """Return the pooled speed-ups: a row per arm, or a row per rung where the rungs are many."""
    key = scale_key(answer)
    arms = [one for one in strongest_first(answer) if one["pooled"]]
    heads_by_size = {one[key]: scale_text(answer, one) for arm in arms for one in arm["pooled"]}
    sizes = sorted(heads_by_size)
    found = [{one[key]: speedup_text(one) for one in arm["pooled"]} for arm in arms]
    names, heads = [name_text(arm["arm"]) for arm in arms], [heads_by_size[size] for size in sizes]
    cells = [[one.get(size, MISSING) for size in sizes] for one in found]
    if not arms:
        return Table([], [])
    if len(sizes) <= MOST_COLUMNS or len(arms) > len(sizes):
        return _table("Arm", heads, names, cells)
    return _table("FLOPs" if key == "flops" else "Params", names, heads, list(zip(*cells, strict=True)))


def _table(corner: str, heads: Sequence[str], names: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    return Table([(corner, False), *((head, True) for head in heads)], rows)


def horizon_table(answer: Answer) -> Table:
    """Return a row per arm, rung and horizon: runs, finished loss, and the speed-up on every axis that has one."""
    axis = answer["axis"]
    others = [
        one
        for one in ("tokens", "flops", "seconds")
        if one != axis and any(_differs(cell, axis, one) for arm in answer["arms"] for cell in arm["rungs"])
    ]
    columns = [
        ("Arm", False),
        *((name, True) for name in ("Params", "Tokens", "FLOPs", "Pairs", "Loss", "Below the baseline")),
        (f"Speed-up, {axis}", True),
        *((f"In {one}", True) for one in others),
    ]
    rows = [
        [
            name_text(arm["arm"]),
            *(amount(cell[key]) for key in ("params", "tokens")),
            flops_text(cell["flops"]),
            str(cell["pairs"]),
            f"{cell['loss']:.4f}",
            f"{cell['loss_difference']:+.4f}".replace("-", "−"),
            speedup_text(cell),
            *(times_text(cell["axes"].get(one, {}).get("speedup")) for one in others),
        ]
        for arm in strongest_first(answer)
        for cell in arm["rungs"]
    ]
    return Table(columns, rows)


def _differs(cell: Answer, axis: str, other: str) -> bool:
    """Whether a cell's speed-up on another axis says more than that on the axis that was judged."""
    one, two = cell["axes"].get(axis), cell["axes"].get(other)
    return two is not None and (one is None or one["speedup"] != two["speedup"])


def forecast_table(answer: Answer) -> Table:
    """Return every method's forecast speed-up, and its error for the top rung from those below."""
    arms = [one for one in strongest_first(answer) if one["forecast"]]
    if not arms:
        return Table([], [])
    columns = ["Forecast (90 %)", *METHODS.values()]
    names = [name_text(one["arm"]) for one in arms]
    cells = []
    for one in arms:
        forecast = one["forecast"]
        far = "*" if forecast["extrapolated"] else ""
        cells.append([speedup_text(forecast) + far, *(_method(forecast["methods"].get(name)) for name in METHODS)])
    errors = [_mean_error(arms, name) for name in METHODS]
    if any(one != MISSING for one in errors):
        names.append("Mean absolute error")
        cells.append(["", *errors])
    return _table("Arm", columns, names, cells)


def _method(one: Answer | None) -> str:
    if one is None or one["speedup"] is None:
        return MISSING
    error = one["leave_top_rung_out_error"]
    return times_text(one["speedup"]) + ("" if error is None else f" ({error:+.3f})".replace("-", "−"))


def _mean_error(arms: Sequence[Answer], method: str) -> str:
    found = [one["forecast"]["methods"].get(method, {}).get("leave_top_rung_out_error") for one in arms]
    known = [abs(one) for one in found if one is not None]
    return f"{sum(known) / len(known):.3f}" if known else MISSING


def interaction_table(answer: Answer) -> Table:
    """Return what combinations of arms add to or take from the sum of their members, and a plan's main effects."""
    rows = []
    for one in answer["interactions"]:
        rows.append([name_text(one["arm"]), one["kind"], _ln(one)])
        for effect in (one["detail"] or {}).get("findings", []):
            rows.append([name_text(effect["finding"]), "main effect, half-stack", _ln(effect)])
    return Table([("Arm", False), ("Kind", False), ("lnS (90 %)", True)], rows)


def _ln(one: Answer) -> str:
    return signed_text(one["ln_speedup"], one["ln_speedup_low"], one["ln_speedup_high"])


def curve_table(answer: Answer) -> Table:
    """Return the baseline's fitted curves: their first point, the slope there, and the exponents by which it falls."""
    along = scale_key(answer) == "flops"
    columns = ["From", "Loss there", "Slope there", "Exponents", "Points", "Losses"]
    names = ["all budgets" if one["params"] is None else amount(one["params"]) for one in answer["baseline_curves"]]
    cells = [
        [
            (flops_text if along else amount)(one["points"][0]),
            f"{one['loss_ref']:.4g}",
            f"{one['kappa_ref']:.3g}",
            _exponents(one["exponents"]),
            str(len(one["points"])),
            f"{max(one['losses']):.3f} to {min(one['losses']):.3f}",
        ]
        for one in answer["baseline_curves"]
    ]
    return _table("Frontier" if along else "Params", columns, names, cells)


def _exponents(exponents: Sequence[float]) -> str:
    low, high = f"{min(exponents):.2f}", f"{max(exponents):.2f}"
    return (low if low == high else f"{low} to {high}").replace("-", "−")
