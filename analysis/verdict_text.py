"""Verdicts as text for the terminal: the words first, then the savings behind them, the forecasts, the reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from analysis.fit_amounts import amount
from analysis.grid import one_line, to_bare_table
from analysis.verdict_amounts import saved, saved_text, several_horizons, speedup_text
from analysis.verdict_sentences import method
from analysis.wording import MISSING, count_of, percent, percent_interval, shortened

Answer = Mapping[str, Any]

FRAGILE = "?"
EXTRAPOLATED = "*"
LONGEST_NAME = 40
MOST_RUNGS_ACROSS = 5
MOST_CELLS = 60
METHODS = ("decay", "last", "mean", "linear")


def verdict_text(answer: Answer) -> str:
    """All that a reader needs of what `verdict_answer` answers."""
    parts = (_head, _words, _rungs, _horizons, _times, _losses, _forecasts, _interactions, _reasons, _said)
    return "\n".join(text for part in parts if (text := part(answer)))


def _head(answer: Answer) -> str:
    sigmas, assumed = answer["sigma"]["values"], answer["sigma"]["assumed"]
    known = sorted({f"{one:.2g}" for one in sigmas if one is not None}, key=float)
    noise = known[0] if len(known) == 1 else f"{known[0]} to {known[-1]}" if known else MISSING
    origin = "assumed" if assumed and all(assumed) else "measured from seeds"
    return (
        f"{one_line(answer['source'])}: {count_of(len(answer['arms']), 'arm')} against {one_line(answer['baseline'])}, "
        f"on the axis {answer['axis']}.\n"
        f"Noise of a run: {noise} nats per token, {origin}. Smallest saving worth having: "
        f"{percent(answer['smallest_saving'])}.\n" + "".join(f"{said}\n" for said in method(answer))
    )


def _words(answer: Answer) -> str:
    rows = []
    for one in answer["arms"]:
        pooled = one["pooled"]
        rows.append(
            (
                shortened(one["arm"], LONGEST_NAME),
                one["verdict"] + (FRAGILE if one["fragile"] else ""),
                _saving(pooled[-1]) if pooled else MISSING,
                amount(pooled[-1][_key(answer)]) if pooled else MISSING,
                _signed(one["retention"]),
                _signed(one["trend_per_decade"]),
                _forecast(one["forecast"]),
            )
        )
    target = next((one["forecast"] for one in answer["arms"] if one["forecast"]), None)
    columns = ("arm", "verdict", "saves (90 %)", f"at {_unit(answer)}", "retention", "trend", "forecast")
    fragile = f"{FRAGILE} fragile: a modest change of assumptions changes the word.\n"
    far = f"{EXTRAPOLATED} extrapolated: over 4x beyond the highest rung.\n"
    return (
        to_bare_table(columns, rows)
        + "retention: ln speed-up at the highest rung less that at rung 0. trend: per tenfold params.\n"
        + f"forecast: at {_target(target)}.\n" * (target is not None)
        + fragile * any(one["fragile"] for one in answer["arms"])
        + far * any(one["forecast"] and one["forecast"]["extrapolated"] for one in answer["arms"])
    )


def _rungs(answer: Answer) -> str:
    """Speed-ups rung by rung, pooled over horizons."""
    key = _key(answer)
    sizes = sorted({one[key] for arm in answer["arms"] for one in arm["pooled"] if one[key] is not None})
    if not sizes:
        return ""
    rows = []
    for arm in answer["arms"]:
        by_size = {one[key]: one for one in arm["pooled"]}
        if by_size:
            rows.append((shortened(arm["arm"], LONGEST_NAME), *(_speedup(by_size.get(size)) for size in sizes)))
    pooled = ", pooled over horizons" if several_horizons(answer) else ""
    grid = [("arm", *map(amount, sizes)), *rows]
    if len(sizes) > MOST_RUNGS_ACROSS:
        grid = list(zip(*[(key, *grid[0][1:]), *grid[1:]], strict=True))
    return f"Speed-up (90 % interval) by {key}{pooled}\n" + to_bare_table([str(one) for one in grid[0]], grid[1:])


def _horizons(answer: Answer) -> str:
    """Speed-ups at every horizon, where there are several and not too many to read."""
    cells = [(arm["arm"], one) for arm in answer["arms"] for one in arm["rungs"]]
    if not several_horizons(answer) or len(cells) > MOST_CELLS * 2:
        return ""
    rungs = sorted({one["rung"] for _, one in cells})
    sizes = {one["rung"]: one["params"] for _, one in cells}
    rows = []
    for arm in answer["arms"]:
        by_ratio: dict[int, dict[int, Answer]] = {}
        for one in arm["rungs"]:
            by_ratio.setdefault(round(one["tokens"] / one["params"]), {})[one["rung"]] = one
        for ratio, found in sorted(by_ratio.items()):
            speeds = (_alone(found.get(rung)) for rung in rungs)
            rows.append((shortened(arm["arm"], LONGEST_NAME), ratio, *speeds))
    columns = ("arm", "tokens per param", *(amount(sizes[rung]) for rung in rungs))
    return "Speed-up by horizon\n" + to_bare_table(columns, rows)


def _alone(one: Answer | None) -> str:
    """A speed-up without its interval, or its bound."""
    if one is None:
        return MISSING
    return speedup_text(one) if one.get("bound") else f"{one['speedup']:.2f}"


def _times(answer: Answer) -> str:
    """What a saving in time is made of, at each arm's highest rung, over all its horizons there."""
    said = []
    for arm in answer["arms"]:
        timed = [
            one
            for one in _at_top(arm)
            if all(axis in one["axes"] and one["axes"][axis]["speedup"] for axis in ("seconds", "tokens"))
        ]
        if timed:
            tokens, seconds = (
                fmean(one["axes"][axis]["ln_speedup"] for one in timed) for axis in ("tokens", "seconds")
            )
            said.append(
                f"{one_line(arm['arm'])} at {amount(timed[-1]['params'])} params: {_change(-seconds)} time = "
                f"{_change(-tokens)} tokens x {_change(tokens - seconds)} seconds per token.\n"
            )
    return "".join(said)


def _at_top(arm: Answer) -> list[Answer]:
    return [one for one in arm["rungs"] if one["rung"] == arm["rungs"][-1]["rung"]]


def _losses(answer: Answer) -> str:
    """That a falling loss difference is not a falling saving, for the arms that clearly gain at both ends."""
    said = []
    for arm in answer["arms"]:
        ends = [arm["pooled"][place] for place in (0, -1)] if len(arm["pooled"]) > 1 else []
        sure = all(one["speedup"] and (one["speedup_low"] or 0) > 1 for one in ends)
        if not ends or not sure or "loss_difference" not in arm["rungs"][-1]:
            continue
        highest = _at_top(arm)
        lowest = [_same_horizon(arm["rungs"], one) for one in highest]
        first, last = (fmean(one["loss_difference"] for one in cells) for cells in (lowest, highest))
        if 0 < last < first:
            said.append(
                f"{one_line(arm['arm'])}: from the lowest rung to the highest the loss difference changes by "
                f"{percent(last / first - 1)}, the ln speed-up by "
                f"{percent(ends[-1]['ln_speedup'] / ends[0]['ln_speedup'] - 1)}. The latter is the saving: the "
                "baseline's slope falls too.\n"
            )
    return "".join(said)


def _same_horizon(cells: Sequence[Answer], high: Answer) -> Answer:
    """The cell at the lowest rung whose horizon is most like that of `high`, in tokens per param."""
    lowest = [one for one in cells if one["rung"] == cells[0]["rung"]]
    if None in (high["tokens"], high["params"]):
        return lowest[0]

    def apart(one: Answer) -> float:
        return abs(math.log(one["tokens"] / one["params"]) - math.log(high["tokens"] / high["params"]))

    return min(lowest, key=apart)


def _forecasts(answer: Answer) -> str:
    """Every method's forecast, and how it did when the top rung was left out."""
    found = [one for one in answer["arms"] if one["forecast"]]
    if not found:
        return ""
    rows = []
    for one in found:
        methods = one["forecast"]["methods"]
        rows.append((shortened(one["arm"], LONGEST_NAME), *(_method(methods.get(name)) for name in METHODS)))
    errors = [
        [
            abs(e)
            for one in found
            if (e := one["forecast"]["methods"].get(name, {}).get("leave_top_rung_out_error")) is not None
        ]
        for name in METHODS
    ]
    if any(errors):
        rows.append(("mean absolute error", *(f"{sum(one) / len(one):.3f}" if one else MISSING for one in errors)))
    return "Forecast speed-up (error of the same method for the top rung, from those below)\n" + to_bare_table(
        ("arm", *METHODS), rows
    )


def _method(one: Answer | None) -> str:
    if not one or one["speedup"] is None:
        return MISSING
    error = one["leave_top_rung_out_error"]
    return f"{one['speedup']:.2f}" if error is None else f"{one['speedup']:.2f} ({error:+.3f})"


def _interactions(answer: Answer) -> str:
    rows: list[tuple[object, ...]] = []
    for one in answer["interactions"]:
        rows.append((shortened(one["arm"], LONGEST_NAME), one["kind"], _interval(one)))
        for effect in (one["detail"] or {}).get("findings", []):
            rows.append((shortened(effect["finding"], LONGEST_NAME), "main effect, half-stack", _interval(effect)))
    return (
        "Interactions (ln speed-up, 90 % interval)\n" + to_bare_table(("arm", "kind", "ln speed-up"), rows)
        if rows
        else ""
    )


def _reasons(answer: Answer) -> str:
    lines = []
    for one in answer["arms"]:
        gone = " Its gain is forecast to vanish: at the target none is established." if one.get("vanishing") else ""
        lines.append(f"{one_line(one['arm'])}: {one_line(one['reason'])}{gone}\n")
    return "".join(lines)


def _said(answer: Answer) -> str:
    return "".join(
        f"{kind}: {one_line(text)}\n"
        for kind, texts in (("Warning", answer["warnings"]), ("Note", answer["notes"]))
        for text in texts
    )


def _key(answer: Answer) -> str:
    return (
        "flops"
        if answer["axis"] == "flops" and any("flops" in o for a in answer["arms"] for o in a["pooled"])
        else "params"
    )


def _unit(answer: Answer) -> str:
    return "FLOPs" if _key(answer) == "flops" else "params"


def _target(one: Answer | None) -> str:
    if one is None:
        return MISSING
    return f"{amount(one['params'])} params" if one["params"] is not None else f"{amount(one['flops'])} FLOPs"


def _saving(one: Answer) -> str:
    if one.get("bound"):
        return saved_text(one)
    low, high = saved(one["speedup_low"]), saved(one["speedup_high"])
    return f"{percent(saved(one['speedup']))} ({percent_interval(low, high)})"


def _speedup(one: Answer | None) -> str:
    if one is not None and one.get("bound"):
        return speedup_text(one)
    if one is None or one["speedup"] is None:
        return MISSING
    return f"{one['speedup']:.2f} ({_two(one['speedup_low'])}–{_two(one['speedup_high'])})"


def _two(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def _forecast(one: Answer | None) -> str:
    if one is None or one["speedup"] is None:
        return MISSING
    return _saving(one) + EXTRAPOLATED * bool(one["extrapolated"])


def _interval(one: Answer) -> str:
    if one["ln_speedup"] is None:
        return MISSING
    return f"{one['ln_speedup']:+.3f} ({one['ln_speedup_low']:+.3f} to {one['ln_speedup_high']:+.3f})"


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.3f}"


def _change(ln_ratio: float) -> str:
    return f"{100 * math.expm1(ln_ratio):+.1f} %"
