"""Two arms are timed on steps that stand for the whole schedule."""

from collections.abc import Callable, Sequence

import pytest
from cells import needs_bubblewrap
from tiny import BASELINE, Bench, ladder, rung

from data.store import Store
from scaling import timing
from scaling.edits import Recipe
from scaling.timing import interleaved
from search.sandbox import timed

ARM, BASE = 0, 1


def turns(steps: int, seed: int) -> list[tuple[int, list[int]]]:
    """Whose turn it is, and the steps that it takes, in their order."""
    taken: list[tuple[int, list[int]]] = []

    def block(who: int, indices: Sequence[int]) -> float:
        taken.append((who, list(indices)))
        return 1.0

    interleaved(block, steps, seed)
    return taken


@pytest.mark.parametrize("steps", [1, 3, 10, 30, 60, 5000])
def test_both_take_the_same_steps_from_the_first_to_the_last_and_never_go_back(steps: int) -> None:
    for seed in range(4_001, 4_009):
        taken = turns(steps, seed)
        arm, baseline = ([step for one, indices in taken if one == who for step in indices] for who in (ARM, BASE))
        assert arm == baseline == sorted(arm)
        assert 0 <= arm[0] <= arm[-1] < steps
        assert {8 * step // steps for step in arm} >= set(range(8 if steps >= 30 else 1))


def test_their_turns_are_short_and_a_drift_cancels() -> None:
    order = [who for who, indices in turns(100, 1) if len(indices) == 3][2:]
    assert order == [ARM, BASE, BASE, ARM] * 4
    clock = iter(range(1000))

    def slowing(who: int, indices: Sequence[int]) -> float:
        # A machine that takes longer each time, whoever's turn it is.
        return float(next(clock)) if len(indices) == 3 else 0.0

    arm, baseline = interleaved(slowing, 100, 1)
    assert arm == baseline


def share_of_the_full_cost(switch: float, seed: int) -> float:
    """What a curriculum is said to cost, whose steps take a quarter before this share of the schedule."""

    def block(who: int, indices: Sequence[int]) -> float:
        return sum(0.25 if who == ARM and index < switch * 1000 else 1.0 for index in indices)

    arm, baseline = interleaved(block, 1000, seed)
    return arm / baseline


def test_a_curriculum_costs_what_it_costs_over_the_whole_schedule() -> None:
    assert share_of_the_full_cost(0.5, 1) == pytest.approx(0.625, abs=0.05)
    for switch in (0.1, 0.3, 0.45, 0.8):
        seeds = range(14_001, 14_009)
        mean = sum(share_of_the_full_cost(switch, seed) for seed in seeds) / len(seeds)
        assert mean == pytest.approx(1 - 0.75 * switch, abs=0.02), "no place of the schedule is favoured"


NEVER_BACK = Recipe(
    BASELINE.source
    + """

LATEST = [0.0]
_schedule = schedule


def schedule(progress, knobs):
    if progress < LATEST[0]:
        raise ValueError("so this is a timing")
    LATEST[0] = progress
    return _schedule(progress, knobs)
"""
)


@pytest.mark.parametrize("time_pair", [timing.time_pair, pytest.param(timed.time_pair, marks=needs_bubblewrap)])
def test_progress_does_not_tell_a_recipe_that_it_is_timed(bench: Bench, time_pair: Callable[..., None]) -> None:
    steps = 30 if time_pair is timing.time_pair else 600
    spec = bench.timing(NEVER_BACK, BASELINE, ladder(rung(tokens=64 * steps)))
    time_pair(bench.study.path, spec)
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": spec.run_id})
    assert row["reason"] is None
    assert row["seconds_per_token"] > 0 < row["baseline_seconds_per_token"]
