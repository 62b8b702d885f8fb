"""The order of the data belongs to (seed, step) alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import evaluation_sequences, train_batch
from data.errors import InputError

TOKENS = np.arange(5000, dtype=np.uint16)
SEEDS = st.integers(0, 2**63 - 1)


@given(SEEDS, st.integers(0, 2**40), st.sampled_from([1, 2, 4, 8]))
def test_any_number_of_devices_reads_the_same_global_batch(seed: int, step: int, devices: int) -> None:
    whole = train_batch(TOKENS, seed=seed, step=step, batch_size=16, context=7)
    parts = [
        train_batch(TOKENS, seed=seed, step=step, batch_size=16, context=7, device_index=index, devices=devices)
        for index in range(devices)
    ]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.shape == (16, 8)
    assert whole.dtype == np.int64
    assert np.array_equal(whole - whole[:, :1], np.tile(np.arange(8), (16, 1)))


@given(SEEDS, st.integers(0, 2**40))
def test_steps_and_seeds_read_different_text_whatever_else_drew_numbers(seed: int, step: int) -> None:
    def batch(seed: int, step: int) -> bytes:
        return train_batch(TOKENS, seed=seed, step=step, batch_size=16, context=7).tobytes()

    first = batch(seed, step)
    np.random.seed(0)
    assert batch(seed, step) == first
    assert batch(seed, step + 1) != first
    assert batch(seed ^ 1, step) != first


def test_the_order_is_the_one_that_earlier_studies_read() -> None:
    batch = train_batch(TOKENS, seed=1, step=2, batch_size=4, context=3)
    assert batch[:, 0].tolist() == [313, 67, 4610, 3194]


def test_every_place_is_read_and_none_beyond_the_end() -> None:
    tokens = np.arange(12, dtype=np.uint16)
    read = {
        int(start)
        for step in range(50)
        for start in train_batch(tokens, seed=3, step=step, batch_size=8, context=4)[:, 0]
    }
    assert read == set(range(8))


@given(st.integers(1, 40), st.integers(1, 60))
def test_evaluation_spreads_over_the_shard_and_predicts_no_place_twice(count: int, context: int) -> None:
    sequences = evaluation_sequences(TOKENS, count, context)
    assert sequences.shape == (count, context + 1)
    predicted = sequences[:, 1:].ravel()
    assert len(np.unique(predicted)) == count * context
    if count > 1:
        assert sequences[0, 0] == 0
        assert sequences[-1, -1] == 4999


def test_too_short_a_shard_is_said_so() -> None:
    with pytest.raises(InputError, match="holds 5 tokens and one sequence needs 6"):
        train_batch(TOKENS[:5], seed=0, step=0, batch_size=1, context=5)
    with pytest.raises(InputError, match="holds 5,000 tokens and 50 sequences of 100 need 5,001"):
        evaluation_sequences(TOKENS, 50, 100)
    with pytest.raises(InputError, match="cannot be divided among 3 devices"):
        train_batch(TOKENS, seed=0, step=0, batch_size=4, context=5, devices=3)
