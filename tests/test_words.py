import math
from typing import Literal

import numpy as np
import pytest

from transfer.pairs import PairsAt, RungPairs
from transfer.power import margin_of
from transfer.saving import Saving, difference
from transfer.slope import Noise, Slope
from transfer.student import quantile
from transfer.words import Column, Interval, Verdict, Word, choose_word, holm, judge, judge_columns

DELTA = -math.log(0.99)
SLOPE = Slope(0.4, 0.002, 0.5, 0.05, Noise(0.002, 30))


def rung(ln_speedup: float, spread: float = 0.0005, slope: Slope = SLOPE) -> RungPairs:
    """Four pairs at the very horizon where the arm ends at the baseline's loss."""
    baseline = np.array([3.0, 3.001, 2.999, 3.002])
    arm = baseline + spread * np.array([1.0, -1.0, 1.0, -1.0])
    return RungPairs(slope, (PairsAt(ln_speedup, baseline, arm),))


def ladder(*ln_speedups: float, spread: float = 0.0005, slope: Slope = SLOPE) -> list[RungPairs]:
    return [rung(x, spread, slope) for x in ln_speedups]


def word_of(*ln_speedups: float, spread: float = 0.0005) -> Word:
    verdict = judge({"alone:a": ladder(*ln_speedups, spread=spread)}, axis="tokens", smallest_saving=0.01, invalid={})
    return verdict["alone:a"].word


@pytest.mark.parametrize(
    ("top", "retention", "gained", "holm_passed", "word"),
    [
        ((-0.009, 0.009), (0, 0), True, True, "vanishes"),
        ((0.001, 0.009), (0, 0), True, True, "vanishes"),
        ((-0.3, -0.1), (-0.5, -0.3), True, True, "reverses"),
        ((-0.3, -0.1), (-0.5, -0.3), False, False, "harmful"),
        ((0.1, 0.3), (-0.2, -0.006), True, True, "shrinks"),
        ((0.1, 0.3), (-0.2, -0.004), True, True, "gains"),
        ((0.1, 0.3), (-0.049, 0.049), True, True, "transfers"),
        ((0.1, 0.3), (-0.051, 0.049), True, True, "gains"),
        ((0.1, 0.3), (-0.049, 0.051), True, True, "gains"),
        ((0.1, 0.3), (-0.049, -0.006), True, True, "shrinks"),
        ((0.1, 0.3), (-math.inf, math.inf), True, True, "gains"),
        ((2.1, math.inf), (1.0, math.inf), True, True, "grows"),
        ((2.1, math.inf), (-0.5, math.inf), True, True, "gains"),
        ((-math.inf, -0.2), (-math.inf, -0.3), True, True, "reverses"),
        ((0.1, 0.3), (0.006, 0.2), True, True, "grows"),
        ((0.1, 0.3), (0.006, 0.2), True, False, "inconclusive"),
        ((-0.001, 0.3), (-0.1, 0.1), True, True, "inconclusive"),
        ((math.nan, math.nan), (-math.inf, math.inf), True, True, "inconclusive"),
    ],
)
def test_the_first_word_that_holds(
    top: Interval, retention: Interval, gained: bool, holm_passed: bool, word: Word
) -> None:
    chosen = choose_word(top, retention, delta=DELTA, margin=0.05, gain_at_rung_0=gained, holm_passed=holm_passed)
    assert chosen == word


@pytest.mark.parametrize(
    ("ln_speedups", "word"),
    [
        ((0.2, 0.2, 0.2), "transfers"),
        ((0.2, 0.15, 0.1), "shrinks"),
        ((0.1, 0.15, 0.2), "grows"),
        ((0.2, 0.1, 0.0), "vanishes"),
        ((0.2, 0.0, -0.2), "reverses"),
        ((-0.2, -0.2, -0.2), "harmful"),
    ],
)
def test_words_from_pairs(ln_speedups: tuple[float, ...], word: Word) -> None:
    assert word_of(*ln_speedups) == word


def test_inconclusive_says_how_many_pairs_would_settle_it() -> None:
    open_ladder = ladder(0.05, 0.05, 0.05, spread=0.03)
    verdict = judge({"alone:a": open_ladder}, axis="tokens", smallest_saving=0.01, invalid={})["alone:a"]
    assert verdict.word == "inconclusive"
    assert verdict.pairs_to_settle is not None
    assert verdict.pairs_to_settle > 4
    assert f"about {verdict.pairs_to_settle} pairs instead of 4 would settle it" in verdict.reason


def test_the_pairs_that_would_settle_it_do() -> None:
    verdict = judge({"a": ladder(0.05, 0.05, spread=0.03)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert verdict.pairs_to_settle is not None
    more = [many_pairs(0.05, 0.03, verdict.pairs_to_settle)] * 2
    assert judge({"a": more}, axis="tokens", smallest_saving=0.01, invalid={})["a"].word == "gains"


def many_pairs(ln_speedup: float, spread: float, pairs: int) -> RungPairs:
    """As `rung`, with so many pairs, rounded up to an even number."""
    noise = spread * np.tile([1.0, -1.0], math.ceil(pairs / 2))
    return RungPairs(SLOPE, (PairsAt(ln_speedup, np.full(len(noise), 3.0), 3.0 + noise),))


def test_a_sure_gain_whose_change_is_unknown_does_not_transfer() -> None:
    verdict = judge({"a": ladder(0.2, 0.2, spread=0.03)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert verdict.word == "gains"
    assert verdict.margin == pytest.approx(0.05)
    assert verdict.retention_low < -verdict.margin < verdict.margin < verdict.retention_high
    assert "it shrinks cannot be told: retention 0.00 [-0.11, 0.11]; about 69 pairs would tell" in verdict.reason
    more = [many_pairs(0.2, 0.03, verdict.pairs_to_settle or 0)] * 2
    told = judge({"a": more}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert told.word == "transfers"
    assert "as large as at rung 0 within 0.05" in told.reason


def test_no_number_of_pairs_is_said_that_nobody_would_run() -> None:
    verdict = judge({"a": ladder(0.05, 0.05, spread=0.014)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert (verdict.word, verdict.pairs_to_settle) == ("gains", None)
    assert verdict.reason.endswith("[-0.05, 0.05].")


def test_a_small_gain_is_given_the_smallest_saving_as_its_margin() -> None:
    assert margin_of(0.02, DELTA) == DELTA
    assert margin_of(0.2, DELTA) == 0.05
    assert margin_of(-0.2, DELTA) == margin_of(math.nan, DELTA) == DELTA


def test_many_findings_raise_the_bar_for_gains_alone() -> None:
    # Alone p is about .02; among ten that show nothing it is no longer a gain.
    faint = ladder(0.05, 0.05, spread=0.013)
    nothing = {f"alone:{i}": ladder(0.0, 0.0, spread=0.02) for i in range(10)}
    alone = judge({"alone:x": faint}, axis="tokens", smallest_saving=0.01, invalid={})["alone:x"]
    crowd = judge({"alone:x": faint} | nothing, axis="tokens", smallest_saving=0.01, invalid={})["alone:x"]
    assert alone.word == "gains"
    assert crowd.word == "inconclusive"
    assert crowd.p_holm == pytest.approx(11 * alone.p_holm)
    assert "Holm" in crowd.reason


def test_the_stack_is_one_claim_of_its_own() -> None:
    faint = ladder(0.05, 0.05, spread=0.013)
    nothing = {f"alone:{i}": ladder(0.0, 0.0, spread=0.02) for i in range(10)}
    assert judge({"stack": faint} | nothing, axis="tokens", smallest_saving=0.01, invalid={})["stack"].word == "gains"


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_fragile_where_a_little_more_noise_changes_the_word() -> None:
    sure = judge({"a": ladder(0.2, 0.2)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    faint = judge({"a": ladder(0.05, 0.05, spread=0.013)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert not sure.fragile
    assert faint.fragile


def test_an_assumed_sigma_is_doubted_more() -> None:
    def judged(assumed: bool) -> bool:
        slope = Slope(0.4, 0.002, 0.5, 0.05, Noise(0.002, 30, assumed=assumed))
        return judge(
            {"a": ladder(0.05, 0.05, spread=0.009, slope=slope)}, axis="tokens", smallest_saving=0.01, invalid={}
        )["a"].fragile

    assert not judged(assumed=False)
    assert judged(assumed=True)


def test_fragile_where_rung_0_alone_makes_the_trend() -> None:
    verdict = judge({"a": ladder(0.3, 0.2, 0.2)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert (verdict.word, verdict.fragile) == ("shrinks", True)
    steady = judge({"a": ladder(0.3, 0.25, 0.2)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert (steady.word, steady.fragile) == ("shrinks", False)
    assert steady.retention == pytest.approx(-0.1)
    assert steady.retention_low < -0.1 < steady.retention_high < 0


def test_invalid_arms_keep_their_reason_and_leave_the_family() -> None:
    evidence = {"alone:a": ladder(0.2, 0.2), "alone:b": ladder(0.2, 0.2), "alone:c": []}
    verdicts = judge(evidence, axis="tokens", smallest_saving=0.01, invalid={"alone:b": "its arm alone diverged"})
    assert list(verdicts) == list(evidence)
    assert verdicts["alone:b"].word == "invalid"
    assert "its arm alone diverged" in verdicts["alone:b"].reason
    assert verdicts["alone:c"].word == "inconclusive"
    single = judge({"alone:a": ladder(0.2, 0.2)}, axis="tokens", smallest_saving=0.01, invalid={})
    assert verdicts["alone:a"].p_holm == single["alone:a"].p_holm


def test_a_gain_below_the_top_is_no_claim_but_a_loss_is() -> None:
    evidence = {"up": ladder(0.2, 0.2, 0.2), "stopped": ladder(0.2, 0.2), "bad": ladder(-0.2)}
    verdicts = judge(evidence, axis="tokens", smallest_saving=0.01, invalid={})
    assert [v.word for v in verdicts.values()] == ["transfers", "inconclusive", "harmful"]
    assert "rung 1, where the arm was stopped" in verdicts["stopped"].reason
    assert math.isnan(verdicts["bad"].retention)


def test_one_rung_alone_shows_no_transfer() -> None:
    verdict = judge({"a": ladder(0.2)}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert verdict.word == "inconclusive"
    assert "second rung" in verdict.reason


def bound(side: Literal["gain", "loss"], ln_speedup: float) -> Saving:
    """Known to lie beyond `ln_speedup`, its one-sided 95 % bound."""
    reach = quantile(0.95, 20.0) * 0.02
    centre = ln_speedup + (reach if side == "gain" else -reach)
    return Saving("tokens", math.nan, 0.02, 20.0, 4, pair_variance=0.0016, at_least=side, centre=centre)


def word_on(*savings: Saving) -> Verdict:
    column = Column(savings, [difference(savings[-1], below) for below in savings[:-1]], len(savings))
    columns = {"a": column}
    return judge_columns(columns, columns, smallest_saving=0.01, invalid={}, unknown={})["a"]


def number(ln_speedup: float, se: float = 0.01) -> Saving:
    return Saving("tokens", ln_speedup, se, 20.0, 4, pair_variance=4 * se**2)


def test_a_gain_beyond_what_was_run_is_never_inconclusive_for_being_too_good() -> None:
    eighth = math.log(8)
    grown = word_on(number(0.5), bound("gain", eighth))
    assert grown.word == "grows"
    assert "It saves at least 87.5% at the top rung, where it was not run on fewer tokens" in grown.reason
    assert math.isnan(grown.retention)
    assert 1.5 < grown.retention_low < grown.retention_high == math.inf
    untold = word_on(bound("gain", eighth), bound("gain", eighth))
    assert untold.word == "gains"
    assert untold.margin == pytest.approx(eighth / 4)
    assert math.isnan(untold.retention_low)
    assert "its change from rung 0 is not known" in untold.reason
    shrunk = word_on(bound("gain", eighth), number(0.5))
    assert shrunk.word == "shrinks"
    assert shrunk.retention_low == -math.inf


def test_a_loss_beyond_what_was_run_is_a_loss() -> None:
    verdict = word_on(number(0.2), bound("loss", -0.5))
    assert verdict.word == "reverses"
    assert "It needs at least 64.9% more at the top rung, where it was not run on more tokens" in verdict.reason
    assert word_on(number(-0.2), bound("loss", -0.5)).word == "harmful"


def test_an_arm_without_any_number_is_inconclusive_with_the_reason() -> None:
    unknown = Saving("tokens", math.nan, math.nan, math.nan, 2, reason="the arm was not timed")
    verdict = word_on(number(0.2), unknown)
    assert (verdict.word, verdict.reason) == ("inconclusive", "Inconclusive: the arm was not timed.")
