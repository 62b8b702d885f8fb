"""The verdict: one word per arm, from its interval at the top rung and from its difference to rung 0."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from transfer.pairs import RungPairs
from transfer.power import ALPHA, POWER, margin_of, pairs_for
from transfer.saving import Axis, Saving, delta_of, difference, saved
from transfer.saving_estimate import savings_of_arms

Word = Literal["transfers", "gains", "grows", "shrinks", "vanishes", "reverses", "harmful", "inconclusive", "invalid"]
GAIN_WORDS: tuple[Word, ...] = ("transfers", "gains", "grows", "shrinks")
"""The words that claim a gain at the top rung."""
Interval = tuple[float, float]

STACK = "stack"
ANYTHING: Interval = (-math.inf, math.inf)
NOISIER = 1.5
NOISIER_WHERE_ASSUMED = 2.0
LARGEST_LOSS = 100.0
MAX_PAIRS_SAID = 200
"""More pairs than that are no advice."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word, whether a modest change of assumptions would change it, and why it was chosen.

    `retention` is lnS at the top less lnS at rung 0 with its 90 % interval (0: all retained; nan: one rung only, or one
    of the two is known by a bound alone, which makes an end of the interval infinite); `margin` what the interval must
    lie within, either way, to be called no change (nan without a retention). `p_holm` the Holm-adjusted one-sided
    p-value of a gain at the top; `pairs_to_settle` the pairs that an inconclusive arm would need at the top, or by
    which the change of one that gains would be told, None where no number of pairs would do.
    """

    word: Word
    fragile: bool
    reason: str
    retention: float
    retention_low: float
    retention_high: float
    p_holm: float
    pairs_to_settle: int | None = None
    margin: float = math.nan


def choose_word(
    top: Interval,
    retention: Interval,
    *,
    delta: float,
    margin: float,
    gain_at_rung_0: bool,
    holm_passed: bool,
    loss_passed: bool = True,
) -> Word:
    """The first word that holds, from intervals of lnS at the top and of its difference to rung 0.

    `holm_passed` and `loss_passed`: whether a gain, and a loss, is sure among all that were tested at once.

    *transfers* is shown by two one-sided tests (Schuirmann 1987): the interval of the difference lies within `margin`.
    """
    low, high = top
    if -delta < low and high < delta:
        return "vanishes"
    if high < 0 and loss_passed:
        return "reverses" if gain_at_rung_0 else "harmful"
    if not (low > 0 and holm_passed):
        return "inconclusive"
    if retention[1] < -delta / 2:
        return "shrinks"
    if retention[0] > delta / 2:
        return "grows"
    return "transfers" if -margin < retention[0] and retention[1] < margin else "gains"


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
    names the top in words; `open_ends` say why a gain, and why a loss, is known by a bound alone.
    """

    savings: Sequence[Saving]
    retentions: Sequence[Saving]
    height: int
    where: str = "at the top rung"
    open_ends: tuple[str, str] = ("it was not run on fewer tokens", "it was not run on more tokens")

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
    plain, noisy = (_columns(judged, axis, height, noisy=noisy) for noisy in (False, True))
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
    p_loss: float
    losses: int

    def bounds(self, saving: Saving) -> Interval:
        """Both one-sided bounds of lnS at the level alpha."""
        return saving.lower(1 - self.alpha), saving.upper(1 - self.alpha)

    def margin(self, delta: float, base: int = 0) -> float:
        """The margin of equivalence, by lnS at rung `base`, of which a bound is taken where it is all that is known."""
        if len(self.column.retentions) <= base:
            return math.nan
        bottom = self.column.savings[base]
        return margin_of(bottom.ln_speedup if bottom.known else bottom.low, delta)

    def word(self, delta: float, base: int = 0) -> Word:
        column = self.column
        retention = column.retentions[base] if len(column.retentions) > base else None
        return choose_word(
            self.bounds(column.top),
            ANYTHING if retention is None or not retention.bounded else self.bounds(retention),
            delta=delta,
            margin=delta if retention is None else self.margin(delta, base),
            gain_at_rung_0=len(column.savings) > 1 and self.bounds(column.savings[0])[0] > 0,
            holm_passed=self.p_holm <= self.alpha and column.at_top and column.height > 1,
            loss_passed=self.p_loss <= self.alpha,
        )


def _views(columns: Mapping[str, Column], alpha: float) -> dict[str, _View]:
    p_values = {arm: column.top.p_better for arm, column in columns.items()}
    family = {arm: p for arm, p in p_values.items() if arm != STACK and columns[arm].at_top}
    adjusted = p_values | holm(family)
    losses = {arm: column.top.p_worse for arm, column in columns.items()}
    findings = {arm: p for arm, p in losses.items() if arm != STACK}
    sure_losses = losses | holm(findings)
    return {
        arm: _View(
            column,
            adjusted[arm],
            len(family) if arm in family else 1,
            alpha,
            sure_losses[arm],
            len(findings) if arm in findings else 1,
        )
        for arm, column in columns.items()
    }


def _columns(ladders: Mapping[str, Sequence[RungPairs]], axis: Axis, height: int, *, noisy: bool) -> dict[str, Column]:
    factors = [_factors(ladder) if noisy else [] for ladder in ladders.values()]
    savings = savings_of_arms(list(ladders.values()), axis, noise_factors=factors)
    return {
        arm: Column(own, [difference(own[-1], below) for below in own[:-1]], height)
        for arm, own in zip(ladders, savings, strict=True)
    }


def _factors(ladder: Sequence[RungPairs]) -> list[float]:
    return [noisier(assumed=rung.slope.noise.assumed) for rung in ladder]


def noisier(*, assumed: bool) -> float:
    """How many times as noisy runs are supposed to be, to see whether a word is fragile."""
    return NOISIER_WHERE_ASSUMED if assumed else NOISIER


def _verdict(view: _View, noisy: _View, delta: float) -> Verdict:
    word = view.word(delta)
    # Two rungs have no other rung to compare with: that makes a trend doubtful, but a gain of equal size no more so.
    without_rung_0 = word if word == "transfers" and len(view.column.retentions) < 2 else view.word(delta, base=1)
    fragile = word not in ("inconclusive", noisy.word(delta)) or word != without_rung_0
    retention = view.column.retentions[0] if view.column.retentions else None
    pairs = {"inconclusive": _pairs_to_settle, "gains": _pairs_to_tell}.get(word, _no_pairs)(view, delta)
    bounded = retention is not None and retention.bounded
    return Verdict(
        word=word,
        fragile=fragile,
        reason=_reason(view, word, delta, pairs),
        retention=retention.ln_speedup if retention is not None and retention.known else math.nan,
        retention_low=retention.low if retention is not None and bounded else math.nan,
        retention_high=retention.high if retention is not None and bounded else math.nan,
        p_holm=view.p_holm,
        pairs_to_settle=pairs,
        margin=view.margin(delta),
    )


def _without_numbers(word: Word, reason: str) -> Verdict:
    return Verdict(word, False, reason, math.nan, math.nan, math.nan, math.nan)


def _no_pairs(view: _View, delta: float) -> None:
    """Words that are settled need no more pairs."""


def _pairs_to_tell(view: _View, delta: float) -> int | None:
    """Pairs at both ends of the ladder that would tell the change from rung 0, were the present estimate the truth."""
    retention = view.column.retentions[0] if view.column.retentions else None
    if retention is None or not retention.known:
        return None
    fixed = max(retention.ln_speedup_se**2 - retention.pair_variance / retention.pairs, 0.0)
    change = abs(retention.ln_speedup)
    needed = [
        pairs_for(effect, retention.pair_variance, alpha=view.alpha, power=power, fixed_variance=fixed)
        for effect, power in ((change - delta / 2, POWER["shrinks"]), (view.margin(delta) - change, POWER["vanishes"]))
    ]
    fewest = min((pairs for pairs in needed if pairs is not None), default=None)
    return None if fewest is None or fewest > MAX_PAIRS_SAID else max(fewest, retention.pairs + 1)


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
            -top.ln_speedup,
            top.pair_variance,
            alpha=view.alpha / view.losses,
            power=POWER["harmful"],
            fixed_variance=fixed,
        )
    null = pairs_for(within, top.pair_variance, alpha=view.alpha, power=POWER["vanishes"], fixed_variance=fixed)
    needed = [pairs for pairs in (clear, null) if pairs is not None]
    return max(min(needed), top.pairs + 1) if needed else None


def _reason(view: _View, word: Word, delta: float, pairs: int | None) -> str:
    column, worth = view.column, f"{saved(delta):.1%}"
    if not column.top.bounded:
        return f"Inconclusive: {column.top.reason}."
    measured = _measured(column)
    endings: dict[Word, str] = {
        "vanishes": f"less than {worth} either way, the smallest saving worth having",
        "reverses": "a loss, though it gained at rung 0",
        "harmful": "a loss",
        "shrinks": "a gain, and clearly less than at rung 0",
        "grows": "a gain, and clearly more than at rung 0",
        "transfers": "a gain, and as large as at rung 0",
    }
    if word == "gains":
        return f"{measured}: a gain; {_untold_change(view, pairs)}."
    if word != "inconclusive":
        return f"{measured}: {endings[word]}{_within(view, word, delta)}."
    return f"{measured}: {_why_open(view)}; {_what_settles(view, pairs)}."


def _measured(column: Column) -> str:
    """What the arm saves, where, as far as it is known."""
    top = column.top
    where = column.where if column.at_top else f"at rung {len(column.savings) - 1}, where the arm was stopped"
    too_good, too_bad = column.open_ends
    if top.known:
        interval = f"{_share(top.saving)} (90 %: {_share(top.saving_low)} to {_share(top.saving_high)})"
        return f"It saves {interval} {where}"
    if math.isinf(top.high) and top.low <= 0:
        return f"What it saves {where} is not known: it lies beyond the horizons that were run, and may be nothing"
    if math.isinf(top.high):
        return f"It saves at least {_share(top.saving_low)} {where}, where {too_good}"
    return f"It needs at least {-top.saving_high:.1%} more {where}, where {too_bad}"


def _within(view: _View, word: Word, delta: float) -> str:
    return f" within {view.margin(delta):.2g} in lnS" if word == "transfers" else ""


def _untold_change(view: _View, pairs: int | None) -> str:
    retention = view.column.retentions[0]
    if not retention.bounded:
        return "whether it shrinks cannot be told: its change from rung 0 is not known"
    low, high = retention.low, retention.high
    value = f"{retention.ln_speedup:.2f} " if retention.known else ""
    interval = f"[{_end(low)}, {_end(high)}]"
    more = "" if pairs is None else f"; about {pairs} pairs would tell"
    return f"whether it shrinks cannot be told: retention {value}{interval}{more}"


def _end(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "unknown"


def _share(saving: float) -> str:
    return f"{saving:.1%}" if saving > -LARGEST_LOSS else f"below -{LARGEST_LOSS:.0%}"


def _why_open(view: _View) -> str:
    if view.column.height < 2:
        return "one rung alone cannot show whether a gain lasts"
    if not view.column.at_top:
        return "what holds there need not hold at the top"
    if view.column.top.low > 0:
        return f"a gain by itself, but not among {view.family} findings tested at once (Holm p = {view.p_holm:.2g})"
    if view.column.top.high < 0:
        return f"a loss by itself, but not among {view.losses} findings tested at once (Holm p = {view.p_loss:.2g})"
    if view.column.savings[0].low > 0 and view.column.retentions[0].high < 0:
        return "it is vanishing: clearly less than at rung 0, and no gain is established any more"
    return "neither a gain, nor a loss, nor clearly nothing"


def _what_settles(view: _View, pairs: int | None) -> str:
    if view.column.height < 2:
        return "run a second rung"
    if not view.column.top.known:
        return "longer or shorter runs would settle it"
    if not view.column.at_top:
        return "run it at the rungs above to settle it"
    if pairs is None:
        return "no practical number of pairs would settle it at this noise, so measure the slope with more seeds first"
    return f"about {pairs} pairs instead of {view.column.top.pairs} would settle it"
