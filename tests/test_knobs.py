"""Knobs follow scale by their rules, and have their own values at rung 0."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import rung

from data.errors import InputError
from scaling.knobs import Knob, resolve
from scaling.ladder import Rung

BASE = rung("base", width=64, depth=4, context=128, batch_size=16, tokens=1_000_000)
WIDE = rung("wide", width=256, depth=8, context=128, batch_size=32, tokens=16_000_000)

terms = st.tuples(
    st.sampled_from(["width", "depth", "tokens", "batch"]), st.floats(-2, 2).map(lambda x: round(x, 3))
).map(lambda term: f"{term[0]}^{term[1]}")
rules = st.lists(terms, min_size=1, max_size=4).map(" * ".join) | st.just("constant")
rungs = st.builds(
    rung,
    width=st.integers(1, 4096),
    depth=st.integers(1, 96),
    context=st.integers(1, 4096),
    batch_size=st.integers(1, 512),
    tokens=st.integers(1, 10**13),
)


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        ("constant", 1.0),
        ("width^-1", 1 / 4),
        ("width^-0.5", 1 / 2),
        ("depth^0.5", 2**0.5),
        ("tokens^0.25", 2.0),
        ("batch^1", 2.0),
        ("width^-1 * tokens^0.5", 1.0),
        ("width^-0.5 * width^-0.5", 1 / 4),
    ],
)
def test_a_rule_follows_the_ratio_to_rung_0(rule: str, factor: float) -> None:
    assert Knob(3.0, rule).resolve(WIDE, BASE) == pytest.approx(3.0 * factor, rel=1e-12)


def test_batch_is_counted_in_tokens() -> None:
    longer = rung("longer", width=64, depth=4, context=512, batch_size=16)
    assert Knob(1.0, "batch^1").resolve(longer, BASE) == 4.0


@given(st.floats(1e-9, 1e9), rules, rungs)
def test_at_rung_0_every_knob_is_its_own_value(value: float, rule: str, base: Rung) -> None:
    assert resolve({"one": Knob(value, rule)}, base, base) == {"one": value}


@given(rules, rungs, rungs, rungs)
def test_going_up_in_two_steps_is_going_up_in_one(rule: str, base: Rung, middle: Rung, top: Rung) -> None:
    knob = Knob(2.0, rule)
    twice = Knob(knob.resolve(middle, base), rule).resolve(top, middle)
    assert twice == pytest.approx(knob.resolve(top, base), rel=1e-9)


def test_another_value_keeps_the_rule_and_the_bounds() -> None:
    assert Knob(1.0, "width^-1", low=0.5, high=2.0).at(1.5) == Knob(1.5, "width^-1", low=0.5, high=2.0)


@pytest.mark.parametrize("rule", ["width", "height^2", "width^-1 + depth^1", "width^x", "", "width^-1 *"])
def test_a_rule_that_cannot_be_read_is_named(rule: str) -> None:
    with pytest.raises(InputError, match="cannot be read; write 'constant' or a product") as raised:
        Knob(1.0, rule)
    assert repr(rule) in str(raised.value)
