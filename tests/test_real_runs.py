"""Small studies drawn from a bank of real runs are right as often as they say; benchmarks/real_truth.py made it."""

from pathlib import Path

import numpy as np
import pytest

from transfer.simulation.real_bank import bank_of
from transfer.simulation.real_counts import Bank, Counts, count_studies
from transfer.simulation.real_runs import BASELINE, Draw, truth

SUMMARY = Path(__file__).with_name("real_runs.npz")
PAIRS = (2, 4, 8)
STUDIES = 30
SAMPLING = 0.05
"""Coverage in a cell of 30 studies has a standard error of some .05."""


@pytest.fixture(scope="module")
def bank() -> Bank:
    with np.load(SUMMARY) as kept:
        return bank_of(dict(kept))


@pytest.fixture(scope="module")
def counts(bank: Bank) -> Counts:
    return count_studies(bank, studies=STUDIES, pairs=PAIRS, rng=np.random.default_rng(5))


def test_the_bank_holds_what_its_counts_need(bank: Bank) -> None:
    assert len(bank.rungs) == 3
    assert {"placebo-1", "placebo-2", "stack"} < set(bank.arms)
    for rung in bank.rungs:
        shortest, longest = max(rung.losses[BASELINE]), min(rung.losses[BASELINE])
        assert shortest == pytest.approx(np.log(4), abs=0.02)
        assert longest <= -np.log(2) + 0.02
        for arm in bank.arms:
            assert len(rung.losses[arm][0.0]) >= 24
            crossing = truth(Draw.of(rung, np.arange(8), np.random.default_rng(0)), arm, 0).ln_speedup
            near = [g for g in rung.horizons(arm) if abs(g - crossing) < 0.3]
            assert min(near) < crossing < max(near)


def test_intervals_in_tokens_hold_the_truth_of_other_seeds_and_other_text(counts: Counts) -> None:
    mean, lowest = counts.coverage("tokens")
    assert 0.86 <= mean <= 0.96
    assert lowest >= 0.8 - 2 * SAMPLING


def test_intervals_in_seconds_hold_although_half_the_blocks_ran_beside_busy_processes(counts: Counts) -> None:
    mean, lowest = counts.coverage("seconds")
    assert 0.86 <= mean <= 0.97
    assert lowest >= 0.8 - 2 * SAMPLING


def test_a_placebo_seldom_gets_a_word_that_speaks_of_an_effect(counts: Counts) -> None:
    for axis in ("tokens", "seconds"):
        assert counts.wrong_words(axis) <= 0.05
    assert np.mean(counts.placebos_kept) <= 0.05


def test_the_stack_lands_where_its_printed_saving_says(counts: Counts) -> None:
    assert len(counts.landings) > 2 * STUDIES
    assert np.mean(counts.landings) > 0.8
