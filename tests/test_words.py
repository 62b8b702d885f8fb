import math

import numpy as np
import pytest

from transfer.saving import RungPairs
from transfer.slope import Noise, Slope
from transfer.words import Interval, Word, choose_word, holm, judge

DELTA = -math.log(0.99)
SLOPE = Slope(0.4, 0.002, 0.5, 0.05, Noise(0.002, 30))


def rung(ln_speedup: float, spread: float = 0.0005, slope: Slope = SLOPE) -> RungPairs:
    gain = slope.kappa / slope.curvature * (1 - math.exp(-slope.curvature * ln_speedup))
    baseline = np.array([3.0, 3.001, 2.999, 3.002])
    return RungPairs(slope, baseline, baseline - gain + spread * np.array([1.0, -1.0, 1.0, -1.0]))


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
        ((0.1, 0.3), (-0.2, -0.004), True, True, "transfers"),
        ((0.1, 0.3), (0.006, 0.2), True, True, "grows"),
        ((0.1, 0.3), (0.006, 0.2), True, False, "inconclusive"),
        ((-0.001, 0.3), (-0.1, 0.1), True, True, "inconclusive"),
        ((math.nan, math.nan), (-math.inf, math.inf), True, True, "inconclusive"),
    ],
)
def test_the_first_word_that_holds(
    top: Interval, retention: Interval, gained: bool, holm_passed: bool, word: Word
) -> None:
    chosen = choose_word(top, retention, delta=DELTA, gain_at_rung_0=gained, holm_passed=holm_passed)
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
    pairs = 2 * math.ceil(verdict.pairs_to_settle / 2)
    gain = SLOPE.kappa / SLOPE.curvature * (1 - math.exp(-SLOPE.curvature * 0.05))
    noise = 0.03 * np.tile([1.0, -1.0], pairs // 2)
    more = [RungPairs(SLOPE, np.full(pairs, 3.0), np.full(pairs, 3.0) - gain + noise)] * 2
    assert judge({"a": more}, axis="tokens", smallest_saving=0.01, invalid={})["a"].word == "transfers"


def test_many_findings_raise_the_bar_for_gains_alone() -> None:
    # Alone p is about .02; among ten that show nothing it is no longer a gain.
    faint = ladder(0.05, 0.05, spread=0.013)
    nothing = {f"alone:{i}": ladder(0.0, 0.0, spread=0.02) for i in range(10)}
    alone = judge({"alone:x": faint}, axis="tokens", smallest_saving=0.01, invalid={})["alone:x"]
    crowd = judge({"alone:x": faint} | nothing, axis="tokens", smallest_saving=0.01, invalid={})["alone:x"]
    assert alone.word == "transfers"
    assert crowd.word == "inconclusive"
    assert crowd.p_holm == pytest.approx(11 * alone.p_holm)
    assert "Holm" in crowd.reason


def test_the_stack_is_one_claim_of_its_own() -> None:
    faint = ladder(0.05, 0.05, spread=0.013)
    nothing = {f"alone:{i}": ladder(0.0, 0.0, spread=0.02) for i in range(10)}
    assert (
        judge({"stack": faint} | nothing, axis="tokens", smallest_saving=0.01, invalid={})["stack"].word == "transfers"
    )


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


def test_a_gain_beyond_the_slope_is_inconclusive_with_the_reason() -> None:
    baseline = np.array([3.0, 3.01])
    beyond = RungPairs(SLOPE, baseline, baseline - 0.9)
    verdict = judge({"a": [rung(0.2), beyond]}, axis="tokens", smallest_saving=0.01, invalid={})["a"]
    assert verdict.word == "inconclusive"
    assert "larger than the baseline's slope" in verdict.reason
