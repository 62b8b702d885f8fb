"""Verdicts on findings that do not fit: that cannot be run alone, or that conflict with the stack."""

from __future__ import annotations

import math
from dataclasses import replace

from transfer.arms import Arms
from transfer.saving import Saving, delta_of
from transfer.words import ANYTHING, Verdict, Word, choose_word


def with_misfit(verdict: Verdict, finding_id: str | None, arms: Arms) -> Verdict:
    """The verdict, saying so where the finding is not in the stack."""
    why = arms.not_stacked.get(finding_id or "")
    return verdict if why is None else replace(verdict, reason=f"{verdict.reason} {_sentence(why)}")


def within_the_stack(finding_id: str, arms: Arms, worth: Saving | None, smallest_saving: float) -> Verdict:
    """The verdict on a finding that cannot be run alone: what it adds to the stack at the top rung is its measurement.

    One rung cannot show whether a gain lasts, so the word is vanishes, harmful, or inconclusive; invalid where the
    finding is not in the stack either.
    """
    why = _sentence(arms.not_alone[finding_id])
    if finding_id in arms.not_stacked:
        return _verdict("invalid", f"Invalid: {why} {_sentence(arms.not_stacked[finding_id])}")
    if worth is None or not worth.known:
        missing = worth.reason if worth is not None and worth.reason else "it was not measured within the stack"
        return _verdict("inconclusive", f"Inconclusive: {why} {_sentence(missing[:1].upper() + missing[1:])}")
    word = choose_word(
        (worth.low, worth.high),
        ANYTHING,
        delta=delta_of(smallest_saving),
        margin=delta_of(smallest_saving),
        gain_at_rung_0=False,
        holm_passed=False,
    )
    interval = f"{worth.saving:.1%} (90 %: {worth.saving_low:.1%} to {worth.saving_high:.1%})"
    ending = {"vanishes": f"less than {smallest_saving:.1%} either way", "harmful": "a loss"}.get(
        word, "one rung cannot show whether that lasts"
    )
    return _verdict(word, f"{why} Within the stack it adds {interval} at the top rung: {ending}.")


def _verdict(word: Word, reason: str) -> Verdict:
    return Verdict(word, False, reason, math.nan, math.nan, math.nan, math.nan)


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."
