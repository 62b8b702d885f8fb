"""A fit as text for the terminal: the law, how it was chosen, predictions, compute-optimal sizes, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from analysis.fit_amounts import amount, bounds, loss_text, percent_text, ratio_text
from analysis.grid import one_line, to_bare_table
from analysis.wording import MISSING, count_of, percent

MOST_TEST_ROWS = 8
MOST_REMARKS = 3
COUNTED = {
    "as given": "as the table does, which does not say whether embeddings are among them",
    "with embeddings": "with embeddings",
    "without embeddings": "without embeddings",
}
OBJECTIVES = {"huber": "sum of Huber losses", "least_squares": "half the sum of squares"}
APPROACHES = {
    "Approach 1": "approach 1 (runs on the envelope)",
    "Approach 2": "approach 2 (isoFLOP profiles)",
    "Approach 3": "approach 3 (read off the law above)",
}
BEYOND = "compute"
REACH = "compute: how many times that of the largest fitted run"

EXTRAPOLATED = "*"

Answer = Mapping[str, Any]


def fit_text(answer: Answer) -> str:
    """All that a reader needs of what `scaling.fit_answer` answers, the formula first."""
    parts = (_law, _choice, _forms, _targets, _tests, _optimal, _said)
    report = f"\nReport: {one_line(answer['report'])}\n" if "report" in answer else ""
    return "\n".join(text for part in parts if (text := part(answer))) + report


def _law(answer: Answer) -> str:
    ranges, errors = answer["ranges"], answer["standard_errors"]
    apart = f"; {count_of(answer['n_test'], 'test row')} kept apart" if answer["n_test"] else ""
    rows = [
        f"  {name:<3} {value:>11.5g}" + (f"  ± {errors[name]:.2g}" if errors.get(name) is not None else "")
        for name, value in answer["parameters"].items()
        if value is not None
    ]
    lines = [
        f"{one_line(answer['source'])}: {count_of(answer['n_train'], 'run')}, {_range(ranges['params'])} params, "
        f"{_range(ranges['tokens'])} tokens{apart}",
        "",
        answer["formula"],
        "L: loss in nats per token, N: params, D: tokens, C: FLOPs of the whole run, E: the loss that remains.",
        f"Params are counted {COUNTED.get(answer['params_count'], answer['params_count'])}.",
        "",
        *rows,
        f"±: one standard error, from {answer['draws']:,} resamplings of the runs.",
        f"Objective: {answer['objective']:.6g}, {OBJECTIVES[answer['options']['objective']]} of the log loss.",
    ]
    return "".join(f"{line}\n" for line in lines)


def _choice(answer: Answer) -> str:
    if answer["predicted_by"] == "mixture":
        shares = sorted(answer["weights"].items(), key=lambda one: -one[1])
        weights = ", ".join(f"{name} {percent(share)}" for name, share in shares)
        above = (
            "the law with the most weight" if answer["form"] in answer["weights"] else "a law that these runs can tell"
        )
        said = (
            f"Predictions are a mean of many fits of laws ({weights}), held more or less near published\n"
            "exponents. A fit weighs the more, the less it errs on the largest runs when these are held out. Above\n"
            f"stands {above}, fitted freely.\n"
        )
    elif not answer["predictions"]:
        return ""
    else:
        said = (
            f"Predictions are those of {answer['predicted_by']} alone, as asked; their intervals allow for how far it\n"
            "stands from a mean of laws.\n"
        )
    held_out = answer["held_out_percent"]
    if held_out is None:
        return f"{said}The runs are too few to hold any out, so nothing says how well they extrapolate.\n"
    return f"{said}Error on the largest runs, held out: {percent_text(held_out)}.\n"


def _forms(answer: Answer) -> str:
    """Every form with its errors, and how far they are apart at the first target."""
    forms = sorted(answer["forms"].values(), key=lambda one: (one["held_out_percent"] is None, one["held_out_percent"]))
    if len(forms) < 2:
        return ""
    tested = bool(answer["n_test"])
    target = next((place for place, one in enumerate(answer["predictions"]) if one["observed"] is None), None)
    columns = ["law", "weight", "held out", "objective"]
    columns += ["test"] * tested + ["at target"] * (target is not None)
    rows = []
    for one in forms:
        weight = answer["weights"].get(one["form"])
        row = [one["form"], percent(weight), percent_text(one["held_out_percent"]), f"{one['objective']:.4g}"]
        row += [percent_text(one["mape_percent"])] * tested
        rows.append((*row, *([] if target is None else [loss_text(one["predictions"][target]["loss"])])))
    what = (
        "errors on the largest runs held out and on the test rows" if tested else "errors on the largest runs held out"
    )
    return f"Laws, each fitted freely, and their {what}\n{to_bare_table(columns, rows)}{_spread(answer, target)}"


def _spread(answer: Answer, target: int | None) -> str:
    if target is None:
        return ""
    said = [one["predictions"][target]["loss"] for one in answer["forms"].values()]
    known = [loss for loss in said if loss is not None]
    asked = answer["predictions"][target]
    where = f"{amount(asked['params'])} params on {amount(asked['tokens'])} tokens"
    return f"For {where} these laws say {loss_text(min(known))} to {loss_text(max(known))} nats.\n" if known else ""


def _targets(answer: Answer) -> str:
    asked = [one for one in answer["predictions"] if one["observed"] is None]
    if not asked:
        return "" if answer["n_test"] else "To predict a run, add --target params=7e9,tokens=1.4e11 or the like.\n"
    rows = [
        (
            amount(one["params"]),
            amount(one["tokens"]),
            f"{one['flops']:.2g}",
            loss_text(one["loss"]),
            bounds(one, "loss", loss_text),
            _beyond(one),
        )
        for one in asked
    ]
    return f"Predictions ({REACH})\n" + to_bare_table(
        ("params", "tokens", "FLOPs", "loss", "90 % interval", BEYOND), rows
    )


def _tests(answer: Answer) -> str:
    seen = sorted((one for one in answer["predictions"] if one["observed"] is not None), key=lambda one: one["flops"])
    if not seen:
        return ""
    shown = _evenly(seen, MOST_TEST_ROWS)
    rows = [
        (
            amount(one["params"]),
            amount(one["tokens"]),
            loss_text(one["observed"]),
            loss_text(one["loss"]),
            bounds(one, "loss", loss_text),
            f"{100 * (one['loss'] / one['observed'] - 1):+.1f} %",
            _beyond(one),
        )
        for one in shown
    ]
    some = f", {len(shown)} of them shown" if len(shown) < len(seen) else ""
    said = (
        f"Test rows: {len(seen)}{some}; mean error {percent_text(answer['mape_percent'])}, "
        f"{percent(answer['coverage_90'])} inside the 90 % interval,\n"
        f"which is {percent_text(answer['mean_width_percent'])} of the loss wide on average\n({REACH})\n"
    )
    columns = ("params", "tokens", "observed", "predicted", "90 % interval", "error", BEYOND)
    return said + to_bare_table(columns, rows)


def _optimal(answer: Answer) -> str:
    """Each approach's exponent, then its sizes at the largest run's FLOPs and at each target's."""
    if not answer["compute_optimal"]:
        return ""
    grows = [
        f"{APPROACHES.get(one['approach'], one['approach'])}: params grow as C^{one['params_exponent']:.2f} "
        f"({bounds(one, 'params_exponent', _hundredths)})\n"
        for one in answer["compute_optimal"]
    ]
    rows = [
        (
            f"{one['flops']:.2g}{EXTRAPOLATED if one['extrapolated'] else ''}",
            one["approach"].removeprefix("Approach "),
            _with_bounds(one, "params", amount),
            _with_bounds(one, "tokens", amount),
            _with_bounds(one, "tokens_per_param", ratio_text),
        )
        for one in answer["optimal_points"]
    ]
    beyond = any(one["extrapolated"] for one in answer["optimal_points"])
    remarks = [warning for one in answer["compute_optimal"] for warning in one["warnings"]]
    hidden = len(remarks) - MOST_REMARKS
    return (
        "Compute-optimal sizes: the least loss for so many FLOPs, with 90 % intervals\n"
        + "".join(grows)
        + to_bare_table(("FLOPs", "approach", "params", "tokens", "tokens per param"), rows)
        + f"{EXTRAPOLATED} extrapolated: over 4x beyond the FLOPs that the approach rests on.\n" * beyond
        + "".join(f"- {one_line(remark)}\n" for remark in remarks[:MOST_REMARKS])
        + (f"- {count_of(hidden, 'more remark')}: see --json.\n" if hidden > 0 else "")
    )


def _said(answer: Answer) -> str:
    notes = [*answer["notes"], *(note for one in answer["compute_optimal"] for note in one["notes"])]
    return "".join(
        f"{kind}: {one_line(text)}\n"
        for kind, texts in (("Warning", answer["warnings"]), ("Note", notes))
        for text in dict.fromkeys(texts)
    )


def _evenly(rows: Sequence[Answer], most: int) -> list[Answer]:
    """At most `most` of the rows, evenly spaced, the last among them."""
    many = min(most, len(rows))
    return [rows[(place + 1) * len(rows) // many - 1] for place in range(many)]


def _range(ends: Sequence[float]) -> str:
    low, high = map(amount, ends)
    return low if low == high else f"{low} to {high}"


def _beyond(one: Answer) -> str:
    return f"{ratio_text(one['flops_beyond'])}x"


def _with_bounds(one: Answer, name: str, text: Callable[[float | None], str]) -> str:
    low, high = one[f"{name}_low"], one[f"{name}_high"]
    return text(one[name]) if low is None or high is None else f"{text(one[name])} ({text(low)}–{text(high)})"


def _hundredths(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
