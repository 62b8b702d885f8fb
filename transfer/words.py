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
LARGEST_LOSS = 100.0


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
    """The first word that holds, from intervals of lnS at the top and of its difference to rung 0."""
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


@dataclass(frozen=True, slots=True)
class Column:
    """What the words read of one arm: lnS at its rungs, lowest first, and lnS at its top less lnS at each rung below.

    `height`: the rungs that it would have, had it gone all the way; a column that ends below was stopped there. `where`
    names the top in words.
    """

    savings: Sequence[Saving]
    retentions: Sequence[Saving]
    height: int
    where: str = "at the top rung"

    @property
    def top(self) -> Saving:
        """The highest rung that the arm reached."""
        return self.savings[-1]

    @property
    def at_top(self) -> bool:
        """Whether the arm went all the way."""
        return len(self.savings) >= self.height


def judge(
    evidence: Mapping[str, Sequence[RungPairs]],
    *,
    axis: Axis,
    smallest_saving: float,
    invalid: Mapping[str, str],
    rungs: int | None = None,
    alpha: float = ALPHA,
) -> dict[str, Verdict]:
    """Judge every arm from its rungs, lowest first; `invalid` maps arms to the reason why they cannot be judged.

    `rungs` is the height of the ladder (by default the longest evidence). An arm that was stopped below the top is
    judged where it stopped, and can then only vanish, reverse, harm or stay inconclusive. Holm corrects over the
    findings that reached the top; the stack is one claim of its own. `alpha` is the one-sided level of every bound: at
    .05 words are read from 90 % intervals. Raises InputError on a bad smallest saving.
    """
    known = {arm: ladder for arm, ladder in evidence.items() if len(ladder) > 0}
    judged = {arm: ladder for arm, ladder in known.items() if arm not in invalid}
    height = rungs if rungs is not None else max((len(ladder) for ladder in judged.values()), default=0)
    plain = {arm: _column(ladder, axis, height, noisy=False) for arm, ladder in judged.items()}
    noisy = {arm: _column(ladder, axis, height, noisy=True) for arm, ladder in judged.items()}
    unknown = {arm: "no pair has finished" for arm in evidence if arm not in known}
    verdicts = judge_columns(
        plain, noisy, smallest_saving=smallest_saving, invalid=invalid, unknown=unknown, alpha=alpha
    )
    return {arm: verdicts[arm] for arm in evidence}


def judge_columns(
    plain: Mapping[str, Column],
    noisy: Mapping[str, Column],
    *,
    smallest_saving: float,
    invalid: Mapping[str, str],
    unknown: Mapping[str, str],
    alpha: float = ALPHA,
) -> dict[str, Verdict]:
    """Judge arms by their columns, `noisy` being the same had the runs been noisier than their sigma.

    `invalid` and `unknown` map arms without a column to why they cannot be judged, or not yet; `alpha` as in `judge`.
    """
    delta = delta_of(smallest_saving)
    seen, doubted = _views(plain, alpha), _views(noisy, alpha)
    verdicts = {arm: _verdict(view, doubted[arm], delta) for arm, view in seen.items()}
    verdicts |= {arm: _without_numbers("inconclusive", f"Inconclusive: {why}.") for arm, why in unknown.items()}
    return verdicts | {arm: _without_numbers("invalid", f"Invalid: {why.rstrip('.')}.") for arm, why in invalid.items()}


@dataclass(frozen=True, slots=True)
class _View:
    """One arm as the words see it, under one assumption about the noise."""

    column: Column
    p_holm: float
    family: int
    alpha: float

    def bounds(self, saving: Saving) -> Interval:
        """Both one-sided bounds of lnS at the level alpha."""
        return saving.lower(1 - self.alpha), saving.upper(1 - self.alpha)

    def word(self, delta: float, base: int = 0) -> Word:
        column = self.column
        retention = column.retentions[base] if len(column.retentions) > base else None
        return choose_word(
            self.bounds(column.top),
            ANYTHING if retention is None else self.bounds(retention),
            delta=delta,
            gain_at_rung_0=len(column.savings) > 1 and self.bounds(column.savings[0])[0] > 0,
            holm_passed=self.p_holm <= self.alpha and column.at_top and column.height > 1,
        )


def _views(columns: Mapping[str, Column], alpha: float) -> dict[str, _View]:
    p_values = {arm: column.top.p_better for arm, column in columns.items()}
    family = {arm: p for arm, p in p_values.items() if arm != STACK and columns[arm].at_top}
    adjusted = p_values | holm(family)
    return {
        arm: _View(column, adjusted[arm], len(family) if arm in family else 1, alpha) for arm, column in columns.items()
    }


def _column(ladder: Sequence[RungPairs], axis: Axis, height: int, *, noisy: bool) -> Column:
    savings = savings_up_the_ladder(ladder, axis, noise_factors=_factors(ladder) if noisy else ())
    return Column(savings, [difference(savings[-1], below) for below in savings[:-1]], height)


def _factors(ladder: Sequence[RungPairs]) -> list[float]:
    return [noisier(assumed=rung.slope.noise.assumed) for rung in ladder]


def noisier(*, assumed: bool) -> float:
    """How many times as noisy runs are supposed to be, to see whether a word is fragile."""
    return NOISIER_WHERE_ASSUMED if assumed else NOISIER


def _verdict(view: _View, noisy: _View, delta: float) -> Verdict:
    word = view.word(delta)
    fragile = word not in ("inconclusive", noisy.word(delta)) or word != view.word(delta, base=1)
    retention = view.column.retentions[0] if view.column.retentions else None
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
    column = view.column
    top = column.top
    if not (top.known and column.at_top and column.height > 1):
        return None
    fixed = max(top.ln_speedup_se**2 - top.pair_variance / top.pairs, 0.0)
    within = delta - abs(top.ln_speedup)
    if top.ln_speedup > 0:
        clear = pairs_for(
            top.ln_speedup,
            top.pair_variance,
            alpha=view.alpha / view.family,
            power=POWER["transfers"],
            fixed_variance=fixed,
        )
    else:
        clear = pairs_for(
            -top.ln_speedup, top.pair_variance, alpha=view.alpha, power=POWER["harmful"], fixed_variance=fixed
        )
    null = pairs_for(within, top.pair_variance, alpha=view.alpha, power=POWER["vanishes"], fixed_variance=fixed)
    needed = [pairs for pairs in (clear, null) if pairs is not None]
    return max(min(needed), top.pairs + 1) if needed else None


def _reason(view: _View, word: Word, delta: float, pairs: int | None) -> str:
    column, worth = view.column, f"{saved(delta):.1%}"
    top = column.top
    if not top.known:
        return f"Inconclusive: {top.reason}."
    interval = f"{_share(top.saving)} (90 %: {_share(top.saving_low)} to {_share(top.saving_high)})"
    where = column.where if column.at_top else f"at rung {len(column.savings) - 1}, where the arm was stopped"
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


def _share(saving: float) -> str:
    return f"{saving:.1%}" if saving > -LARGEST_LOSS else f"below -{LARGEST_LOSS:.0%}"


def _why_open(view: _View) -> str:
    if view.column.height < 2:
        return "one rung alone cannot show whether a gain lasts"
    if not view.column.at_top:
        return "what holds there need not hold at the top"
    if view.column.top.low > 0:
        return f"a gain by itself, but not among {view.family} findings tested at once (Holm p = {view.p_holm:.2g})"
    if view.column.savings[0].low > 0 and view.column.retentions[0].high < 0:
        return "it is vanishing: clearly less than at rung 0, and no gain is established any more"
    return "neither a gain, nor a loss, nor clearly nothing"


def _what_settles(view: _View, pairs: int | None) -> str:
    if view.column.height < 2:
        return "run a second rung"
    if not view.column.at_top:
        return "run it at the rungs above to settle it"
    if pairs is None:
        return "no practical number of pairs would settle it at this noise, so measure the slope with more seeds first"
    return f"about {pairs} pairs instead of {view.column.top.pairs} would settle it"
