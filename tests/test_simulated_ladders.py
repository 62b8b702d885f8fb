"""The method on ladders whose truth is known: what it promises must hold there."""

import math
import tomllib

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from data.errors import InputError
from transfer.forecast import forecast
from transfer.power import margin_of
from transfer.saving_estimate import savings_up_the_ladder
from transfer.simulation.counts import WORDS, count_block, planned_pairs, right_word
from transfer.simulation.error_rates import MIX, UNTUNED, ErrorRates, LadderWorld, error_rates
from transfer.simulation.ladders import Curve, World, cpu, simulate, simulate_arms
from transfer.simulation.mix import CLOCKS, CURVES, SHAPES
from transfer.simulation.worlds import read_worlds
from transfer.words import GAIN_WORDS, Word, choose_word

LADDERS = 150
LNS = st.floats(-0.5, 0.5)


def error(share: float, ladders: int = LADDERS) -> float:
    """Standard error of a share."""
    return math.sqrt(share * (1 - share) / ladders)


def by_name(name: str) -> LadderWorld:
    return next(world for world in (*MIX, *UNTUNED) if world.name == name)


@pytest.fixture(scope="module")
def rates() -> ErrorRates:
    """Every third world of the mix: each level of noise, each correlation, and a few off the grid."""
    return error_rates(MIX[1::3], ladders=LADDERS, workers=1)


def test_intervals_cover_the_truth(rates: ErrorRates) -> None:
    assert 0.87 <= rates.coverage <= 0.93
    for world in rates.worlds:
        assert world.coverage >= 0.87
        # Some 300 cells are looked at, so the lowest of them is low by luck too.
        assert world.worst_coverage >= 0.85 - 3.5 * error(0.85), world.worst_at


def test_a_vanished_gain_is_hardly_ever_called_one(rates: ErrorRates) -> None:
    assert rates.wrong_claims is not None
    assert rates.wrong_claims <= 0.02
    assert all(world.wrong_claims is None or world.wrong_claims <= 0.05 for world in rates.worlds)


def test_planned_pairs_find_the_right_word(rates: ErrorRates) -> None:
    assert rates.planned_right is not None
    assert rates.planned_right >= 0.85
    planned = [arm.planned_right for world in rates.worlds for arm in world.arms.values() if arm.planned_pairs]
    assert len(planned) >= 6 * len(rates.worlds)
    assert all(share is not None and share >= 0.8 - 3 * error(0.8) for share in planned)


def test_a_baseline_against_itself_seldom_freezes_a_rung(rates: ErrorRates) -> None:
    assert rates.aa_frozen <= 0.02
    assert 0 < rates.worst_aa_frozen <= 0.01 + 4 * error(0.01, 3 * LADDERS)


def test_shares_are_whole_and_small_gains_stand_apart(rates: ErrorRates) -> None:
    for world in rates.worlds:
        for arm in world.arms.values():
            assert sum(arm.words.values()) == pytest.approx(1)
            assert arm.right == arm.words[arm.right_word]
        apart = [name for name, arm in world.arms.items() if arm.apart]
        assert apart == ["too small"]
        assert world.arms["too small"].planned_pairs is None


def test_a_stack_is_measured_and_not_added_up(rates: ErrorRates) -> None:
    # The findings share a tenth of their gain; with so little noise nobody could miss that in their sum.
    quiet = next(world for world in rates.worlds if world.name == "llm, correlation 0.9, 2 pairs")
    assert quiet.arms["stack"].right > 0.9
    assert quiet.sum_of_singles is not None
    assert quiet.sum_of_singles < 0.05
    alone = by_name("cpu, two rungs").model_copy(update={"interaction": (0.0, 0.0)})
    added = error_rates([alone], ladders=LADDERS, planned=False, workers=1).worlds[0].sum_of_singles
    assert added is not None
    # Nearly as often as an interval should: both share the luck of the baseline's runs, of which a sum knows nothing.
    assert added > 0.75 - 2 * error(0.75)


def test_intervals_cover_on_curves_of_any_shape_and_by_clocks_that_err_together() -> None:
    # Each shape and each kind of clock at some level of noise and number of pairs; benchmarks/simulate.py counts all.
    worlds, few = (*CURVES[::4], *CLOCKS), 24
    assert all(any(f", {shape}, " in world.name for world in worlds) for shape in SHAPES)
    tallies = {world.name: count_block(world, None, 0, few) for world in worlds}
    coverage = {name: tally.covered.sum() / tally.given.sum() for name, tally in tallies.items()}
    # The arms of a rung share its baseline, so that a rung is worth one interval or little more.
    assert {name: share for name, share in coverage.items() if share < 0.85 - error(0.85, 4 * few)} == {}
    assert 0.87 <= np.mean(list(coverage.values())) <= 0.94
    # Six of a ladder's 36 are true losses, whose size is not told; of the others hardly any is without a number.
    assert all(tally.given.sum() >= 0.75 * tally.given.size * few for tally in tallies.values())


def test_every_arm_is_run_where_it_crosses() -> None:
    ladder = simulate(World((0.4, 0.3), (0.3, 0.3), 0.002, 0.5, 4), [[0.3, 0.6], [1.2, 0.2]], np.random.default_rng(4))
    for gains, rungs in zip([[0.3, 0.6], [1.2, 0.2]], ladder.evidence.values(), strict=True):
        for gain, rung in zip(gains, rungs, strict=True):
            near = [point for point in rung.points if abs(point.ln_shortening - gain) < 0.05]
            assert {seed for point in near for seed in point.seeds} == set(range(4))


@pytest.mark.parametrize(("curve", "ahead"), [("power", -1), ("double", -1), ("transition", 1)])
def test_the_loss_of_a_world_flattens_or_steepens_ahead(curve: Curve, ahead: int) -> None:
    # An arm that acts as twice the tokens, on T: how far it falls below what the slope at T would give.
    world = World((0.4,), (0.3,), 1e-6, 0.5, 2, curve=curve)
    ladder = simulate(world, [[math.log(2)]], np.random.default_rng(1))
    (at_t,) = (point for point in ladder.evidence["alone:0"][0].points if point.ln_shortening == 0)
    straight = 0.4 * math.log(2)
    assert np.sign(at_t.differences.mean() - straight) == ahead
    assert (ladder.slopes[0].transition is True) == (curve == "transition")
    if curve == "power":
        assert at_t.differences.mean() == pytest.approx(0.4 * (1 - 2**-0.3) / 0.3, abs=1e-4)


def test_shorter_horizons_that_are_mistuned_end_too_high() -> None:
    world = World((0.4,), (0.3,), 1e-6, 0.5, 2, mistuned=0.05)
    quarter, half, one = simulate(world, [[0.0]], np.random.default_rng(1)).baselines[0]
    assert half.mean() - one.mean() == pytest.approx(0.4 * (2**0.3 - 1) / 0.3 + 0.05 * 0.4, abs=1e-4)
    assert quarter.mean() - one.mean() == pytest.approx(0.4 * (4**0.3 - 1) / 0.3 + 0.05 * 0.4, abs=1e-4)


def test_clocks_err_by_rung_and_for_all_arms_alike() -> None:
    world = World((0.4, 0.4), (0.3, 0.3), 0.01, 0.5, 2, s_times=(0.01, 0.1), blocks=4000, shared_clock=0.05)
    ladder = simulate(world, [[0.0, 0.0], [0.0, 0.0]], np.random.default_rng(1))
    for rung, own in enumerate(world.s_times):
        first, second = (rungs[rung].ln_time_ratios for rungs in ladder.evidence.values())
        assert first is not None
        assert second is not None
        assert first.std() == pytest.approx(math.hypot(own, 0.05), rel=0.05)
        assert np.cov(first, second)[0, 1] == pytest.approx(0.05**2, rel=0.15)


@pytest.mark.parametrize(("rungs", "pairs"), [(1, 4), (2, 2), (3, 3)])
def test_short_ladders_are_covered_too(rungs: int, pairs: int) -> None:
    world, gain, rng = (
        World((0.5, 0.47, 0.43)[:rungs], (0.5,) * rungs, 0.03, 0.5, pairs),
        0.15,
        np.random.default_rng(3),
    )
    covered = [
        saving.low <= gain <= saving.high
        for _ in range(600)
        for saving in savings_up_the_ladder(simulate(world, [[gain] * rungs], rng).evidence["alone:0"], "seconds")
    ]
    assert 0.87 - 2.5 * error(0.87, 600) <= np.mean(covered) <= 0.95


def test_a_baseline_tuned_less_makes_gains_out_of_nothing() -> None:
    # No statistics of pairs can see it: only equal tuning, which the verdict *invalid* enforces, keeps it out.
    unequal = error_rates([by_name("llm, baseline untuned alike at every rung")], ladders=100, workers=1)
    assert unequal.worlds[0].arms["null"].claimed > 0.8
    mixed = error_rates([MIX[5], UNTUNED[-1]], ladders=100, workers=1)
    assert mixed.coverage == mixed.worlds[0].coverage
    assert list(mixed.unequal_tuning) == [UNTUNED[-1].name]


def test_the_answer_does_not_depend_on_who_counts() -> None:
    worlds = [world.model_copy(update={"ladders": 60}) for world in (MIX[0], MIX[-1])]
    alone, said = error_rates(worlds, workers=1), list[str]()
    together = error_rates(worlds[::-1], workers=2, say=said.append)
    assert [len(said), alone.ladders] == [2, 60]
    assert {world.name: world for world in together.worlds} == {world.name: world for world in alone.worlds}
    other = error_rates([worlds[0].model_copy(update={"seed": 1})], workers=1)
    assert other.worlds[0] != alone.worlds[0]


def test_planned_arms_have_pairs_of_their_own() -> None:
    ladder = simulate_arms(
        cpu(0.5, 6), {"few": [0.1] * 4, "many": [0.1] * 4}, np.random.default_rng(1), pairs={"few": 2}
    )
    assert [rung.pairs for rung in ladder.evidence["few"]] == [2] * 4
    assert [rung.pairs for rung in ladder.evidence["many"]] == [6] * 4
    # What is planned for is a timing as good as the pairs.
    assert [
        len(rungs[0].ln_time_ratios) for rungs in ladder.evidence.values() if rungs[0].ln_time_ratios is not None
    ] == [4, 6]
    with pytest.raises(InputError, match="1 to 6 pairs"):
        simulate_arms(cpu(0.5, 6), {"few": [0.1] * 4}, np.random.default_rng(1), pairs={"few": 7})


@given(LNS, LNS, st.floats(0.005, 0.2))
def test_the_right_word_is_that_of_a_ladder_without_noise(bottom: float, top: float, delta: float) -> None:
    for distance in (abs(top) - delta, abs(top - bottom) - delta / 2, abs(top), abs(bottom)):
        assume(abs(distance) > 1e-9)
    change = top - bottom
    word = choose_word(
        (top, top),
        (change, change),
        delta=delta,
        margin=margin_of(bottom, delta),
        gain_at_rung_0=bottom > 0,
        holm_passed=True,
    )
    assert right_word(bottom, top, delta) == word


@given(st.floats(0.001, 0.05), st.floats(1, 3), st.floats(0, 0.95), st.sampled_from(["constant", "null", "reversing"]))
def test_more_noise_never_needs_fewer_pairs(sigma: float, factor: float, correlation: float, finding: str) -> None:
    quiet = LadderWorld.read({"sigma": sigma, "correlation": correlation})
    noisy = LadderWorld.read({"sigma": sigma * factor, "correlation": correlation})
    needed, more = planned_pairs(quiet, finding), planned_pairs(noisy, finding)
    assert more is None or (needed is not None and needed <= more)


def test_a_world_is_read_from_a_settings_file() -> None:
    text = """
    [ladder_world]
    params = [1e6, 4e6]
    kappas = [0.4, 0.3]
    sigma = 0.01
    axis = "tokens"
    ladders = 20
    stack = ["good", "none"]
    interaction = 0.05
    gains = { good = 0.1, none = 0, fading = [0.1, 0] }
    """
    (world,) = read_worlds(tomllib.loads(text)["ladder_world"])
    assert world.sigma == (0.01, 0.01)
    assert world.truths["fading"].tolist() == [0.1, 0]
    assert world.truths["stack"] == pytest.approx([0.15, 0.15])
    found = error_rates([world], workers=1)
    assert found.ladders == 20
    assert set(found.as_dict()["worlds"][0]["arms"]) == {"good", "none", "fading", "stack"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kappa": 0.4}, "'kappa' is not a setting .did you mean 'kappas'"),
        ({"params": [1e6, 2e6, 4e6]}, "'kappas' has 4 values for 3 rungs"),
        ({"params": [2e6, 1e6], "kappas": 0.4}, "rising order"),
        ({"params": [1e6], "kappas": 0.4}, "two rungs"),
        ({"params": 3}, "'params'"),
        ({"sigma": 0}, "'sigma.0'.*greater than 0"),
        ({"correlation": 1.0}, "'correlation.0'"),
        ({"gains": {"a": [0.1, 0.2]}}, "'gains.a' has 2 values for 4 rungs"),
        ({"gains": {"a": math.nan}}, "'gains.a.0'"),
        ({"gains": {}}, "needs a finding"),
        ({"gains": {"stack": 0.1}}, "none that is called 'stack'"),
        ({"stack": ["nobody"]}, "'stack' takes findings"),
        ({"timing_blocks": 1}, "spread of the timings"),
        ({"curve": "spiral"}, "'curve'"),
        ({"curvatures": -2.0}, "'curvatures.0'"),
        ({"mistuned": 2.0}, "'mistuned'"),
        ({"shared_clock": -0.1}, "'shared_clock'"),
        ({"pairs": 1, "axis": "tokens", "horizon_seeds": 1, "aa_pairs": 1}, "too little of the noise"),
        ({"pairs": 2.5}, "'pairs'"),
        ({"axis": "joules"}, "'axis'"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=rf"\[ladder_world\].*{said}"):
        LadderWorld.read(values)


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(InputError, match="name of its own"):
        error_rates([MIX[0], MIX[0]])
    with pytest.raises(InputError, match="one world"):
        error_rates([])
    with pytest.raises(InputError, match="1 or more"):
        error_rates([MIX[0]], ladders=0)
    with pytest.raises(InputError, match="all different"):
        read_worlds([{}, {}])


def test_no_slope_is_no_number_and_no_claim() -> None:
    # So noisy that the baseline often does not fall with tokens: hardly anything may come of it but silence.
    tally = count_block(LadderWorld.read({"sigma": 0.5, "gains": {"null": 0}}), None, 0, 200)
    assert tally.given.sum() < 0.98 * 200 * 4
    assert sum(tally.words[0, WORDS.index(word)] for word in GAIN_WORDS) <= 0.1 * 200
    silent: tuple[Word, ...] = ("inconclusive", "invalid")
    assert sum(tally.words[0, WORDS.index(word)] for word in silent) >= 0.85 * 200


def test_forecasts_cover_what_was_not_run() -> None:
    world, target = cpu(0.9, 4), 81e6
    scales = np.log(np.append(world.params, target) / world.params[0])
    truths = np.array([0.2 + 0 * scales, 0.2 * np.exp(-0.3 * scales), 0.2 - 0.02 * scales, 0.3 * 0.8**scales])
    rng = np.random.default_rng(7)
    hits: list[bool] = []
    for _ in range(60):
        ladder = simulate(world, truths[:, :-1].tolist(), rng)
        savings = {arm: savings_up_the_ladder(rungs, "tokens") for arm, rungs in ladder.evidence.items()}
        for truth, forecasts in zip(truths[:, -1], forecast(world.params, savings, target).values(), strict=True):
            hits.append(bool(forecasts[0].saving_low <= -np.expm1(-truth) <= forecasts[0].saving_high))
    assert np.mean(hits) >= 0.85
