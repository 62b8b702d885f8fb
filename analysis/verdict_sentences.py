"""What a verdict on a table comes to, in sentences: is each arm worth promoting, and how the page is to be read."""

from __future__ import annotations

from analysis.verdict_amounts import (
    Answer,
    bound_of,
    name_text,
    saved,
    saved_text,
    scale_key,
    size_text,
    strongest_first,
    top_of,
)
from analysis.verdict_answer import BY_ITS_OWN
from analysis.wording import count_of, listed, percent, saving_text

MOST_SENTENCES = 12
MOST_NAMED = 4
GAINS = ("transfers", "gains", "grows", "shrinks")
MEANINGS = {
    "transfers": "worth promoting: its gain transfers",
    "gains": "worth promoting for now: it gains, but whether its gain shrinks with scale cannot be told",
    "grows": "worth promoting: its gain grows with scale",
    "shrinks": "worth promoting for now: it still gains, but its gain shrinks with scale",
    "vanishes": "not worth promoting: its gain vanishes",
    "reverses": "not worth promoting: its gain reverses into a loss",
    "harmful": "not worth promoting: it is harmful",
    "inconclusive": "not settled: its verdict is inconclusive",
    "invalid": "not to be judged: the comparison is invalid",
}
VANISHING = {
    "shrinks": "not worth promoting beyond the rungs that were run: its gain shrinks, and at the target none is "
    "established",
    "inconclusive": "not settled: its verdict is inconclusive, its gain shrinks, and at the target none is established",
}
SAVES = {"tokens": "tokens", "flops": "FLOPs", "seconds": "time"}


def headline(answer: Answer) -> str:
    """Return the one sentence that answers for all arms; of a single arm, its own."""
    arms = strongest_first(answer)
    if len(arms) == 1:
        return arm_sentence(answer, arms[0])
    worth = [one for one in arms if worth_promoting(one)]
    of_all = f"of {count_of(len(arms), 'arm')}"
    if not worth:
        return f"None {of_all} is shown to be worth promoting over {name_text(answer['baseline'])}."
    named = [name_text(one["arm"]) for one in worth[:MOST_NAMED]]
    more = [f"{len(worth) - len(named)} more"] if len(worth) > len(named) else []
    verb = "is" if len(worth) == 1 else "are"
    return f"{len(worth)} {of_all} {verb} worth promoting over {name_text(answer['baseline'])}: {listed(named + more)}."


def sentences(answer: Answer) -> list[str]:
    """Return a sentence per arm, strongest first, and what is left to the table where the arms are many."""
    arms = strongest_first(answer)
    if len(arms) == 1:
        return []
    said = [arm_sentence(answer, one) for one in arms[:MOST_SENTENCES]]
    left = len(arms) - len(said)
    return [*said, f"{count_of(left, 'weaker arm')} in the table below."] if left else said


def worth_promoting(arm: Answer) -> bool:
    """Whether the evidence is for promoting it: a gain at its highest rung that is not forecast to vanish."""
    return arm["verdict"] in GAINS and not arm["vanishing"]


def arm_sentence(answer: Answer, arm: Answer) -> str:
    """Return the answer to 'is it worth promoting?', with the saving, whether the word is fragile, and the forecast."""
    meaning = VANISHING.get(arm["verdict"]) if arm["vanishing"] else None
    said = f"{name_text(arm['arm'])} is {meaning or MEANINGS[arm['verdict']]}"
    if arm["fragile"]:
        said += " (fragile)"
    top, bound = top_of(arm), bound_of(arm)
    if bound is not None:
        return f"{said}; at {size_text(answer, bound)} it {_bounded(answer, bound)}."
    if top is None:
        return f"{said}."
    return f"{said}; at {size_text(answer, top)} it {_saves(answer, top)}{_foretold(answer, arm)}."


def _saves(answer: Answer, top: Answer) -> str:
    what = SAVES[answer["axis"]]
    saving, low, high = (saved(top[key]) for key in ("speedup", "speedup_low", "speedup_high"))
    if saving is not None and low is not None and high is not None and high < 0:
        return f"needs {saving_text(-saving, -high, -low)} more {what}"
    return f"saves {saving_text(saving, low, high)} of the {what}"


def _bounded(answer: Answer, bound: Answer) -> str:
    what, most = SAVES[answer["axis"]], saved(bound["speedup_high"])
    if most is not None and most < 0:
        return f"needs at least {percent(-most)} more {what}"
    return f"saves {saved_text(bound)} of the {what}"


def _foretold(answer: Answer, arm: Answer) -> str:
    forecast = arm["forecast"]
    if not forecast or forecast["speedup"] is None:
        return ""
    far = ", extrapolated" if forecast["extrapolated"] else ""
    return f"; forecast saving at {size_text(answer, forecast)}: {saved_text(forecast)}{far}"


def about(answer: Answer) -> list[str]:
    """Return what was compared, and the noise that the intervals rest on."""
    values = sorted({f"{one:.2g}" for one in answer["sigma"]["values"] if one is not None}, key=float)
    assumed = answer["sigma"]["assumed"]
    origin = "assumed" if assumed and all(assumed) else "measured from seeds"
    known = values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}" if values else "unknown"
    return [
        f"{count_of(len(answer['arms']), 'arm')} against {name_text(answer['baseline'])}, by what each needs to reach "
        f"the same finished loss, in {SAVES[answer['axis']]}. Noise of a run: {known} nats per token, {origin}. "
        f"Smallest saving worth having: {percent(answer['smallest_saving'])}. In brackets: 90 % intervals."
    ]


def method(answer: Answer) -> list[str]:
    """Return how losses were turned into speed-ups, of a table that was read by a curve."""
    if answer.get("method") is None:
        return []
    if scale_key(answer) == "flops":
        return [
            "Speed-ups are read by the baseline's curve along its frontier of budgets, no further than twice its "
            "largest budget: no arm was run on just as much compute as it needs to end at the baseline's loss."
        ]
    own = any(cell.get("method") == BY_ITS_OWN for arm in answer["arms"] for cell in arm["rungs"])
    where = ", or by the arm's own where the arm ends beyond those" if own else ""
    return [
        f"Speed-ups are read by the baseline's curve through its horizons{where}: no arm was run on just as many "
        "tokens as it needs to end at the baseline's loss. No curve is followed beyond its horizons; what lies beyond "
        "is given as 'at least' or 'at most'."
    ]


def how_to_read(answer: Answer) -> list[str]:
    """Return the five lines that a reader needs."""
    along_budgets = scale_key(answer) == "flops"
    rung, tenfold = ("a budget", "hundredfold FLOPs") if along_budgets else ("a size", "tenfold params")
    return [
        f"Speed-up: how many times the arm's {SAVES[answer['axis']]} the baseline needs for the same finished loss. "
        "The saving is 1 − 1/speed-up: a speed-up of 1.25 saves 20 %.",
        f"Rung: {rung} that the baseline was run at; several horizons of a rung are pooled into one speed-up. Only "
        "finished runs count.",
        "Verdict: transfers, gains, grows and shrinks are gains at the highest rung: as large as at rung 0, of unknown "
        "change, clearly larger, clearly smaller. Vanishes is less than is worth having, reverses and harmful are "
        "losses, inconclusive allows several words, invalid was no fair comparison. Fragile: a modest change of "
        "assumptions changes the word.",
        "Change from rung 0: ln speed-up at the highest rung less that at the lowest; trend: how much it changes per "
        f"{tenfold}.",
        "Forecast: a decay through the arms' own speed-ups, widened where simpler methods disagree; over 4x beyond the "
        "highest rung it is extrapolated, and its interval is a guess at best.",
    ]
