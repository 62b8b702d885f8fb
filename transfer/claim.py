"""The landing run: the stack, less what it is better off without, on its own full and shortened schedule."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transfer.arms import Arm, Arms, without
from transfer.crossing import Crossing, crossings_up_the_ladder
from transfer.landing import Landing, judge_landing, landing_margin, landing_tokens
from transfer.members import Membership
from transfer.records import Records
from transfer.saving import Saving, saved
from transfer.saving_estimate import savings_up_the_ladder
from transfer.top import Top
from transfer.words import STACK

TRIMMED = "trimmed"


def no_landing(records: Records, rung: int, tokens: int, why: str) -> None:
    """Record that there was no landing run, and why."""
    where = {"arm": STACK, "rung": rung, "tokens_baseline": tokens}
    records.landing(where, None, f"No landing run: {why.rstrip('.')}.")


def land(top: Top, arms: Arms, membership: Membership) -> None:
    """Run the stack on fresh seeds, shortened by what it is said to save in tokens, and record whether it lands."""
    assert arms.stack is not None
    tokens, remarks = top.at.rung.tokens, _remarks(arms, membership)
    if len(membership.dropped) == len(arms.members):
        no_landing(top.records, top.rung, tokens, f"no member of the stack is worth keeping. {remarks}".rstrip())
        return
    arm, pairs = arms.stack, top.stack[-1]
    if membership.dropped:
        arm = Arm(TRIMMED, without(top.at.baseline, arms.members, membership.dropped)[0])
        (measured,) = top.measure([arm], "stack of the members that stay")
        if measured is None:
            no_landing(top.records, top.rung, tokens, f"{top.at.invalid[TRIMMED]}. {remarks}")
            return
        pairs = measured
    ladder = [*top.stack[:-1], pairs]
    saving, crossing = savings_up_the_ladder(ladder, "tokens")[-1], crossings_up_the_ladder(ladder)[-1]
    short = _shortened(top, saving)
    margin = _margin(top, saving, crossing, short)
    count = top.at.settings.landing_pairs
    base = top.at.landing(top.at.baseline, "baseline", count, tokens)
    own = top.at.landing(arm.recipe, arm.name, count, short)
    landing, said = _judged(base, own, margin)
    where: dict[str, Any] = {
        "arm": STACK,
        "rung": top.rung,
        "params": top.baseline.params,
        "tokens_baseline": tokens,
        "tokens_stack": short,
    }
    what = "The trimmed stack" if arm.name == TRIMMED else "The stack"
    top.records.landing(where, landing, f"{_claim(what, tokens, short)} {said} {remarks}".rstrip())


def _shortened(top: Top, saving: Saving) -> int:
    """Tokens of the landing run: by the printed saving, or the least that is claimed; else nothing is shortened."""
    claimed = saving.saving if saving.known else saved(saving.bound) if saving.at_least == "gain" else 0.0
    return landing_tokens(top.at.rung.tokens, claimed, top.at.rung.batch_tokens)


def _margin(top: Top, saving: Saving, crossing: Crossing | None, short: int) -> float:
    slope = top.baseline.slope.kappa if crossing is None else crossing.slope
    conceded = saving.ln_speedup - saving.low if saving.known and short < top.at.rung.tokens else 0.0
    return landing_margin(slope, top.at.settings.smallest_saving, conceded)


def _judged(
    base: np.ndarray[tuple[int, ...], np.dtype[np.float64]], own: np.ndarray[Any, np.dtype[np.float64]], margin: float
) -> tuple[Landing | None, str]:
    count = len(base)
    lost = int(np.isnan(base).sum())
    if lost:
        return None, f"{lost} of {count} baselines did not finish, so nothing was judged."
    lost = int(np.isnan(own).sum())
    if lost:
        failed = Landing(count, math.nan, math.nan, margin, stands=False)
        return failed, f"{lost} of its {count} runs did not finish while the baseline did: the claim falls."
    landing = judge_landing(base, own, margin)
    return landing, (
        f"Its finished loss is at most {landing.high_95:.4f} nats above the baseline's (95 %), "
        f"{landing.margin:.4f} is allowed: the claim {'stands' if landing.stands else 'falls'}."
    )


def _claim(what: str, tokens: int, short: int) -> str:
    if short >= tokens:
        return f"{what} was not shortened, since no saving in tokens could be claimed."
    return f"{what} ran on {1 - short / tokens:.1%} fewer tokens, on seeds of its own, as it was measured to save."


def _remarks(arms: Arms, membership: Membership) -> str:
    remarks = []
    if membership.dropped:
        remarks.append(f"Dropped before, since the stack is better off without: {', '.join(membership.dropped)}.")
    if arms.not_stacked:
        remarks.append(f"Never in the stack, for conflicts with stronger findings: {', '.join(arms.not_stacked)}.")
    return " ".join(remarks)
