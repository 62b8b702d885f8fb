"""The sentence on top of a report: what it claims, and what it does not."""

import dataclasses
from typing import Any

import pytest

from analysis.answer import answer
from analysis.evidence import Evidence
from analysis.limits import limits

Row = dict[str, Any]


def evidence(words: dict[str, str], **changes: Any) -> Evidence:
    """A study whose findings got these words at its top rung of 0.4M params, with a stack and a landing run."""
    names = list(words)
    held: dict[str, Any] = {field.name: [] for field in dataclasses.fields(Evidence)} | {
        "trials": [
            {"status": "kept", "placebo": False, "trials": len(names), "cost_usd": 0.0},
            {"status": "dropped", "placebo": False, "trials": 7, "cost_usd": 0.0},
            {"status": "dropped", "placebo": True, "trials": 2, "cost_usd": 0.0},
        ],
        "findings": [{"finding_id": name, "title": name, "category": "model", "effect": 0.1} for name in names],
        "verdicts": [verdict(f"alone:{name}", word) for name, word in words.items()] + [verdict("stack", "transfers")],
        "savings": [saving(f"alone:{name}", 0.1, 0.05, 0.15) for name in names] + [saving("stack", 0.21, 0.12, 0.29)],
        "landings": [{"arm": "stack", "rung": 2, "stands": True, "pairs": 12}],
        "aa": [{"rung": 2, "params": 402_000, "pairs": 2, "frozen": False}],
        "facts": {"settings": {"transfer": {"smallest_saving": 0.05}}},
    }
    return Evidence(**(held | changes))


def verdict(arm: str, word: str, pairs_to_settle: int | None = None) -> Row:
    return {
        "arm": arm,
        "axis": "seconds",
        "verdict": word,
        "fragile": False,
        "rung": 2,
        "pairs_to_settle": pairs_to_settle,
    }


def saving(arm: str, middle: float | None, low: float | None, high: float | None) -> Row:
    return {
        "arm": arm, "finding_id": arm.partition(":")[2], "axis": "seconds", "rung": 2, "params": 402_000,
        "saving": middle, "saving_low": low, "saving_high": high, "pairs": 8,
    }  # fmt: skip


FIVE = {"a": "transfers", "b": "transfers", "c": "vanishes", "d": "harmful", "e": "harmful"}


def test_the_plain_case_says_counts_saving_interval_and_landing() -> None:
    assert answer(evidence(FIVE)) == (
        "Of 5 findings kept at rung 0, 2 transfer to 0.4M params, 1 vanishes and 2 are harmful; the stack saves 21 % "
        "of training time there (90 % interval 12 to 29 %), and the landing run stands."
    )


def test_a_gain_that_shrinks_is_not_said_to_transfer() -> None:
    said = answer(evidence({"a": "transfers", "b": "shrinks", "c": "grows"}))
    assert "3 still save training time at 0.4M params (1 transfers, 1 grows and 1 shrinks)" in said


def test_without_a_gain_the_sentence_says_none() -> None:
    said = answer(evidence({"a": "vanishes", "b": "reverses"}))
    assert "none saves training time at 0.4M params (1 vanishes and 1 reverses)" in said


def test_all_inconclusive_says_what_would_settle_it() -> None:
    verdicts = [verdict("alone:a", "inconclusive", 11), verdict("alone:b", "inconclusive", 30)]
    said = answer(evidence({"a": "inconclusive", "b": "inconclusive"}, verdicts=verdicts))
    assert "none is settled at 0.4M params (about 11 pairs would settle the first" in said
    hopeless = answer(evidence({"a": "inconclusive"}, verdicts=[verdict("alone:a", "inconclusive")]))
    assert "no practical number of pairs would settle one at this noise" in hopeless


@pytest.mark.parametrize(
    ("stack", "landing", "ending"),
    [
        ((0.03, -0.04, 0.09), None, "is not settled (3 %, 90 % interval −4 to 9 %), and no landing run has "
                                    "tested it yet."),
        ((-0.05, -0.08, -0.02), False, "the stack costs 5 % more of training time there "
                                       "(saving: 90 % interval −8 to −2 %), but the landing run fails."),
        ((None, None, None), None, "the stack has no measured saving there, and no landing run has tested it yet."),
    ],
)  # fmt: skip
def test_the_stack_claims_no_more_than_its_interval(
    stack: tuple[float | None, ...], landing: bool | None, ending: str
) -> None:
    landings = [] if landing is None else [{"arm": "stack", "rung": 2, "stands": landing, "pairs": 12}]
    savings = [saving("alone:a", 0.1, 0.05, 0.15), saving("stack", *stack)]
    assert answer(evidence({"a": "transfers"}, landings=landings, savings=savings)).endswith(ending)


def test_a_frozen_top_rung_judges_nothing() -> None:
    said = answer(evidence(FIVE, aa=[{"rung": 2, "params": 402_000, "pairs": 2, "frozen": True}]))
    assert said.startswith("None of 5 findings kept at rung 0 can be judged at 0.4M params, since the rung is frozen")
    assert "21 %" not in said


def test_invalid_verdicts_are_named_and_the_stack_too() -> None:
    said = answer(evidence({"a": "invalid"}, verdicts=[verdict("alone:a", "invalid"), verdict("stack", "invalid")]))
    assert "none has a valid verdict" in said
    assert "the stack's own verdict is invalid" in said
    assert "21 %" not in said


def test_findings_left_behind_are_not_counted_as_judged() -> None:
    verdicts = [verdict("alone:a", "transfers"), verdict("stack", "transfers")]
    said = answer(evidence({"a": "transfers", "b": "?", "c": "?"}, verdicts=verdicts))
    assert "Of 3 findings kept at rung 0, 1 was taken up to 0.4M params (2 were not run alone) and of these" in said


def test_findings_stopped_below_the_top_are_not_counted_there() -> None:
    words = {"a": "transfers", "b": "gains", "c": "gains", "d": "inconclusive"}
    top = [saving(f"alone:{name}", 0.1, 0.05, 0.15) for name in "abc"]
    said = answer(evidence(words, savings=[*top, {**saving("alone:d", 0.1, -0.1, 0.2), "rung": 1}]))
    assert "3 were taken up to 0.4M params (1 was stopped or lost below) and of these" in said
    assert "3 still save training time at 0.4M params (1 transfers and 2 gain (whether they shrink" in said
    assert "inconclusive" not in said


def test_a_stack_known_by_a_bound_says_the_bound() -> None:
    bound = {**saving("stack", None, 0.875, None), "bound": "at least"}
    said = answer(evidence({"a": "gains"}, savings=[saving("alone:a", 0.1, 0.05, 0.15), bound]))
    assert "(it gains (whether it shrinks cannot be told)); the stack saves at least 87.5 % of training time" in said


def test_before_promotion_transfer_is_unknown() -> None:
    said = answer(evidence(FIVE, verdicts=[], savings=[], landings=[]))
    assert said.startswith("5 of 12 trials were kept at rung 0, but none has been run at a larger rung yet")


def test_nothing_kept_and_nothing_tried() -> None:
    assert answer(evidence({}, findings=[])).startswith(
        "None of 7 trials was kept at rung 0, so nothing can be promoted"
    )
    assert answer(evidence({}, trials=[])) == "Nothing is known yet: no trial has been run."


def test_limits_follow_the_rows() -> None:
    power = {"rung": 2, "params": 402_000, "axis": "seconds", "pairs": 4, "smallest_saving": 0.07}
    slope = {"rung": 2, "sigma_dof": 5.0}
    far = {"params": 6_400_000, "extrapolated": True}
    said = "\n".join(limits(evidence(FIVE, powers=[power], slopes=[slope], forecasts=[far], landings=[])))
    assert "up to 78 % cannot be excluded" in said  # 1 - 0.05 ** (1 / 2)
    assert "Savings in seconds that are smaller than these can be real and stay unseen: 7 %" in said
    assert "7 % at rung 2 (4 pairs); rung 2 cannot see the 5 % that would be worth having" in said
    assert "degrees of freedom: 5 at rung 2" in said
    assert "16x beyond the top rung" in said
    assert "No landing run was made" in said


def test_limits_name_findings_that_the_cap_left_out() -> None:
    facts = {"settings": {"transfer": {"max_findings": 1}}}
    said = limits(evidence({"a": "transfers", "b": "?"}, facts=facts, savings=[saving("alone:a", 0.1, 0.05, 0.15)]))
    assert "1 finding of 2 was not run alone up the ladder (the settings take up 1 at most)." in said


def test_the_stack_that_landed_is_told_apart_from_the_whole_one() -> None:
    known = evidence({"a": "transfers"}, verdicts=[verdict("alone:a", "transfers"), verdict("stack", "transfers")])
    whole = next(row for row in known.savings if row["arm"] == "stack" and row["rung"] == known.top_rung)
    known.savings.append({**whole, "arm": "trimmed", "saving": 0.3, "saving_low": 0.28, "saving_high": 0.32})
    said = answer(known)
    assert "; without the members that hold it back, it saves 30 % (90 % interval 28 to 32 %), and the landing" in said
    assert said.index("21 %") < said.index("30 %")
