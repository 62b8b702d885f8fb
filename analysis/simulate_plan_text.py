"""Recommended plans, and plans of combinations, as text for the terminal: what to run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.fit_amounts import amount, ratio_text
from analysis.grid import one_line, to_bare_table
from analysis.wording import MISSING, count_of, listed, percent, saving_text

Answer = Mapping[str, Any]

FEW_FINDINGS = 8
EXTRAPOLATED = "*"


def plan_text(answer: Answer) -> str:
    """All that a reader needs of what `transfer.planning.recommend.Recommendation.record` holds."""
    parts = (_head, _rungs, _words, _others, _budgets, _rests)
    return "\n".join(part(answer) for part in parts)


def factorial_text(answer: Answer) -> str:
    """The combinations, one a line, in the names that `scaleproof verdict` reads."""
    runs, many = answer["runs"], len(answer["findings"])
    arms = "".join(f"  {place:>2}  {one_line(run['arm'])}\n" for place, run in enumerate(runs, start=1))
    stack = "" if answer["fold_over"] else f"  and {one_line(answer['stack'])}, the stack of all\n"
    said = [
        f"Each of the {count_of(many, 'finding')} is on in half of the runs: the standard error of its effect is "
        f"{2 / len(runs) ** 0.5:.2f} times that of one run.",
        "The second half mirrors the first: no pair of findings leaks into the effect of one, and pairs can be told."
        if answer["fold_over"]
        else "Pairs of findings that help or hinder each other leak into the effects; --fold-over keeps them out.",
    ]
    if many <= FEW_FINDINGS:
        said.append(f"Up to {FEW_FINDINGS} findings, each alone and the stack of all do as well.")
    return (
        f"Run these {len(runs)} arms, each paired with the baseline, then give the runs to scaleproof verdict, arms "
        f"named as here.\n\n{arms}{stack}\n" + "".join(f"{line}\n" for line in said)
    )


def _head(answer: Answer) -> str:
    best = answer["plans"][0]
    rungs = best["rungs"]
    sizes = listed([amount(one["params"]) for one in rungs])
    pairs = [str(one["pairs"]) for one in rungs]
    many = f"{pairs[0]} pairs each" if len(set(pairs)) == 1 else f"{listed(pairs)} pairs"
    tells = "" if best["tells_gain"] else "; that cannot be told from none"
    return (
        f"Run {len(rungs)} rungs of {sizes} params with {many}, at {ratio_text(best['tokens_per_param'])} tokens per "
        f"param, arms at {_multiples(best['arms_at'])}:\n"
        f"{best['runs']} runs, {flops_text(best['flops'])} FLOPs, {percent(best['budget_share'])} of the budget. "
        f"At {amount(answer['target_params'])} params they would say that an arm saves\n{_saving(best)}{tells}.\n"
    )


def _rungs(answer: Answer) -> str:
    best = answer["plans"][0]
    rows = [
        (
            place,
            amount(one["params"]),
            amount(one["tokens"]),
            one["pairs"],
            one["runs"],
            flops_text(one["flops"]),
            saving_text(one["saving"], one["saving_low"], one["saving_high"]),
        )
        for place, one in enumerate(best["rungs"])
    ]
    return (
        "The plan\n"
        + to_bare_table(("rung", "params", "tokens T", "pairs", "runs", "FLOPs", "expected saving (90 %)"), rows)
        + f"Runs: baselines at {_multiples(best['horizons'])} ({best['horizon_seeds']} seeds each beside T), arms at "
        f"{_multiples(best['arms_at'])}, A/A pairs, and at the top the landing.\n"
    )


def _words(answer: Answer) -> str:
    best = answer["plans"][0]
    needed = [f"{word} {pairs}" for word, pairs in best["pairs_needed"].items() if pairs is not None]
    never = [word for word, pairs in best["pairs_needed"].items() if pairs is None]
    said = [f"Pairs that each word would need on these rungs: {', '.join(needed)}"] if needed else []
    said += [f"no number would do for {listed(never)}"] if never else []
    return (
        f"The smallest saving that its top rung can see is {percent(best['smallest_visible_saving'])}; the right word "
        f"there, {best['right_word']}, has a chance of {percent(best['right_word_chance'])}.\n{'; '.join(said)}.\n"
    )


def _others(answer: Answer) -> str:
    rows = [
        (
            _sizes(one),
            _pairs(one),
            ratio_text(one["tokens_per_param"]),
            _multiples(one["arms_at"]),
            flops_text(one["flops"]),
            _points(one),
            percent(one["smallest_visible_saving"], sign=False),
            percent(one["right_word_chance"], sign=False),
        )
        for one in answer["plans"]
    ]
    columns = ("rungs", "pairs", "D/N", "arms at", "FLOPs", "saving, %", "sees, %", "right, %")
    return (
        f"The tightest of {answer['candidates']:,} plans (D/N: tokens per param; saving: at the target, 90 %; "
        "sees: the\nsmallest saving that the top rung can see; right: the chance of the right word)\n"
        + to_bare_table(columns, rows)
        + f"{EXTRAPOLATED} extrapolated: over 4x beyond the highest rung.\n"
        * any(one["extrapolated"] for one in answer["plans"])
    )


def _budgets(answer: Answer) -> str:
    rows: list[tuple[object, ...]] = []
    for step in answer["frontier"]:
        one, budget = step["plan"], flops_text(step["budget_flops"])
        if one is None:
            rows.append((budget, "buys no ladder", MISSING, MISSING, MISSING))
        else:
            rows.append((budget, _sizes(one), _pairs(one), _points(one), "yes" if one["tells_gain"] else "no"))
    least = answer["least_flops_to_tell"]
    enough = "" if least is None else f"The cheapest plan found that tells a gain costs {flops_text(least)} FLOPs.\n"
    columns = ("budget", "rungs", "pairs", "saving, %", "tells a gain")
    return "Cheaper and dearer budgets, in FLOPs\n" + to_bare_table(columns, rows) + enough


def _rests(answer: Answer) -> str:
    notes = "".join(f"Note: {one_line(note)}\n" for note in answer["notes"])
    return (
        f"{notes}Assume otherwise: scaleproof simulate plan --show-settings > plan.toml, edit, --settings plan.toml\n"
    )


def flops_text(flops: float) -> str:
    """FLOPs as --budget takes them: '9.7e20'."""
    return f"{flops:.2g}".replace("e+", "e")


def _saving(one: Answer) -> str:
    text = saving_text(one["saving"], one["saving_low"], one["saving_high"])
    return text + EXTRAPOLATED * bool(one["extrapolated"])


def _sizes(one: Answer) -> str:
    return ", ".join(amount(rung["params"]) for rung in one["rungs"])


def _pairs(one: Answer) -> str:
    pairs = [str(rung["pairs"]) for rung in one["rungs"]]
    return f"{pairs[0]} each" if len(set(pairs)) == 1 else ", ".join(pairs)


def _points(one: Answer) -> str:
    """A saving at the target in percent, with its interval."""
    saving, low, high = (percent(one[name], sign=False) for name in ("saving", "saving_low", "saving_high"))
    return f"{saving} ({low} to {high})" + EXTRAPOLATED * bool(one["extrapolated"])


def _multiples(horizons: Sequence[float]) -> str:
    return listed(["T" if one == 1 else f"T/{1 / one:g}" if one < 1 else f"{one:g}T" for one in horizons])
