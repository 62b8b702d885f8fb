"""The report's tables of results: words and numbers ready to print, the same for HTML and Markdown."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.answer import main_axis
from analysis.evidence import Evidence
from analysis.style import Scene
from analysis.wording import (
    MISSING,
    bounded,
    change_text,
    digits,
    least_saving,
    listed,
    measured_text,
    number,
    params_text,
    percent,
    saving_text,
    tokens_text,
)

AXES = ("tokens", "flops", "seconds")
METHODS = {"decay": "decay (the forecast)", "last": "last rung", "mean": "mean of rungs", "linear": "straight line"}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns as (name, is a number), and rows of text of equal length."""

    columns: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class VerdictLine:
    """One line of the verdict table; `savings` in the order of AXES, `colour` that of the arm in the pictures."""

    title: str
    word: str
    fragile: bool
    savings: tuple[str, ...]
    retention: str
    reason: str
    colour: str


def verdict_lines(evidence: Evidence, scene: Scene) -> list[VerdictLine]:
    """Return the stack's line and one per finding, the largest saving first; words are those of the main axis."""
    axis = main_axis(evidence)
    judged = [row for row in evidence.verdicts if row["axis"] == axis and not row["arm"].startswith("without:")]
    return [
        _verdict_line(row, evidence, scene) for row in sorted(judged, key=lambda row: _by_saving(row, evidence, axis))
    ]


def _by_saving(row: dict[str, Any], evidence: Evidence, axis: str) -> tuple[bool, float, str]:
    measured = evidence.saving(row["arm"], axis, _rung_of(row, evidence))
    saving = None if measured is None else least_saving(measured)
    return row["arm"] != "stack", 9.0 if saving is None else -saving, row["arm"]


def _verdict_line(row: dict[str, Any], evidence: Evidence, scene: Scene) -> VerdictLine:
    rung = _rung_of(row, evidence)
    measured = [evidence.saving(row["arm"], axis, rung) for axis in AXES]
    savings = tuple(MISSING if one is None else measured_text(one) for one in measured)
    below = (
        ""
        if rung == evidence.top_rung or rung is None
        else f" (measured up to rung {rung}, {params_text(evidence.params_at(rung))})"
    )
    return VerdictLine(
        title=scene.title(row["arm"]),
        word=str(row["verdict"]),
        fragile=bool(row["fragile"]),
        savings=savings,
        retention=change_text(row["retention"], row["retention_low"], row["retention_high"]),
        reason=f"{row['reason'] or ''}{below}",
        colour=scene.colour(row["arm"]),
    )


def margin_sentence(evidence: Evidence, scene: Scene) -> str:
    """Return what 'transfers' asks of the retention's interval; empty where no verdict records the margin."""
    axis = main_axis(evidence)
    arms: defaultdict[str, list[str]] = defaultdict(list)
    for row in sorted(evidence.verdicts, key=lambda row: (row["arm"] != "stack", row["arm"])):
        if row["axis"] == axis and row["margin"] is not None and not row["arm"].startswith("without:"):
            arms[digits(row["margin"])].append(scene.title(row["arm"]))
    if not arms:
        return ""
    usual = max(arms, key=lambda margin: (len(arms[margin]), margin))
    others = [f"±{margin} for {listed(titles)}" for margin, titles in arms.items() if margin != usual]
    return f"Retention: 0 is all retained. transfers: {'; '.join([f'the interval lies within ±{usual}', *others])}."


def _rung_of(row: dict[str, Any], evidence: Evidence) -> int | None:
    rung: int | None = row["rung"]
    return evidence.top_rung if rung is None else rung


def contribution_table(evidence: Evidence, scene: Scene) -> Table:
    """Return what each member adds to the stack, the most first: by leaving it out, or by the half-stacks of a plan."""
    ways = {"without:": "the stack, less the stack without it", "plan:": "half-stacks with it, less those without"}
    rows = [
        (row["ln_speedup"] if row["ln_speedup"] is not None else -9.0, way, row)
        for row in evidence.interactions
        for prefix, way in ways.items()
        if row["arm"].startswith(prefix)
    ]
    return Table(
        [("Member", False), ("Saves within the stack", True), ("Measured by", False)],
        [
            [
                scene.title(f"alone:{row['arm'].partition(':')[2]}"),
                saving_text(*(_saved(row[name]) for name in ("ln_speedup", "low", "high"))),
                way,
            ]
            for _, way, row in sorted(rows, key=lambda one: (-one[0], one[2]["arm"]))
        ],
    )


def _saved(ln_speedup: float | None) -> float | None:
    return None if ln_speedup is None else 1 - math.exp(-ln_speedup)


def _landed(arm: str, evidence: Evidence) -> str:
    """The arm that a landing run ran: the stack, or what is left of it without the members that hold it back."""
    return "trimmed" if any(row["arm"] == "trimmed" for row in evidence.savings) else arm


def landing_table(evidence: Evidence, scene: Scene) -> Table:
    """Return the landing runs: what was claimed, how far the loss was off, and whether the claim stands."""
    rows = [
        [
            scene.title(_landed(row["arm"], evidence)),
            params_text(row["params"]),
            tokens_text(row["tokens_baseline"]),
            tokens_text(row["tokens_stack"]),
            number(row["pairs"]),
            number(row["loss_difference"]),
            number(row["loss_difference_high_95"]),
            number(row["margin"]),
            {True: "stands", False: "fails", None: MISSING}[row["stands"]],
        ]
        for row in evidence.landings
    ]
    return Table(
        [
            ("Arm", False),
            ("Params", True),
            ("Baseline tokens", True),
            ("Its tokens", True),
            ("Pairs", True),
            ("Loss difference", True),
            ("Upper 95 %", True),
            ("Allowed", True),
            ("Claim", False),
        ],
        rows,
    )


def forecast_table(evidence: Evidence, scene: Scene, *, stack: bool) -> Table:
    """Return a row per arm and method: the saving at each target on the main axis, and the method's error here.

    An arm whose highest rung has a bound alone has no row: what lower rungs foretell would pass that rung over.
    """
    axis, without = main_axis(evidence), {row["arm"] for row in _bounded_at_the_end(evidence)}
    mine = [
        row
        for row in evidence.forecasts
        if row["axis"] == axis and (row["arm"] == "stack") == stack and row["arm"] not in without
    ]
    targets = sorted({row["params"] for row in mine})
    far = {row["params"] for row in mine if row["extrapolated"]}
    rows = []
    for arm in sorted({row["arm"] for row in mine}):
        for method in (*METHODS, *sorted({row["method"] for row in mine} - set(METHODS))):
            cells = {row["params"]: row for row in mine if (row["arm"], row["method"]) == (arm, method)}
            if cells:
                errors = {row["leave_top_rung_out_error"] for row in cells.values()}
                rows.append(
                    [
                        scene.title(arm),
                        METHODS.get(method, method),
                        *[_forecast(cells.get(target)) for target in targets],
                        _points(next(iter(errors))),
                    ]
                )
    names = [f"at {params_text(target)}{' *' if target in far else ''}" for target in targets]
    return Table(
        [("Arm", False), ("Method", False), *[(name, True) for name in names], ("Error, top rung left out", True)], rows
    )


def no_forecast_sentences(evidence: Evidence, scene: Scene) -> list[str]:
    """Return why arms have no forecast whose highest rung has a bound alone, the stack first."""
    return [
        f"{scene.title(row['arm'])}: no forecast, since {_at_the_end(row, evidence)}."
        for row in sorted(_bounded_at_the_end(evidence), key=lambda row: (row["arm"] != "stack", row["arm"]))
    ]


def _bounded_at_the_end(evidence: Evidence) -> list[dict[str, Any]]:
    axis = main_axis(evidence)
    last: dict[str, dict[str, Any]] = {}
    for row in evidence.savings:
        judged = row["arm"] == "stack" or row["arm"].startswith("alone:")
        if judged and row["axis"] == axis and row["rung"] is not None:
            last[row["arm"]] = max(last.get(row["arm"], row), row, key=lambda one: one["rung"])
    return [row for row in last.values() if bounded(row)]


def _at_the_end(row: dict[str, Any], evidence: Evidence) -> str:
    where = "the top rung" if row["rung"] == evidence.top_rung else f"rung {row['rung']}"
    said = measured_text(row)
    if said.startswith("loses"):
        return f"all that is known of {where} is that it {said} there"
    return f"{where}'s saving is only known to be {said}"


def _forecast(row: dict[str, Any] | None) -> str:
    return MISSING if row is None else saving_text(row["saving"], row["saving_low"], row["saving_high"])


def _points(error: float | None) -> str:
    return MISSING if error is None else f"{percent(error, sign=False)} points"


def interaction_sentences(evidence: Evidence) -> list[str]:
    """Return one sentence per measured interaction of a stack."""
    return [
        f"Interaction of the stack at rung {row['rung']}: lnS {number(row['ln_speedup'])} "
        f"(90 % interval {number(row['low'])} to {number(row['high'])}); below "
        "0 its members save less together than apart."
        for row in evidence.interactions
        if row["arm"] == "stack"
    ]


def top_interval(evidence: Evidence) -> str:
    """Return where the verdicts were taken: 'rung 2, 0.4M params'."""
    rung = evidence.top_rung
    return "no rung yet" if rung is None else f"rung {rung}, {params_text(evidence.params_at(rung))} params"
