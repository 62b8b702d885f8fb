"""The answer of a study in one sentence: how many findings still help, what they save, whether it landed."""

from collections import Counter
from typing import Any

from analysis.evidence import Evidence
from analysis.import_summary import headline, is_imported, summarise
from analysis.progress import unfinished
from analysis.wording import bounded, count_of, listed, measured_text, params_text, percent, percent_interval

HELPS = ("transfers", "gains", "grows", "shrinks")
WORDS = {
    "transfers": ("transfers", "transfer"),
    "gains": ("gains (whether it shrinks cannot be told)", "gain (whether they shrink cannot be told)"),
    "grows": ("grows", "grow"),
    "shrinks": ("shrinks", "shrink"),
    "vanishes": ("vanishes", "vanish"),
    "reverses": ("reverses", "reverse"),
    "harmful": ("is harmful", "are harmful"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "invalid": ("is invalid", "are invalid"),
}
SAVED = {"seconds": "training time", "tokens": "the tokens", "flops": "the compute"}


def answer(evidence: Evidence) -> str:
    """Return the answer in one honest sentence; what has not been measured is said to be unknown."""
    if is_imported(evidence):
        return headline(summarise(evidence))
    kept = len(evidence.findings)
    if not evidence.trials:
        return "Nothing is known yet: no trial has been run."
    axis = main_axis(evidence)
    judged = [row for row in evidence.verdicts if row["axis"] == axis and row["arm"].startswith("alone:")]
    if not kept or (not judged and evidence.verdict("stack", axis) is None):
        return unfinished(evidence) or (_not_promoted(evidence) if kept else _nothing_kept(evidence))
    top = evidence.top_rung
    if any(row["frozen"] and row["rung"] == top for row in evidence.aa):
        return (
            f"None of {count_of(kept, 'finding')} kept at rung 0 can be judged at "
            f"{_where(evidence)}, since the rung is frozen: "
            "baseline against baseline differs there, where nothing should."
        )
    stacks = f"{_stack(evidence, axis)}{_trimmed(evidence, axis)}{_landing(evidence)}"
    return f"{_findings(judged, kept, evidence, axis)}; {stacks}."


def main_axis(evidence: Evidence) -> str:
    """Return the axis of the answer: the study's own, or where it has no verdict seconds, tokens or FLOPs."""
    own = "seconds" if evidence.transfer is None else evidence.transfer.axis
    present = {row["axis"] for row in evidence.verdicts}
    return next((axis for axis in (own, *SAVED) if axis in present), own)


def _nothing_kept(evidence: Evidence) -> str:
    tried = evidence.trials_where()
    unresolved = evidence.trials_where("unresolved")
    none = (
        f"None of {count_of(tried, 'trial')} was kept at rung 0"
        if tried > 1
        else "The one trial was not kept at rung 0"
    )
    if unresolved:
        return (
            f"{none}, so nothing can be promoted, though {count_of(unresolved, 'trial')} "
            "stayed unresolved at the noise of this rung."
        )
    return f"{none}, so nothing can be promoted."


def _not_promoted(evidence: Evidence) -> str:
    kept, tried = len(evidence.findings), evidence.trials_where()
    found = f"{kept} of {count_of(tried, 'trial')} {'was' if kept == 1 else 'were'} kept at rung 0"
    if evidence.savings:
        return (
            f"{found}, and savings are measured up to {_where(evidence)}, but there "
            "is no verdict yet, so what transfers is unknown."
        )
    return (
        f"{found}, but none has been run at a larger rung yet, so what transfers "
        "is unknown: `scaleproof promote` measures it."
    )


def _findings(run: list[dict[str, Any]], kept: int, evidence: Evidence, axis: str) -> str:
    """What became of the findings; an arm that was stopped below the top rung is not counted among those judged there.

    `run` holds the verdicts on all findings that were run alone.
    """
    where = _where(evidence)
    judged = [row for row in run if evidence.saving(row["arm"], axis, evidence.top_rung) is not None]
    words = Counter(str(row["verdict"]) for row in judged)
    beginning = f"Of {count_of(kept, 'finding')} kept at rung 0"
    if not judged:
        return f"{beginning}, none was judged alone at {where}"
    if len(judged) < kept:
        below, others = len(run) - len(judged), kept - len(run)
        why = [f"{below} {_were(below)} stopped or lost below"] if below else []
        why += [f"{others} {_were(others)} not run alone"] if others else []
        beginning += f", {len(judged)} {_were(len(judged))} taken up to {where} ({listed(why)}) and of these"
    if set(words) == {"inconclusive"}:
        return f"{beginning}, none is settled at {where} ({_what_settles(judged)})"
    if set(words) == {"invalid"}:
        return f"{beginning}, none has a valid verdict at {where}"
    helped = {word: words.pop(word) for word in HELPS if word in words}
    rest = [_counted(word, words[word]) for word in WORDS if word in words]
    if set(helped) == {"transfers"}:
        parts = [f"{_counted('transfers', helped['transfers'])} to {where}", *rest]
    elif helped:
        total = sum(helped.values())
        detail = (
            listed([_counted(word, times) for word, times in helped.items()])
            if len(helped) > 1 or total > 1
            else (f"it {WORDS[next(iter(helped))][0]}")
        )
        parts = [f"{total} still {'saves' if total == 1 else 'save'} {SAVED[axis]} at {where} ({detail})", *rest]
    else:
        parts = [f"none saves {SAVED[axis]} at {where} ({listed(rest)})"]
    return f"{beginning}, {listed(parts)}"


def _were(times: int) -> str:
    return "was" if times == 1 else "were"


def _counted(word: str, times: int) -> str:
    return f"{times} {WORDS[word][0 if times == 1 else 1]}"


def _what_settles(judged: list[dict[str, Any]]) -> str:
    pairs = sorted(row["pairs_to_settle"] for row in judged if row["pairs_to_settle"])
    if not pairs:
        return "no practical number of pairs would settle one at this noise"
    if pairs[0] == pairs[-1]:
        return (
            f"about {pairs[0]} pairs would settle "
            f"{'it' if len(judged) == 1 else 'them' if len(pairs) == len(judged) else 'one'}"
        )
    return f"about {pairs[0]} pairs would settle the first, {pairs[-1]} the last that pairs can settle"


def _stack(evidence: Evidence, axis: str) -> str:
    verdict = evidence.verdict("stack", axis)
    if verdict is not None and verdict["verdict"] == "invalid":
        return "the stack's own verdict is invalid"
    row = evidence.saving("stack", axis, evidence.top_rung)
    if row is not None and bounded(row):
        text = measured_text(row)
        return f"the stack {text if text.startswith('loses') else f'saves {text}'} of {SAVED[axis]} there"
    if row is None or row["saving"] is None:
        return "the stack has no measured saving there"
    interval = f"90 % interval {percent_interval(row['saving_low'], row['saving_high'])}"
    if row["saving_low"] is not None and row["saving_low"] > 0:
        return f"the stack saves {percent(row['saving'])} of {SAVED[axis]} there ({interval})"
    if row["saving_high"] is not None and row["saving_high"] < 0:
        return f"the stack costs {percent(-row['saving'])} more of {SAVED[axis]} there (saving: {interval})"
    return f"whether the stack saves any of {SAVED[axis]} there is not settled ({percent(row['saving'])}, {interval})"


def _trimmed(evidence: Evidence, axis: str) -> str:
    """What the stack saves without the members that it is better off without, which is what the landing run tests."""
    row = evidence.saving("trimmed", axis, evidence.top_rung)
    if row is None or not (bounded(row) or row["saving"] is not None):
        return ""
    interval = "" if bounded(row) else f" (90 % interval {percent_interval(row['saving_low'], row['saving_high'])})"
    saved = measured_text(row) if bounded(row) else percent(row["saving"])
    return f"; without the members that hold it back, it saves {saved}{interval}"


def _landing(evidence: Evidence) -> str:
    landing = next((row for row in evidence.landings if row["arm"] == "stack"), None)
    if landing is None or landing["stands"] is None:
        return ", and no landing run has tested it yet"
    if landing["rung"] is not None and landing["rung"] != evidence.top_rung:
        return f", and the landing run was made at rung {landing['rung']} only"
    return ", and the landing run stands" if landing["stands"] else ", but the landing run fails"


def _where(evidence: Evidence) -> str:
    return f"{params_text(evidence.params_at(evidence.top_rung))} params"
