"""Where an arm is run next: towards its crossing, no further than the rule allows, and no more often than it needs."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.crossing import MAX_SHORTENING, NEARBY, crossings_up_the_ladder
from transfer.horizons import (
    MAX_HORIZONS,
    MAX_STEP,
    NEAR_T,
    SAME,
    Request,
    next_request,
    next_requests,
    whole_steps,
)
from transfer.pairs import PairsAt, RungPairs
from transfer.slope import Noise, Slope

SLOPE = Slope(0.4, 0.02, 0.3, 0.2, Noise(0.004, 9))
FLAT = Slope(-0.1, 0.02, 0.3, 0.5, Noise(0.004, 9))


def drop(x: float, curvature: float) -> float:
    return x if abs(curvature) < 1e-9 else -math.expm1(-curvature * x) / curvature


class Arm:
    """An arm that acts as e^gain times the tokens; its pairs scatter evenly about the curve."""

    def __init__(
        self,
        gain: float,
        *,
        curvature: float = 0.3,
        scatter: float = 0.001,
        steepness: float = 1.0,
        slope: Slope = SLOPE,
    ) -> None:
        self.gain, self.curvature, self.scatter = gain, curvature, scatter
        self.steepness, self.slope = steepness, slope

    def pairs(self, ln_shortening: float, pairs: int, first: int = 0) -> PairsAt:
        gap = 0.4 * self.steepness * drop(self.gain - ln_shortening, self.curvature)
        baseline = np.linspace(3.0, 3.01, pairs)
        losses = baseline - gap - self.scatter * np.resize([1.0, -1.0], pairs)
        return PairsAt(ln_shortening, baseline, losses, first=first)

    def run(self, *horizons: tuple[float, int] | tuple[float, int, int]) -> RungPairs:
        return RungPairs(self.slope, tuple(self.pairs(*one) for one in horizons))

    def seen(self, pairs: int, *, longest: float = 0.0, steps: int | None = None) -> tuple[RungPairs, list[Request]]:
        """As a study runs it: two pairs at T, then where it is asked to, until it is done."""
        rung, asked = self.run((0.0, 2)), list[Request]()
        while (request := next_request([rung], pairs, longest=longest, steps=steps)) is not None:
            asked.append(request)
            rung = rung.with_point(self.pairs(request.ln_shortening, request.pairs, request.first))
            assert len(asked) <= MAX_HORIZONS
        return rung, asked


def test_the_first_guess_is_where_pairs_at_t_put_the_crossing() -> None:
    rung = Arm(0.5).run((0.0, 2))
    (crossing,) = crossings_up_the_ladder([rung])
    assert crossing is not None
    request = next_request([rung], 4)
    assert request is not None
    assert request.seeds == range(2)
    assert request.ln_shortening == pytest.approx(crossing.shortening)
    assert request.ln_shortening == pytest.approx(0.5, abs=0.01)


def test_the_last_rung_is_asked() -> None:
    below, above = Arm(0.8).run((0.0, 2)), Arm(0.3).run((0.0, 2))
    request = next_request([below, above], 4)
    assert request is not None
    assert request.ln_shortening == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("curvature", [-0.5, 0.0, 0.3, 1.2])
@pytest.mark.parametrize("gain", [0.15, 0.5, 1.0, 1.6])
def test_steps_end_beside_the_crossing_on_any_curve(gain: float, curvature: float) -> None:
    rung, asked = Arm(gain, curvature=curvature, steepness=1.3).seen(4)
    assert 1 <= len(asked) <= MAX_HORIZONS - 1
    near = [point for point in rung.points if abs(point.ln_shortening - gain) < NEARBY]
    assert {seed for point in near for seed in point.seeds} == set(range(4))
    assert min(abs(point.ln_shortening - gain) for point in near) < 0.1
    (crossing,) = crossings_up_the_ladder([rung])
    assert crossing is not None
    assert crossing.shortening == pytest.approx(gain, abs=0.01)


def test_a_gain_of_any_size_is_run_on_an_eighth_at_the_least() -> None:
    rung, asked = Arm(5.0, curvature=0.1).seen(4)
    assert max(request.ln_shortening for request in asked) == MAX_SHORTENING
    assert {seed for point in rung.points if point.ln_shortening > 1.9 for seed in point.seeds} == set(range(4))


def test_no_step_is_longer_than_the_slope_can_be_believed() -> None:
    request = next_request([Arm(2.0).run((0.0, 2))], 4)
    assert request == Request(MAX_STEP, 2)
    further = next_request([Arm(2.0).run((0.0, 2), (0.5, 4))], 4)
    assert further is not None
    assert further.ln_shortening <= 0.5 + MAX_STEP
    # The step counts from the shortest horizon, wherever the arm ran last.
    assert next_request([Arm(5.0, curvature=0.0).run((0.5, 4), (0.0, 2))], 4) == Request(0.5 + MAX_STEP, 2)


@given(st.floats(-1.0, 3.0), st.integers(1, 5000))
def test_every_horizon_has_a_whole_number_of_steps(ln_shortening: float, steps: int) -> None:
    count = steps * math.exp(-whole_steps(ln_shortening, steps))
    assert count == pytest.approx(round(count), abs=1e-6)
    assert count >= 1 - 1e-9
    assert abs(count - max(1.0, steps * math.exp(-ln_shortening))) <= 0.5 + 1e-6


def test_the_horizon_that_is_asked_for_has_whole_steps() -> None:
    # 100 steps e^-.5 are 60.65: 61.
    request = next_request([Arm(0.5).run((0.0, 2))], 4, steps=100)
    assert request is not None
    assert request.ln_shortening == math.log(100 / 61)
    assert whole_steps(0.4321, None) == 0.4321


def test_a_crossing_near_t_is_looked_for_at_t_itself() -> None:
    for gain in (-0.05, 0.05):
        assert next_request([Arm(gain).run((0.0, 2))], 4) == Request(0.0, 4)
    away = next_request([Arm(NEAR_T + 0.05).run((0.0, 2))], 4)
    assert away is not None
    assert away.ln_shortening > NEAR_T


def test_near_t_with_all_pairs_there_it_is_run_where_it_crosses_if_that_matters() -> None:
    # .08 from T the slope's error is .02; pairs that scatter less are worth another horizon, others are not.
    precise = next_request([Arm(0.08, scatter=0.0005).run((0.0, 4))], 4)
    assert precise is not None
    assert precise.ln_shortening == pytest.approx(0.08, abs=0.01)
    assert next_request([Arm(0.08, scatter=0.05).run((0.0, 4))], 4) is None


def test_it_stops_when_slope_and_curvature_hardly_matter() -> None:
    # The same horizons: done where pairs scatter, not yet where they do not.
    assert next_request([Arm(0.5, scatter=0.02).run((0.0, 2), (0.45, 4))], 4) is None
    assert next_request([Arm(0.5, scatter=0.0002).run((0.0, 2), (0.45, 4))], 4) is not None
    # At the crossing nothing is assumed, however little pairs scatter.
    assert next_request([Arm(0.5, scatter=0.0002).run((0.0, 2), (0.5, 4))], 4) is None


def test_an_arm_that_has_too_few_pairs_where_it_crosses_gets_the_rest_there() -> None:
    rung = Arm(0.5, scatter=0.02).run((0.0, 2), (0.495, 2))
    assert next_request([rung], 8) == Request(0.495, 8)
    # On another horizon only the seeds that are still without a run.
    request = next_request([Arm(0.5, scatter=0.02).run((0.0, 2), (0.4, 2))], 8)
    assert request is not None
    assert request.seeds == range(2, 8)
    assert request.ln_shortening == pytest.approx(0.5, abs=0.03)


def test_pairs_all_count_where_they_were_made_near_the_crossing() -> None:
    assert next_request([Arm(0.5, scatter=0.02).run((0.0, 2), (0.4, 2), (0.52, 6, 2))], 8) is None
    (crossing,) = crossings_up_the_ladder([Arm(0.5, scatter=0.02).run((0.4, 2), (0.52, 6, 2))])
    (at_once,) = crossings_up_the_ladder([Arm(0.5, scatter=0.02).run((0.5, 8))])
    assert crossing is not None
    assert at_once is not None
    assert crossing.noise == pytest.approx(at_once.noise, rel=0.4)
    # Too far off, the seeds of the first look are run again with the others.
    request = next_request([Arm(0.5, scatter=0.001).run((0.0, 2), (0.25, 2))], 8)
    assert request is not None
    assert request.seeds == range(8)


def test_a_loss_stays_at_t_unless_longer_runs_are_allowed() -> None:
    assert next_request([Arm(-0.4).run((0.0, 2))], 4) == Request(0.0, 4)
    assert next_request([Arm(-0.4).run((0.0, 4))], 4) is None
    request = next_request([Arm(-0.4).run((0.0, 2))], 4, longest=math.log(2))
    assert request is not None
    assert request.ln_shortening == pytest.approx(-0.4, abs=0.03)
    assert next_request([Arm(-3.0).run((0.0, 2))], 4, longest=math.log(2)) == Request(-math.log(2), 2)


def test_where_the_baseline_has_no_slope_nothing_more_is_run() -> None:
    assert next_request([Arm(0.5, slope=FLAT).run((0.0, 2))], 4) is None


def test_no_arm_gets_more_horizons_than_allowed() -> None:
    horizons = [(0.1 * i, 4) for i in range(MAX_HORIZONS)]
    assert next_request([Arm(1.5, scatter=1e-5).run(*horizons[:-1])], 4) is not None
    assert next_request([Arm(1.5, scatter=1e-5).run(*horizons)], 4) is None


def test_arms_asked_together_are_told_the_same_as_alone() -> None:
    rungs = [
        Arm(0.5).run((0.0, 2)),
        Arm(0.5, slope=FLAT).run((0.0, 2)),
        Arm(-0.4).run((0.0, 4)),
        Arm(3.0).run((0.0, 2)),
    ]
    together = next_requests([[rung] for rung in rungs], 4)
    for ours, theirs in zip(together, [next_request([rung], 4) for rung in rungs], strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            assert ours.ln_shortening == pytest.approx(theirs.ln_shortening, abs=1e-5)
            assert ours.pairs == theirs.pairs


def test_no_horizon_lies_beyond_where_the_arm_may_be_run() -> None:
    # 10 steps: T/8 is 1.25 of them, so 2 are run; 4 steps: nearest to half of ln(4/3), where it failed, is ln(4/3).
    assert next_request([Arm(3.0).run((0.0, 2), (1.2, 2))], 8, steps=10) == Request(math.log(5), 2)
    assert whole_steps(0.15, 4, math.log(4 / 3) / 2) == 0
    assert next_request([Arm(0.4, scatter=0.01).run((0.0, 2))], 4, steps=4, shortest=0.14) == Request(0.0, 4)


@given(st.floats(0.0, 3.0), st.integers(1, 300), st.floats(0.0, 2.1))
def test_whole_steps_stay_within_the_bound(ln_shortening: float, steps: int, shortest: float) -> None:
    assert whole_steps(ln_shortening, steps, shortest) <= shortest + 1e-6


def test_of_few_steps_the_nearest_horizon_gets_all_pairs() -> None:
    # Of three steps one is left at most; the crossing lies further, and no horizon comes nearer.
    assert next_request([Arm(1.7).run((math.log(3), 2))], 8, steps=3) == Request(math.log(3), 8)


def test_a_horizon_is_filled_even_where_no_other_may_follow() -> None:
    horizons = [(0.0, 2), (0.44, 8), (1.05, 2), (1.4, 8), (1.64, 2)]
    assert next_request([Arm(1.67).run(*horizons)], 8) == Request(1.64, 8)


def test_a_crossing_near_t_is_looked_at_although_all_seeds_ran_beside_it() -> None:
    request = next_request([Arm(0.08).run((0.0, 2), (0.19, 8))], 8)
    assert request is not None
    assert request.ln_shortening == pytest.approx(0.08, abs=0.02)


ARMS = st.builds(
    Arm,
    st.floats(-1.0, 4.0),
    curvature=st.sampled_from([-0.8, 0.0, 0.3, 1.5]),
    scatter=st.floats(1e-5, 0.05),
    steepness=st.floats(0.4, 2.0),
)


@settings(max_examples=60, deadline=None)
@given(ARMS, st.sampled_from([2, 4, 8]), st.sampled_from([None, 200, 5000]), st.sampled_from([0.0, math.log(2)]))
def test_every_request_brings_runs_that_are_not_made_yet(
    arm: Arm, pairs: int, steps: int | None, longest: float
) -> None:
    rung, asked = arm.seen(pairs, longest=longest, steps=steps)
    runs = [(request.ln_shortening, seed) for request in asked for seed in request.seeds]
    at = sorted({ln_shortening for ln_shortening, _ in runs})
    assert all(second - first >= SAME for first, second in itertools.pairwise(at))
    assert all(set(request.seeds) <= set(range(pairs)) for request in asked)
    assert Request(0.0, 2) not in asked
    assert all(-longest - SAME <= ln_shortening <= MAX_SHORTENING + SAME for ln_shortening in at)
    assert len(rung.points) <= MAX_HORIZONS
