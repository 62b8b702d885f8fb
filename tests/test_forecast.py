import math
from collections.abc import Sequence

import numpy as np
import pytest

from data.errors import InputError
from transfer.forecast import METHODS, Forecast, Method, forecast
from transfer.saving import Saving

PARAMS = [1e6, 3e6, 9e6, 27e6]


def column(ln_speedups: Sequence[float], se: float = 0.003) -> list[Saving]:
    return [Saving("seconds", value, se, 30, 4) for value in ln_speedups]


def by_method(forecasts: list[Forecast]) -> dict[Method, Forecast]:
    return {forecast.method: forecast for forecast in forecasts}


def decaying(gamma: float, start: float = 0.2) -> list[float]:
    return [start * (n / 1e6) ** -gamma for n in PARAMS]


def test_a_decay_is_carried_on() -> None:
    result = by_method(forecast(PARAMS, {"a": column(decaying(0.3))}, 270e6)["a"])
    assert result["decay"].ln_speedup == pytest.approx(0.2 * 270**-0.3, abs=0.005)
    assert result["decay"].saving_low < result["decay"].saving < result["decay"].saving_high
    assert abs(result["decay"].leave_top_rung_out_error) < 0.01


def test_simple_methods_by_hand() -> None:
    result = by_method(forecast(PARAMS, {"a": column([0.4, 0.3, 0.2, 0.1])}, 81e6)["a"])
    assert result["last"].ln_speedup == pytest.approx(0.1)
    assert result["mean"].ln_speedup == pytest.approx(0.25)
    assert result["linear"].ln_speedup == pytest.approx(0.0)
    measured = 1 - math.exp(-0.1)
    assert result["last"].leave_top_rung_out_error == pytest.approx(1 - math.exp(-0.2) - measured)
    assert result["mean"].leave_top_rung_out_error == pytest.approx(1 - math.exp(-0.3) - measured)
    assert result["linear"].leave_top_rung_out_error == pytest.approx(0)


def test_methods_that_disagree_widen_the_forecast() -> None:
    agreeing = by_method(forecast(PARAMS, {"a": column([0.1] * 4)}, 270e6)["a"])["decay"]
    falling = by_method(forecast(PARAMS, {"a": column([0.4, 0.3, 0.2, 0.1])}, 270e6)["a"])["decay"]
    assert falling.saving_high - falling.saving_low > 3 * (agreeing.saving_high - agreeing.saving_low)


def test_only_far_targets_are_extrapolated() -> None:
    near, far = forecast(PARAMS, {"a": column([0.1] * 4)}, [100e6, 120e6])["a"][:: len(METHODS)]
    assert (near.extrapolated, far.extrapolated) == (False, True)
    stopped = forecast(PARAMS, {"a": column([0.1] * 2)}, 27e6)["a"]
    assert all(item.extrapolated for item in stopped)


def test_the_gates_bound_lies_within_the_interval() -> None:
    for item in forecast(PARAMS, {"a": column([0.1, 0.05, 0.02, 0.0], 0.02)}, 270e6)["a"]:
        assert item.ln_speedup < item.ln_speedup_upper_90 < -math.log(1 - item.saving_high)


def test_five_findings_inform_one_another_and_four_do_not() -> None:
    alike = {f"alone:{i}": column(decaying(0.5)) for i in range(5)}
    vague = column([0.2, 0.18, 0.15, 0.14], se=0.05)

    def of_the_vague(others: int) -> float:
        arms = dict(list(alike.items())[:others]) | {"vague": vague}
        return by_method(forecast(PARAMS, arms, 270e6)["vague"])["decay"].ln_speedup

    assert of_the_vague(3) == pytest.approx(of_the_vague(0))
    assert of_the_vague(5) < of_the_vague(0) - 0.01


def test_findings_that_decay_apart_are_not_given_one_gamma() -> None:
    # Measured to a hair's breadth, so that a shared gamma or an underflow would show at once.
    gammas = [0.0, 0.2, 0.4, 0.8, 1.2, 3.0]
    arms = {f"alone:{gamma}": column(decaying(gamma), se=0.0005) for gamma in gammas}
    result = forecast(PARAMS, arms, 270e6)
    for gamma in gammas[:5]:
        assert by_method(result[f"alone:{gamma}"])["decay"].ln_speedup == pytest.approx(0.2 * 270**-gamma, abs=0.005)


def test_gaps_and_unknown_arms() -> None:
    gap = column(decaying(0.3))
    gap[1] = Saving("seconds", math.nan, math.nan, math.nan, 4, reason="not timed")
    unknown = [gap[1]]
    result = forecast(PARAMS, {"gap": gap, "unknown": unknown, "single": column([0.1])}, 270e6)
    assert by_method(result["gap"])["decay"].ln_speedup == pytest.approx(0.2 * 270**-0.3, abs=0.01)
    assert result["unknown"] == []
    assert all(math.isnan(item.leave_top_rung_out_error) for item in result["single"])


def test_a_bound_is_no_number_to_go_on_from() -> None:
    bounded = Saving("seconds", math.nan, 0.05, 30, 4, at_least="gain", centre=2.3, ceiling=2.0)
    below = column(decaying(0.3))[:2]
    result = forecast(PARAMS[:3], {"a": [*below, bounded], "b": below, "c": [bounded]}, 270e6)
    assert [one.ln_speedup for one in result["a"]] == [one.ln_speedup for one in result["b"]]
    assert result["c"] == []


def test_the_same_savings_in_other_units_of_size_forecast_the_same() -> None:
    first = forecast(PARAMS, {"a": column([0.3, 0.2, 0.2, 0.1])}, 270e6)["a"]
    second = forecast(np.array(PARAMS) / 1e6, {"a": column([0.3, 0.2, 0.2, 0.1])}, 270)["a"]
    assert [x.saving_low for x in first] == pytest.approx([x.saving_low for x in second])


@pytest.mark.parametrize(("params", "values"), [([3e6, 1e6], [0.1, 0.1]), ([1e6], [0.1, 0.1]), ([], [0.1])])
def test_a_ladder_that_does_not_fit_is_refused(params: list[float], values: list[float]) -> None:
    with pytest.raises(InputError):
        forecast(params, {"a": column(values)}, 27e6)
