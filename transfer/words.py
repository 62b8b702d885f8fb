"""The verdict: one word per arm, from its interval at the top rung and from its difference to rung 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transfer.power import ALPHA, POWER, pairs_for
from transfer.saving import Axis, RungPairs, Saving, delta_of, difference, saved, savings_up_the_ladder

Word = Literal["transfers", "grows", "shrinks", "vanishes", "reverses", "harmful", "inconclusive", "invalid"]
Interval = tuple[float, float]

STACK = "stack"
ANYTHING: Interval = (-math.inf, math.inf)
NOISIER = 1.5
NOISIER_WHERE_ASSUMED = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, whether a modest change of assumptions would change it, and why it was chosen.

    `retention` is lnS at the top less lnS at rung 0 with its 90 % interval (0: all retained; nan: one rung only);
    `p_holm` the Holm-adjusted one-sided p-value of a gain at the top; `pairs_to_settle` the pairs that an inconclusive
    arm would need at the top, None where no number of pairs would do.
    """

    word: Word
    fragile: bool
    reason: str
    retention: float
    retention_low: float
    retention_high: float
    p_holm: float
    pairs_to_settle: int | None = None


def choose_word(top: Interval, retention: Interval, *, delta: float, gain_at_rung_0: bool, holm_passed: bool) -> Word:
    """The first word that holds, from 90 % intervals of lnS at the top and of its difference to rung 0."""
    low, high = top
    if -delta < low and high < delta:
        return "vanishes"
    if high < 0:
        return "reverses" if gain_at_rung_0 else "harmful"
    if not (low > 0 and holm_passed):
        return "inconclusive"
    if retention[1] < -delta / 2:
        return "shrinks"
    if retention[0] > delta / 2:
        return "grows"
    return "transfers"


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Step-down adjusted p-values (Holm 1979)."""
    adjusted: dict[str, float] = {}
    worst = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = worst
    return adjusted


def judge(
    evidence: Mapping[str, Sequence[RungPairs]],
    *,
    axis: Axis,
    smallest_saving: float,
    invalid: Mapping[str, str],
    rungs: int | None = None,
) -> dict[str, Verdict]:
    """Judge every arm from its rungs, lowest first; `invalid` maps arms to the reason why they cannot be judged.

    `rungs` is the height of the ladder (by default the longest evidence). An arm that was stopped below the top is
    judged where it stopped, and can then only vanish, reverse, harm or stay inconclusive. Holm corrects over the
    findings that reached the top; the stack is one claim of its own. Raises InputError on a bad smallest saving.
    """
    delta = delta_of(smallest_saving)
    judged = {arm: ladder for arm, ladder in evidence.items() if arm not in invalid and len(ladder) > 0}
    height = rungs if rungs is not None else max((len(ladder) for ladder in judged.values()), default=0)
    plain = _views(judged, axis, height, noisy=False)
    noisy = _views(judged, axis, height, noisy=True)
    verdicts = {arm: _verdict(view, noisy[arm], delta) for arm, view in plain.items()}
    for arm in evidence:
        if arm in invalid:
            verdicts[arm] = _without_numbers("invalid", f"Invalid: {invalid[arm].rstrip('.')}.")
        elif arm not in judged:
            verdicts[arm] = _without_numbers("inconclusive", "Inconclusive: no pair has finished.")
    return {arm: verdicts[arm] for arm in evidence}


@dataclass(frozen=True, slots=True)
class _View:
    """One arm as the words see it, under one assumption about the noise."""

    savings: list[Saving]
    height: int
    p_holm: float
    family: int

    @property
    def top(self) -> Saving:
        return self.savings[-1]

    @property
    def at_top(self) -> bool:
        return len(self.savings) >= self.height

    def retention(self, base: int = 0) -> Saving | None:
        return difference(self.top, self.savings[base]) if len(self.savings) > base + 1 else None

    def word(self, delta: float, base: int = 0) -> Word:
        retention = self.retention(base)
        return choose_word(
            (self.top.low, self.top.high),
            ANYTHING if retention is None else (retention.low, retention.high),
            delta=delta,
            gain_at_rung_0=len(self.savings) > 1 and self.savings[0].low > 0,
            holm_passed=self.p_holm <= ALPHA and self.at_top and self.height > 1,
        )


def _views(evidence: Mapping[str, Sequence[RungPairs]], axis: Axis, height: int, *, noisy: bool) -> dict[str, _View]:
    savings = {
        arm: savings_up_the_ladder(ladder, axis, noise_factors=_factors(ladder, noisy))
        for arm, ladder in evidence.items()
    }
    p_values = {arm: column[-1].p_better for arm, column in savings.items()}
    family = {arm: p for arm, p in p_values.items() if arm != STACK and len(savings[arm]) >= height}
    adjusted = p_values | holm(family)
    return {arm: _View(savings[arm], height, adjusted[arm], len(family) if arm in family else 1) for arm in evidence}


def _factors(ladder: Sequence[RungPairs], noisy: bool) -> list[float]:
    if not noisy:
        return [1.0] * len(ladder)
    return [NOISIER_WHERE_ASSUMED if rung.slope.noise.assumed else NOISIER for rung in ladder]


def _verdict(view: _View, noisy: _View, delta: float) -> Verdict:
    word = view.word(delta)
    fragile = word not in ("inconclusive", noisy.word(delta)) or word != view.word(delta, base=1)
    retention = view.retention()
    pairs = _pairs_to_settle(view, delta) if word == "inconclusive" else None
    known = retention is not None and retention.known
    return Verdict(
        word=word,
        fragile=fragile,
        reason=_reason(view, word, delta, pairs),
        retention=retention.ln_speedup if retention is not None and known else math.nan,
        retention_low=retention.low if retention is not None and known else math.nan,
        retention_high=retention.high if retention is not None and known else math.nan,
        p_holm=view.p_holm,
        pairs_to_settle=pairs,
    )


def _without_numbers(word: Word, reason: str) -> Verdict:
    return Verdict(word, False, reason, math.nan, math.nan, math.nan, math.nan)


def _pairs_to_settle(view: _View, delta: float) -> int | None:
    """Pairs at which the likeliest word would be established, were the present estimate the truth."""
    top = view.top
    if not (top.known and view.at_top and view.height > 1):
        return None
    fixed = max(top.ln_speedup_se**2 - top.pair_variance / top.pairs, 0.0)
    within = delta - abs(top.ln_speedup)
    if top.ln_speedup > 0:
        clear = pairs_for(
            top.ln_speedup, top.pair_variance, alpha=ALPHA / view.family, power=POWER["transfers"], fixed_variance=fixed
        )
    else:
        clear = pairs_for(-top.ln_speedup, top.pair_variance, alpha=ALPHA, power=POWER["harmful"], fixed_variance=fixed)
    null = pairs_for(within, top.pair_variance, alpha=ALPHA, power=POWER["vanishes"], fixed_variance=fixed)
    needed = [pairs for pairs in (clear, null) if pairs is not None]
    return max(min(needed), top.pairs + 1) if needed else None


def _reason(view: _View, word: Word, delta: float, pairs: int | None) -> str:
    top, worth = view.top, f"{saved(delta):.1%}"
    if not top.known:
        return f"Inconclusive: {top.reason}."
    interval = f"{top.saving:.1%} (90 %: {top.saving_low:.1%} to {top.saving_high:.1%})"
    where = "at the top rung" if view.at_top else f"at rung {len(view.savings) - 1}, where the arm was stopped"
    measured = f"It saves {interval} {where}"
    endings: dict[Word, str] = {
        "vanishes": f"less than {worth} either way, the smallest saving worth having",
        "reverses": "a loss, though it gained at rung 0",
        "harmful": "a loss",
        "shrinks": "a gain, and clearly less than at rung 0",
        "grows": "a gain, and clearly more than at rung 0",
        "transfers": "a gain, and not clearly other than at rung 0",
    }
    if word != "inconclusive":
        return f"{measured}: {endings[word]}."
    return f"{measured}: {_why_open(view)}; {_what_settles(view, pairs)}."


def _why_open(view: _View) -> str:
    if view.height < 2:
        return "one rung alone cannot show whether a gain lasts"
    if not view.at_top:
        return "what holds there need not hold at the top"
    if view.top.low > 0:
        return f"a gain by itself, but not among {view.family} findings tested at once (Holm p = {view.p_holm:.2g})"
    return "neither a gain, nor a loss, nor clearly nothing"


def _what_settles(view: _View, pairs: int | None) -> str:
    if view.height < 2:
        return "run a second rung"
    if not view.at_top:
        return "run it at the rungs above to settle it"
    if pairs is None:
        return "no practical number of pairs would settle it at this noise, so measure the slope with more seeds first"
    return f"about {pairs} pairs instead of {view.top.pairs} would settle it"
