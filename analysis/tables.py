"""The report's tables: words and numbers ready to print, the same for HTML and Markdown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.answer import main_axis
from analysis.evidence import Evidence
from analysis.style import Scene
from analysis.wording import (
    MISSING,
    duration,
    large,
    number,
    params_text,
    percent,
    saving_text,
    shortened,
    tokens_text,
)

AXES = ("tokens", "flops", "seconds")
METHODS = {"decay": "decay (the forecast)", "last": "last rung", "mean": "mean of rungs", "linear": "straight line"}
LONGEST_FACT = 160


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
    saving = None if measured is None else measured["saving"]
    return row["arm"] != "stack", 9.0 if saving is None else -saving, row["arm"]


def _verdict_line(row: dict[str, Any], evidence: Evidence, scene: Scene) -> VerdictLine:
    rung = _rung_of(row, evidence)
    measured = [evidence.saving(row["arm"], axis, rung) for axis in AXES]
    savings = tuple(
        MISSING if one is None else saving_text(one["saving"], one["saving_low"], one["saving_high"])
        for one in measured
    )
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
        retention=MISSING if row["retention"] is None else f"{row['retention']:+.3f}".replace("-", "−"),
        reason=f"{row['reason'] or ''}{below}",
        colour=scene.colour(row["arm"]),
    )


def _rung_of(row: dict[str, Any], evidence: Evidence) -> int | None:
    rung: int | None = row["rung"]
    return evidence.top_rung if rung is None else rung


def without_table(evidence: Evidence, scene: Scene) -> Table:
    """Return what the stack saves without each of its members, at the rungs where that was run."""
    axis = main_axis(evidence)
    rows = []
    for row in evidence.savings:
        if row["axis"] == axis and row["arm"].startswith("without:"):
            whole = evidence.saving("stack", axis, row["rung"])
            rows.append(
                [
                    scene.title(row["arm"]),
                    params_text(row["params"]),
                    saving_text(row["saving"], row["saving_low"], row["saving_high"]),
                    MISSING
                    if whole is None
                    else saving_text(whole["saving"], whole["saving_low"], whole["saving_high"]),
                ]
            )
    return Table([("Arm", False), ("Params", True), (f"Saving in {axis}", True), ("The whole stack", True)], rows)


def aa_table(evidence: Evidence) -> Table:
    """Return the A/A results; bounds are 99 %."""
    rows = [
        [
            str(row["rung"]),
            params_text(row["params"]),
            number(row["pairs"]),
            number(row["ln_speedup"]),
            f"{number(row['low_99'])} to {number(row['high_99'])}",
            "frozen" if row["frozen"] else "passes",
        ]
        for row in evidence.aa
    ]
    return Table(
        [("Rung", True), ("Params", True), ("Pairs", True), ("lnS", True), ("99 % interval", True), ("Result", False)],
        rows,
    )


def slope_table(evidence: Evidence) -> Table:
    """Return what the baseline is at each rung: slope, curvature and noise of its finished loss."""
    rows = [
        [
            str(row["rung"]),
            params_text(row["params"]),
            tokens_text(row["tokens"]),
            _with_error(row["kappa"], row["kappa_se"]),
            _with_error(row["curvature"], row["curvature_se"]),
            number(row["sigma"]),
            number(row["sigma_dof"]),
        ]
        for row in evidence.slopes
    ]
    return Table(
        [
            ("Rung", True),
            ("Params", True),
            ("Tokens", True),
            ("Slope, nats per ln T", True),
            ("Curvature", True),
            ("Noise, nats", True),
            ("Its dof", True),
        ],
        rows,
    )


def _with_error(value: float | None, error: float | None) -> str:
    return number(value) if value is None or error is None else f"{value:.3f} ± {error:.3f}"


def landing_table(evidence: Evidence, scene: Scene) -> Table:
    """Return the landing runs: what was claimed, how far the loss was off, and whether the claim stands."""
    rows = [
        [
            scene.title(row["arm"]),
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
    """Return a row per arm and method: the saving at each target on the main axis, and the method's error here."""
    axis = main_axis(evidence)
    mine = [row for row in evidence.forecasts if row["axis"] == axis and (row["arm"] == "stack") == stack]
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


def _forecast(row: dict[str, Any] | None) -> str:
    return MISSING if row is None else saving_text(row["saving"], row["saving_low"], row["saving_high"])


def _points(error: float | None) -> str:
    return MISSING if error is None else f"{percent(error, sign=False)} points"


def search_table(evidence: Evidence) -> Table:
    """Return trials by status, changes and placebos apart."""
    statuses = sorted({row["status"] for row in evidence.trials}, key=lambda status: (status != "kept", status))
    rows = []
    for name, placebo in (("changes", False), ("placebos", True)):
        total = evidence.trials_where(placebo=placebo)
        kept = evidence.trials_where("kept", placebo=placebo)
        rows.append(
            [
                name,
                str(total),
                *[str(evidence.trials_where(status, placebo=placebo)) for status in statuses],
                percent(kept / total) if total else MISSING,
            ]
        )
    return Table([("Tried", False), ("All", True), *[(status, True) for status in statuses], ("Keep rate", True)], rows)


def gate_table(evidence: Evidence, scene: Scene) -> Table:
    """Return the arms that a gate stopped, and the compute that this spared."""
    rows = [
        [
            scene.title(row["arm"]),
            str(row["rung"]),
            str(row["decision"]),
            percent(row["lower_80"] and _saved(row["lower_80"])),
            large(row["flops_saved"], "FLOP") if row["flops_saved"] else MISSING,
            str(row["reason"] or ""),
        ]
        for row in evidence.gates
        if row["decision"] != "go"
    ]
    return Table(
        [("Arm", False), ("Rung", True), ("Gate", False), ("Lower 80 %", True), ("Spared", True), ("Reason", False)],
        rows,
    )


def _saved(ln_speedup: float) -> float:
    from math import expm1

    return -expm1(-ln_speedup)


def bill_sentence(evidence: Evidence) -> str:
    """Return what was spent in all, and what the gates spared."""
    bill = evidence.bill[0]
    if not bill["runs"]:
        return "No run has ended yet, so nothing was spent."
    spared = sum(row["flops_saved"] for row in evidence.gates)
    lost = f" ({bill['diverged']} diverged, {bill['failed']} failed)" if bill["diverged"] or bill["failed"] else ""
    text = f"{bill['runs']} runs{lost} took {large(bill['flops'], 'FLOP')} and {duration(bill['seconds'])} of training."
    if spared:
        share = spared / (spared + bill["flops"])
        text += f" The gates spared another {large(spared, 'FLOP')}, {percent(share)} of what it would have been."
    elif evidence.gates:
        text += " The gates stopped no arm early, so they spared nothing."
    money = sum(row["cost_usd"] for row in evidence.trials)
    return f"{text} Requests to a model cost {money:.2f} USD." if money else text


def interaction_sentences(evidence: Evidence) -> list[str]:
    """Return one sentence per measured interaction of a stack."""
    return [
        f"Interaction of the stack at rung {row['rung']}: lnS {number(row['ln_speedup'])} "
        f"(90 % interval {number(row['low'])} to {number(row['high'])}); below "
        "0 its members save less together than apart."
        for row in evidence.interactions
    ]


def fact_table(evidence: Evidence) -> Table:
    """Return every fact that the study recorded, nested ones spelled out with dots."""
    rows = [
        [name, shortened(text, LONGEST_FACT)]
        for fact, value in evidence.facts.items()
        for name, text in _spelled(fact, value)
    ]
    return Table([("Fact", False), ("Value", False)], rows)


def _spelled(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [line for key, part in sorted(value.items()) for line in _spelled(f"{name}.{key}", part)]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return [line for place, part in enumerate(value) for line in _spelled(f"{name}.{place}", part)]
    return [(name, value if isinstance(value, str) else json.dumps(value, sort_keys=True))]


def top_interval(evidence: Evidence) -> str:
    """Return where the verdicts were taken: 'rung 2, 0.4M params'."""
    rung = evidence.top_rung
    return "no rung yet" if rung is None else f"rung {rung}, {params_text(evidence.params_at(rung))} params"
