"""What the choice of the held-out documents adds to the error of a mean difference."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from transfer.held_out_text import MIN_DOCUMENTS, text_variance


def test_the_cluster_variance_by_hand() -> None:
    # Four documents alike in length differ from their mean .02 by .01 .01 -.01 -.01: (4 x .0001/16) 4/3, as ever.
    variance, dof = text_variance([[0.03, 0.03, 0.01, 0.01]], [5, 5, 5, 5])
    assert variance == pytest.approx(0.0001 / 3)
    assert dof == pytest.approx(3)


def test_long_documents_weigh_more_and_tell_less() -> None:
    # Shares .4 .2 .2 .2 of a mean of .4 x .03 + .6 x .01 = .018: .16 x .012^2 + 3 x .04 x .008^2. Each is part of the
    # mean it is compared with, so that its square is short of the variance by 1 - 2 w + W, W = .28 the sum of squares.
    variance, dof = text_variance([[0.03, 0.01, 0.01, 0.01]], [4, 2, 2, 2])
    seen = 0.16 * (1 - 0.8 + 0.28) + 0.12 * (1 - 0.4 + 0.28)
    assert variance == pytest.approx((0.16 * 0.012**2 + 0.12 * 0.008**2) * 0.28 / seen)
    squares, fourths = 0.16 + 3 * 0.04, 0.0256 + 3 * 0.0016
    assert dof == pytest.approx(squares**2 / fourths - 1)
    assert dof < 3


def test_what_all_documents_share_is_no_luck_of_the_text() -> None:
    assert text_variance([[0.02] * 6, [0.05] * 6], [1, 2, 3, 4, 5, 6])[0] == pytest.approx(0)


@given(st.permutations(list(range(6))), st.floats(-1, 1), st.floats(0.01, 100), st.floats(0.1, 10), st.integers(0, 99))
def test_only_differences_between_documents_count(
    order: list[int], shift: float, scale: float, unit: float, seed: int
) -> None:
    gaps, lengths = np.random.default_rng(seed).normal(0, 0.01, (3, 6)), np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    variance, dof = text_variance(gaps, lengths)
    moved, same = text_variance((gaps[:, order] + shift) * scale, lengths[order] * unit)
    assert moved == pytest.approx(variance * scale**2, rel=1e-6, abs=1e-12)
    assert same == pytest.approx(dof)


def _simulated(
    rng: np.random.Generator, documents: int, *, between: float, run: float, pairs: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Differences (pairs, documents) with true mean .02, and how long documents are.

    Documents differ by `between`; a run's luck differs from document to document by `run`.
    """
    of_documents = between * rng.standard_normal(documents)
    own = run * rng.standard_normal((pairs, documents))
    return 0.02 + of_documents + own, rng.integers(1, 6, documents).astype(float)


@pytest.mark.parametrize("documents", [6, 20, 60])
def test_intervals_cover_where_documents_are_clusters(documents: int) -> None:
    rng, hits, naive = np.random.default_rng(4), [], []
    for _ in range(600):
        gaps, lengths = _simulated(rng, documents, between=0.02, run=0.0, pairs=4)
        variance, dof = text_variance(gaps, lengths)
        error = abs(float(gaps.mean(0) @ lengths / lengths.sum()) - 0.02)
        hits.append(error <= stats.t.ppf(0.95, dof) * math.sqrt(variance))
        # As if each sequence of a document were a draw of its own.
        naive.append(error <= 1.645 * math.sqrt(variance * documents / lengths.sum()))
    assert 0.86 <= np.mean(hits) <= 0.96
    assert np.mean(naive) < 0.8


def test_the_scatter_of_single_runs_is_taken_out() -> None:
    # On each document the mean of four runs errs by .01, as much as documents differ: the scatter of pairs has that.
    rng = np.random.default_rng(6)
    many = [_simulated(rng, 30, between=0.01, run=0.02, pairs=4) for _ in range(400)]
    found = np.array([text_variance(*one)[0] for one in many])
    truth = np.mean([0.01**2 * np.square(lengths / lengths.sum()).sum() for _, lengths in many])
    assert np.mean(found) == pytest.approx(truth, rel=0.1)
    with_luck = np.mean([text_variance(gaps.mean(0), lengths)[0] for gaps, lengths in many])
    assert with_luck == pytest.approx(2 * truth, rel=0.1)
    assert (found >= 0).all()


def test_few_documents_tell_nothing() -> None:
    gaps = [[0.03, 0.01, 0.02, 0.05]]
    few = MIN_DOCUMENTS - 1
    assert text_variance([gaps[0][:few]], [1] * few) == (0.0, math.inf)
    assert text_variance(gaps, [1] * MIN_DOCUMENTS)[0] > 0


def test_a_document_that_was_not_judged_tells_nothing_of_the_text() -> None:
    assert text_variance([[0.03, 0.01, math.nan, 0.05]], [1, 1, 1, 1]) == (0.0, math.inf)
