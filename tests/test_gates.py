import math

import pytest

from transfer.gates import decide
from transfer.saving import Saving


def saving(ln_speedup: float, se: float, pairs: int = 2) -> Saving:
    return Saving("seconds", ln_speedup, se, 6, pairs)


def test_a_gain_at_80_percent_goes_on_whatever_the_forecast() -> None:
    gate = decide(saving(0.05, 0.02), upper_90_at_target=-1, smallest_saving=0.01)
    assert gate.decision == "go"
    assert 0 < gate.lower_80 < 0.05


def test_no_gain_and_no_hope_is_futile() -> None:
    gate = decide(saving(-0.02, 0.03), upper_90_at_target=0.005, smallest_saving=0.01)
    assert gate.decision == "futile"
    assert "0.5%" in gate.reason


def test_a_clear_loss_buys_no_more_pairs_though_the_forecast_leaves_hope() -> None:
    gate = decide(saving(-0.1, 0.01), upper_90_at_target=0.04, smallest_saving=0.01)
    assert gate.decision == "futile"
    assert "loses at least" in gate.reason


@pytest.mark.parametrize(
    ("pairs", "decision", "more"), [(1, "more", 2), (2, "more", 4), (5, "more", 8), (8, "inconclusive", None)]
)
def test_doubt_buys_pairs_until_there_are_eight(pairs: int, decision: str, more: int | None) -> None:
    gate = decide(saving(0.0, 0.03, pairs), upper_90_at_target=0.05, smallest_saving=0.01)
    assert (gate.decision, gate.next_pairs) == (decision, more)


def test_a_rung_without_a_number_stops_with_its_reason() -> None:
    unknown = Saving("seconds", math.nan, math.nan, math.nan, 2, reason="the arm was not timed against the baseline")
    gate = decide(unknown, upper_90_at_target=0.1, smallest_saving=0.01)
    assert gate.decision == "inconclusive"
    assert "not timed" in gate.reason


def test_a_gain_beyond_what_was_run_goes_on() -> None:
    beyond = Saving("seconds", math.nan, 0.1, 6, 2, at_least="gain", centre=1.0)
    gate = decide(beyond, upper_90_at_target=math.inf, smallest_saving=0.01)
    assert gate.decision == "go"
    assert 0 < gate.lower_80 < 1


def test_a_loss_of_unknown_size_buys_no_more_pairs() -> None:
    beyond = Saving("seconds", math.nan, 0.1, 6, 2, at_least="loss", centre=-0.6)
    gate = decide(beyond, upper_90_at_target=math.inf, smallest_saving=0.01)
    assert gate.decision == "futile"
    assert "loses at least" in gate.reason
    doubtful = Saving("seconds", math.nan, 0.5, 6, 2, at_least="loss", centre=-0.6)
    assert decide(doubtful, upper_90_at_target=math.inf, smallest_saving=0.01).decision == "more"
