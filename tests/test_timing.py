"""Two arms are timed on steps that stand for the whole schedule, by a clock that a busy machine hardly moves."""

import dataclasses
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from cells import needs_bubblewrap
from tiny import BASELINE, Bench, ladder, rung

from data.store import Store
from scaling import machine, timing
from scaling.edits import Recipe
from scaling.runs import Setting, TimingSpec
from scaling.timing import Block, Lap, interleaved
from search.sandbox import timed

ARM, BASE = 0, 1


def turns(steps: int, seed: int) -> list[tuple[int, list[int]]]:
    """Whose turn it is, and the steps that it takes, in their order."""
    taken: list[tuple[int, list[int]]] = []

    def turn(who: int, indices: Sequence[int]) -> Lap:
        taken.append((who, list(indices)))
        return Lap(1.0, 1.0)

    interleaved(turn, steps, seed)
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

    def slowing(who: int, indices: Sequence[int]) -> Lap:
        # A machine that takes longer each time, whoever's turn it is.
        took = float(next(clock)) if len(indices) == 3 else 0.0
        return Lap(took, took)

    arm, baseline = interleaved(slowing, 100, 1)
    assert arm == baseline


def share_of_the_full_cost(switch: float, seed: int) -> float:
    """What a curriculum is said to cost, whose steps take a quarter before this share of the schedule."""

    def turn(who: int, indices: Sequence[int]) -> Lap:
        took = sum(0.25 if who == ARM and index < switch * 1000 else 1.0 for index in indices)
        return Lap(took, 2 * took)

    arm, baseline = interleaved(turn, 1000, seed)
    return arm.own / baseline.own


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
    row = timed_row(bench, spec)
    assert row["reason"] is None
    assert row["seconds_per_token"] > 0 < row["baseline_seconds_per_token"]


def timed_row(bench: Bench, spec: TimingSpec) -> dict[str, Any]:
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": spec.run_id})
    return row


def test_blocks_are_timings_of_their_own_at_places_of_their_own(bench: Bench) -> None:
    first = bench.timing(BASELINE, BASELINE)
    second = dataclasses.replace(first, block=1)
    assert len({first.run_id, second.run_id}) == 2
    assert second.columns() == first.columns() | {"block": 1}
    taken: list[set[int]] = []
    for spec in (first, second):
        steps: set[int] = set()

        def turn(who: int, indices: Sequence[int], steps: set[int] = steps) -> Lap:
            steps.update(indices)
            return Lap(1.0, 1.0)

        timing.timed_block(dataclasses.replace(spec, setting=long_setting(spec)), "cpu", turn, time.process_time)
        taken.append(steps)
    assert taken[0] != taken[1]


def long_setting(spec: TimingSpec) -> Setting:
    return dataclasses.replace(spec.setting, ladder=ladder(rung(tokens=64 * 1000)))


WIDE = ladder(rung(depth=2, width=64, context=64, batch_size=6, tokens=384 * 100))
"""Steps of some 5 ms."""


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute all the time until the block is left."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


@pytest.mark.parametrize("time_pair", [timing.time_pair, pytest.param(timed.time_pair, marks=needs_bubblewrap)])
def test_beside_busy_processes_the_ratio_holds(bench: Bench, time_pair: Callable[..., None]) -> None:
    base = bench.timing(BASELINE, BASELINE, WIDE)
    blocks = [dataclasses.replace(base, block=10 * (time_pair is timed.time_pair) + block) for block in range(3)]
    cores = psutil.cpu_count() or 1
    with busy_processes(cores):
        for spec in blocks:
            time_pair(bench.study.path, spec)
    rows = [timed_row(bench, spec) for spec in blocks]
    for spec, row in zip(blocks, rows, strict=True):
        assert (row["clock"], row["block"], row["reason"], row["state"]) == ("cpu", spec.block, None, None)
        assert row["started_at"] < row["ended_at"] < row["started_at"] + 60
        assert row["ln_ratio"] == pytest.approx(math.log(row["seconds_per_token"] / row["baseline_seconds_per_token"]))
        assert row["ln_wall_ratio"] == pytest.approx(
            math.log(row["wall_seconds_per_token"] / row["baseline_wall_seconds_per_token"])
        )
    # One core is shared by two processes at least, so that the wall clock runs on while others compute. Two cells may
    # run on cores of which one is busier.
    assert abs(statistics.median(row["ln_ratio"] for row in rows)) < (0.08 if time_pair is timing.time_pair else 0.15)
    assert statistics.median(row["wall_seconds_per_token"] / row["seconds_per_token"] for row in rows) > 1.15
    assert statistics.median(row["load"] for row in rows) > 0.25


def test_an_arm_that_takes_longer_is_timed_so_by_both_clocks(bench: Bench) -> None:
    deep = Recipe(BASELINE.source.replace("for _ in range(rung.depth)", "for _ in range(3 * rung.depth)"))
    spec = bench.timing(deep, BASELINE, WIDE)
    timing.time_pair(bench.study.path, spec)
    row = timed_row(bench, spec)
    assert row["ln_ratio"] > math.log(1.5)
    assert row["ln_wall_ratio"] > math.log(1.2)


def test_where_a_clock_tells_nothing_the_wall_clock_counts() -> None:
    for own in (math.nan, 0.0):
        block = Block("cpu", Lap(own, 3.0), Lap(1.0, 2.0), math.nan, 10.0, 11.0)
        row = block.columns(batch_tokens=4)
        assert (row["clock"], row["seconds_per_token"], row["load"]) == ("wall", 0.75, None)
        assert row["ln_ratio"] == row["ln_wall_ratio"] == math.log(1.5)


def test_a_recipe_that_breaks_has_a_reason_and_no_numbers(bench: Bench) -> None:
    no_model = Recipe(BASELINE.source + "\n\ndef build_model(rung, knobs, vocab_size):\n    return None\n")
    spec = bench.timing(no_model, BASELINE)
    timing.time_pair(bench.study.path, spec)
    row = timed_row(bench, spec)
    assert "torch module" in row["reason"]
    assert row["ln_ratio"] is row["clock"] is row["load"] is None


def test_the_state_of_a_gpu_is_kept_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpu_state() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 1980 MHz, 2619 MHz, 0x0000000000000004, 61, 412.5 W'\n")
    tool.chmod(0o755)
    state = json.loads(machine.gpu_state() or "")
    assert (state["name"], state["clocks_throttle_reasons.active"]) == ("NVIDIA H100", "0x0000000000000004")
    tool.write_text("#!/bin/sh\necho 'No devices were found'\n")
    assert machine.gpu_state() is None
