"""What the sandbox costs: a cell's start, and a whole run with and without it, in turn.

Run: .venv/bin/python benchmarks/sandbox.py [--runs 20]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from tiny import BASELINE, Bench, ladder, make_bench, rung

from scaling.executor import TRUSTED_WORKER, LocalExecutor, run_all, warm_up
from scaling.ladder import Ladder
from search.sandbox.cell import Cell
from search.sandbox.limits import Limits, SandboxSettings
from search.trust import SANDBOXED_WORKER


def main() -> None:
    """Print one row per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    import torch

    torch.set_num_threads(1)
    limits = SandboxSettings().limits
    starts = sorted(start_seconds(limits) for _ in range(2 * runs))
    with tempfile.TemporaryDirectory() as folder:
        plain, sandboxed = whole_runs(make_bench(Path(folder)), runs)
    added = [inside - outside for outside, inside in zip(plain, sandboxed, strict=True)]
    print("| figure | median | 90 % |")
    print(row("a cell's start, ms: bubblewrap, fork with torch loaded, entering", starts))
    print(row("a run of 60 steps, plain, ms", plain))
    print(row("the same in the sandbox, ms", sandboxed))
    print(row("what the sandbox adds to a run, ms (three cells, feeding, outside evaluation, probes)", added))


def start_seconds(limits: Limits) -> float:
    """From nothing to the first word of an inmate."""
    began = time.perf_counter()
    with Cell([], limits) as cell:
        channel = cell.run(lambda own: own.sendall(b"x"))
        assert channel.recv(1) == b"x"
        return time.perf_counter() - began


def whole_runs(bench: Bench, runs: int) -> tuple[list[float], list[float]]:
    """Seconds of runs as the one who ordered them sees it, plain and sandboxed in turn on fresh seeds."""
    rungs = ladder(rung())
    warm_up(SANDBOXED_WORKER)
    workers = (TRUSTED_WORKER, SANDBOXED_WORKER)
    seconds: dict[str, list[float]] = {worker: [] for worker in workers}
    for number in range(-1, runs):  # the first of each fills caches
        for worker in workers if number % 2 else workers[::-1]:
            took = one_run(bench, rungs, worker, seed=1000 + 2 * number + workers.index(worker))
            if number >= 0:
                seconds[worker].append(took)
    return seconds[TRUSTED_WORKER], seconds[SANDBOXED_WORKER]


def one_run(bench: Bench, rungs: Ladder, worker: str, seed: int) -> float:
    """Seconds from the order to the end of one run."""
    spec = bench.spec(BASELINE, rungs, seed=seed)
    executor = LocalExecutor(bench.study.path, rungs, workers=1, worker=worker)
    began = time.perf_counter()
    (ended,) = run_all(executor, [spec])
    assert ended.error is None, ended.error
    return time.perf_counter() - began


def row(name: str, seconds: list[float]) -> str:
    """Median and 90th percentile in milliseconds."""
    return f"| {name} | {1e3 * statistics.median(seconds):.0f} | {1e3 * sorted(seconds)[int(0.9 * len(seconds))]:.0f} |"


if __name__ == "__main__":
    main()
