"""The report's tables about the bench: A/A, the baseline, the search, its cost, and the recorded facts."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from analysis.evidence import GIVEN_UP, UNDER_WAY, Evidence
from analysis.regime import tokens_per_param
from analysis.style import Scene
from analysis.tables import Table
from analysis.wording import MISSING, digits, duration, large, number, params_text, percent, shortened, tokens_text

LONGEST_FACT = 160


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
    """Return what the baseline is at each rung: its regime, and slope, curvature and noise of its finished loss."""
    rows = [
        [
            str(row["rung"]),
            params_text(row["params"]),
            tokens_text(row["tokens"]),
            MISSING if (ratio := tokens_per_param(row)) is None else digits(ratio),
            number(row["transition"]),
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
            ("Tokens per param", True),
            ("In transition", True),
            ("Slope, nats per ln T", True),
            ("Curvature", True),
            ("Noise, nats", True),
            ("Its dof", True),
        ],
        rows,
    )


def _with_error(value: float | None, error: float | None) -> str:
    return number(value) if value is None or error is None else f"{value:.3f} ± {error:.3f}"


def search_table(evidence: Evidence) -> Table:
    """Return trials by status, changes and placebos apart; a rate is of those that ended, once the search has."""
    open_ = (UNDER_WAY, GIVEN_UP)
    found = {row["status"] for row in evidence.trials}
    statuses = sorted(found, key=lambda status: (status != "kept", status in open_, status))
    rows = []
    for name, placebo in (("changes", False), ("placebos", True)):
        total = evidence.trials_where(placebo=placebo)
        kept = evidence.trials_where("kept", placebo=placebo)
        rows.append(
            [
                name,
                str(total + sum(evidence.trials_where(status, placebo=placebo) for status in open_)),
                *[str(evidence.trials_where(status, placebo=placebo)) for status in statuses],
                percent(kept / total) if total and not evidence.searching else MISSING,
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
    return -math.expm1(-ln_speedup)


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
    money = evidence.requests_usd
    return f"{text} Requests to a model cost {money:.2f} USD." if money else text


def bracket_sentence(evidence: Evidence) -> str:
    """Return whether the baseline's learning rate lies inside its bracket on rung 0: an undertuned one makes wins."""
    sides = []
    undertuned = False
    for row in evidence.brackets:
        detail = json.loads(row["detail"] or "{}")
        if row["value"] is None or "se" not in detail:
            continue
        undertuned |= row["value"] < -2 * detail["se"]
        change = f"{row['value']:+.4f}".replace("-", "−")
        sides.append(
            f"x {row['name'].removeprefix('bracket_')} changes its loss by {change} (standard error {detail['se']:.4f})"
        )
    if not sides:
        return "The baseline's learning rate was not bracketed."
    found = (
        "the baseline is undertuned here, and findings may only make up for that"
        if undertuned
        else "no side is better beyond twice its error"
    )
    return f"The baseline's learning rate, on rung 0: {'; '.join(sides)}: {found}."


def fact_table(evidence: Evidence) -> Table:
    """Return every fact that the study recorded, nested ones spelled out with dots."""
    rows = [
        [name, shortened(text, LONGEST_FACT)]
        for fact, value in _counted(evidence.facts).items()
        for name, text in _spelled(fact, value)
    ]
    return Table([("Fact", False), ("Value", False)], rows)


def _counted(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that are numbered, as the choices of a mixed search are, as how often each value came."""
    numbered: dict[str, Counter[str]] = {}
    for name, value in facts.items():
        head, colon, number = name.rpartition(":")
        if colon and number.isdigit() and isinstance(value, str):
            numbered.setdefault(head, Counter())[value] += 1
    others = {name: value for name, value in facts.items() if name.rpartition(":")[0] not in numbered}
    return others | {name: dict(sorted(counts.items())) for name, counts in numbered.items()}


def _spelled(name: str, value: object) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        return [line for key, part in sorted(value.items()) for line in _spelled(f"{name}.{key}", part)]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return [line for place, part in enumerate(value) for line in _spelled(f"{name}.{place}", part)]
    return [(name, value if isinstance(value, str) else json.dumps(value, sort_keys=True))]
