"""The forecast beyond a ladder: hold-outs, anchors, the mixture, and what its intervals are made of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from data.run_table import RunTable, of_arrays
from scaling.fitting import fit_table
from scaling.laws.anchor import KNOWN, Anchor, strengths
from scaling.laws.beyond import Ladder, by_mixture
from scaling.laws.forms import FORMS
from scaling.laws.holdouts import deciding, hold_outs
from scaling.laws.inputs import Floats, make_inputs
from scaling.laws.intervals import clusters, top_scatter
from scaling.laws.mixture import mix, mixed_forms
from scaling.laws.outcome import Prediction

SIZES = np.array([1e7, 3e7, 1e8, 3e8, 1e9])
RATIOS = np.array([5.0, 20.0, 80.0])


def chinchilla(params: Floats, tokens: Floats, exponents: tuple[float, float] = (0.34, 0.37)) -> Floats:
    """A loss of known truth, in nats per token."""
    a, b = exponents
    losses: Floats = 1.8 + 0.9 * (params / 1e8) ** -a + 0.8 * (tokens / 2e9) ** -b
    return losses


def ladder(noise: float = 0.003, seed: int = 0, sizes: Floats = SIZES) -> tuple[Floats, Floats, Floats]:
    """Params, tokens and losses of every size at every ratio of tokens to params."""
    params = np.repeat(sizes, len(RATIOS))
    tokens = params * np.tile(RATIOS, len(sizes))
    noisy = chinchilla(params, tokens) * np.exp(noise * np.random.default_rng(seed).standard_normal(len(params)))
    return params, tokens, noisy


def test_hold_outs_take_the_top_rungs_and_leave_enough_to_fit() -> None:
    params, tokens, _ = ladder()
    inputs = make_inputs(params, tokens)
    found = hold_outs(inputs)
    assert {one.variable for one in found} == {"params", "flops"}
    for one in found:
        column = inputs.of(one.variable)
        assert column[one.kept].max() < column[one.held_out].min() + 1e-9
        assert one.kept.sum() >= 7
    assert all(one.variable == "params" for one in deciding(found))


def test_no_hold_out_can_be_made_of_a_short_ladder() -> None:
    params, tokens, losses = ladder(sizes=SIZES[:2])
    inputs = make_inputs(params, tokens)
    assert hold_outs(inputs) == ()
    mixture = mix(inputs, np.log(losses))
    assert np.allclose(np.concatenate(mixture.weights), 1 / np.concatenate(mixture.weights).size)


@pytest.mark.parametrize("name", ["chinchilla", "tied", "kaplan", "coupled", "flops"])
def test_the_anchor_gradient_is_that_of_its_penalty(name: str) -> None:
    form = FORMS[name]
    rng = np.random.default_rng(3)
    theta = rng.uniform(0.2, 0.8, (4, form.size))
    anchor = Anchor(form, np.array([0.5, 1.0, 2.0, 0.0]))
    gradient, matrix = anchor.normal(theta)
    step = 1e-6
    for place in range(form.size):
        moved = theta.copy()
        moved[:, place] += step
        back = theta.copy()
        back[:, place] -= step
        numeric = (anchor.penalty(moved) - anchor.penalty(back)) / (2 * step)
        assert np.allclose(gradient[:, place], numeric, atol=1e-6)
    assert (np.linalg.eigvalsh(matrix) > -1e-9).all()


def test_fewer_sizes_take_stronger_anchors() -> None:
    weakest = [strengths(make_inputs(SIZES[:many], SIZES[:many] * 20), 5)[0] for many in (3, 4, 5)]
    assert weakest == sorted(weakest, reverse=True)
    assert weakest[0] == pytest.approx(0.1)


def test_a_ladder_too_short_for_its_floor_is_held_to_known_exponents() -> None:
    params, tokens, losses = ladder(noise=0.004, seed=5, sizes=SIZES[:3])
    inputs = make_inputs(params, tokens)
    mixture = mix(inputs, np.log(losses))
    strongest = [family.form.decay(family.theta[[-1]])[0] for family in mixture.families]
    assert np.allclose(strongest, KNOWN[0], atol=0.1)


def test_where_params_and_tokens_rise_in_step_one_variable_serves() -> None:
    assert [form.name for form in mixed_forms(make_inputs(SIZES, 20 * SIZES))] == ["flops"]
    assert [form.name for form in mixed_forms(make_inputs(SIZES, np.full(5, 1e9)))] == ["params"]
    assert [form.name for form in mixed_forms(make_inputs(np.full(5, 1e8), SIZES))] == ["tokens"]


def test_a_true_chinchilla_law_is_foreseen_ten_times_beyond() -> None:
    errors = []
    target_params, target_tokens = np.array([3e9, 1e10]), np.array([6e10, 2e11])
    for seed in range(6):
        params, tokens, losses = ladder(seed=seed)
        inputs = make_inputs(params, tokens)
        mean, _ = mix(inputs, np.log(losses)).log_loss(
            make_inputs(target_params, target_tokens, centres=inputs.centres)
        )
        errors.append(np.abs(np.expm1(mean - np.log(chinchilla(target_params, target_tokens)))).mean())
    assert np.mean(errors) < 0.01


def test_intervals_hold_what_they_promise_on_simulated_ladders() -> None:
    rng = np.random.default_rng(11)
    inside = []
    for seed in range(24):
        exponents = tuple(np.clip(rng.normal(0.33, 0.07, 2), 0.15, 0.6))
        params, tokens, _ = ladder()
        noise = 0.004
        losses = chinchilla(params, tokens, exponents) * np.exp(noise * rng.standard_normal(len(params)))
        inputs = make_inputs(params, tokens)
        place = np.array([4e9]), np.array([8e10])
        targets = make_inputs(*place, centres=inputs.centres)
        observed = np.log(losses)
        found = by_mixture(Ladder.of(inputs, losses, seed), mix(inputs, observed), targets)
        truth = chinchilla(*place, exponents) * np.exp(noise * rng.standard_normal(1))
        inside.append(bool((found.loss_low <= truth)[0] and (truth <= found.loss_high)[0]))
    assert np.mean(inside) >= 0.8


def test_clusters_are_model_sizes_unless_there_are_too_few() -> None:
    many = np.repeat(np.geomspace(1e6, 1e9, 8), 3)
    assert len(np.unique(clusters(make_inputs(many, many * 20)))) == 8
    few = np.repeat(SIZES, 3)
    assert len(np.unique(clusters(make_inputs(few, few * 20)))) == len(few)


def test_a_ladder_is_the_same_whatever_the_order_of_its_rows() -> None:
    params, tokens, losses = ladder(sizes=np.geomspace(1e6, 1e9, 500))
    rows = np.random.default_rng(1).permutation(len(params))
    first = Ladder.of(make_inputs(params, tokens), losses, 7)
    second = Ladder.of(make_inputs(params[rows], tokens[rows]), losses[rows], 7)
    assert len(first.observed) == 400
    assert (first.observed == second.observed).all()
    assert (first.counts == second.counts).all()
    assert first.inputs.log_params.max() == make_inputs(params, tokens).log_params.max()


def test_scatter_is_that_of_the_largest_runs() -> None:
    params, tokens, _ = ladder()
    inputs = make_inputs(params, tokens)
    residuals = np.where(inputs.log_flops >= np.sort(inputs.log_flops)[-5], 0.01, 0.3)
    assert top_scatter(inputs, residuals) == pytest.approx(0.01)


def simulated_table(seed: int) -> RunTable:
    params, tokens, losses = ladder(seed=seed)
    return of_arrays(params, tokens, losses, train=params < SIZES[-1])


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 1000))
def test_the_order_of_the_rows_changes_no_prediction(seed: int) -> None:
    table = simulated_table(seed)
    rows = np.random.default_rng(seed + 1).permutation(len(table))
    shuffled = of_arrays(table.params[rows], table.tokens[rows], table.loss[rows], train=table.train[rows])
    assert_same_predictions(fit_table(table).law.predictions, fit_table(shuffled).law.predictions)


@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(seed=st.integers(0, 1000), millions=st.sampled_from([1e-6, 1e3]))
def test_units_change_no_prediction(seed: int, millions: float) -> None:
    table = simulated_table(seed)
    other = of_arrays(table.params * millions, table.tokens / 7, table.loss, table.flops * 1e-3, train=table.train)
    back = [
        replace(one, params=one.params / millions, tokens=one.tokens * 7, flops=one.flops * 1e3)
        for one in fit_table(other).law.predictions
    ]
    assert_same_predictions(fit_table(table).law.predictions, back)


def assert_same_predictions(first: Sequence[Prediction], second: Sequence[Prediction]) -> None:
    assert len(first) == len(second) > 0
    pairs = zip(*(sorted(ones, key=lambda one: (one.params, one.tokens)) for ones in (first, second)), strict=True)
    for one, other in pairs:
        assert other.loss == pytest.approx(one.loss, rel=1e-6)
        # An interval's ends rest on refits of resampled runs, some of which stop a little apart in another rounding.
        assert other.loss_low == pytest.approx(one.loss_low, rel=1e-3)
        assert other.loss_high == pytest.approx(one.loss_high, rel=1e-3)
