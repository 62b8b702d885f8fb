"""Whether the models of a ladder are still in their transition, and which savings may then be spoken of."""

from analysis.answer import SAVED, main_axis
from analysis.evidence import Evidence, Row
from analysis.wording import bounded, digits, listed, params_text, percent


def regime(evidence: Evidence) -> str:
    """Return what must be said first where a rung that judges is in its transition; empty where none is."""
    rows = [row for row in evidence.slopes if row.get("transition") and row["rung"] in _judging(evidence)]
    if not rows:
        return ""
    where = listed([f"{params_text(row['params'])} params ({ratio_text(row)})" for row in rows])
    return (
        f"At {where} the baseline's loss still falls faster with every doubling of its tokens: these models are in a "
        f"transition, and savings there need not hold for models past it. {_bracketed(evidence)}"
    )


def tokens_per_param(row: Row) -> float | None:
    """Return tokens per parameter of a row of `slopes`, from its sizes where an older study did not record it."""
    recorded: float | None = row.get("tokens_per_param")
    if recorded is not None:
        return recorded
    return row["tokens"] / row["params"] if row["tokens"] and row["params"] else None


def ratio_text(row: Row) -> str:
    """Return '10 tokens per parameter'."""
    ratio = tokens_per_param(row)
    return "tokens per parameter unknown" if ratio is None else f"{digits(ratio)} tokens per parameter"


def _judging(evidence: Evidence) -> set[int | None]:
    """Rungs that verdicts speak of: rung 0, with which retention compares, and those where arms were judged."""
    rungs = {evidence.top_rung if row["rung"] is None else row["rung"] for row in evidence.verdicts}
    return {0, *rungs} if rungs else set()


def _bracketed(evidence: Evidence) -> str:
    axis, top = main_axis(evidence), evidence.top_rung
    invalid = {row["arm"] for row in evidence.verdicts if row["axis"] == axis and row["verdict"] == "invalid"}
    mine = [
        row
        for row in evidence.savings
        if (row["axis"], row["rung"]) == (axis, top)
        and (row["arm"] == "stack" or row["arm"].startswith("alone:"))
        and row["arm"] not in invalid
    ]
    gains = [row for row in mine if is_bracketed(row, evidence) and row["saving_low"] > 0]
    if not gains:
        return f"No gain at {params_text(evidence.params_at(top))} params is bracketed by runs."
    best = max(gains, key=lambda row: (row["saving"], row["arm"] == "stack", row["arm"]))
    return (
        "The largest saving there whose crossing the arm's own runs bracket is "
        f"{_whose(best, evidence)} {percent(best['saving'])} of {SAVED[axis]}."
    )


def is_bracketed(row: Row, evidence: Evidence) -> bool:
    """Whether the arm was run on both sides of the horizon where it crosses, or at it within its 90 % interval."""
    tokens = evidence.saving(row["arm"], "tokens", row["rung"])
    if row["saving"] is None or bounded(row) or tokens is None or tokens["saving"] is None:
        return False
    shortest, longest = 1 - tokens["saving_high"], 1 - tokens["saving_low"]
    return any(
        run["shortest"] <= longest and run["longest"] >= shortest
        for run in evidence.horizons
        if (run["arm"], run["rung"]) == (row["arm"], row["rung"])
    )


def _whose(row: Row, evidence: Evidence) -> str:
    if row["arm"] == "stack":
        return "the stack's"
    titles = {one["finding_id"]: one["title"] for one in evidence.findings}
    return f"that of “{' '.join(str(titles.get(row['finding_id']) or row['finding_id']).split())}”,"
