"""How long does a verdict on a table of 10,000 rows take, from the shell and back?

    python benchmarks/verdict.py [--rows 10000] [--rounds 5]

A made-up table: 50 arms at 5 sizes, 4 horizons and as many seeds as the rows allow. Fastest round of the whole command,
the interpreter's start included, with the CPU seconds of its process; on the axes tokens and seconds.
"""

import argparse
import csv
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ARMS, SIZES, RATIOS = 50, (1e8, 3e8, 9e8, 2.7e9, 8.1e9), (10, 20, 40, 80)
SIGMA = 0.001
SCALEPROOF = Path(sys.executable).with_name("scaleproof")


def write_table(path: Path, rows: int) -> int:
    """Write the table; returns its rows."""
    rng = np.random.default_rng(0)
    seeds = max(rows // (ARMS * len(SIZES) * len(RATIOS)), 1)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["arm", "params", "tokens", "loss", "seed", "seconds_per_token"])
        for arm in range(ARMS):
            for params in SIZES:
                for tokens in (params * ratio for ratio in RATIOS):
                    for seed in range(seeds):
                        gain = float(np.exp(0.1 * arm / ARMS))
                        loss = 1.8 + 400 * params**-0.34 + 2000 * (tokens * gain) ** -0.37 + SIGMA * rng.normal()
                        seconds = 1e-6 * (1 + 0.01 * rng.normal())
                        table.writerow(["baseline" if arm == 0 else f"arm{arm}", params, tokens, loss, seed, seconds])
    return ARMS * len(SIZES) * len(RATIOS) * seeds


def fastest(call: list[str], rounds: int) -> tuple[float, float]:
    """Seconds on the wall and of the CPU, of the fastest of some rounds."""
    best = (float("inf"), float("inf"))
    for _ in range(rounds):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best, (time.perf_counter() - began, cpu))
    return best


def main() -> None:
    """Print both lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.csv"
        rows = write_table(table, asked.rows)
        for axis in ("tokens", "seconds"):
            wall, cpu = fastest([str(SCALEPROOF), "verdict", str(table), "--axis", axis, "--json"], asked.rounds)
            print(f"verdict on {rows:,} rows, axis {axis}: {wall:.2f} s, {cpu:.2f} s of CPU")


if __name__ == "__main__":
    main()
