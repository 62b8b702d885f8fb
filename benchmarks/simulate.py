"""How often do the ladder's rules err on ladders whose truth is known, and how long does it take to find out?

Simulates and judges 2,000 ladders in each world of the stated mix, once as the world has them and once with the pairs
that would be planned for each finding, prints a line per world and the figures beside what they must reach, and times
2,000 ladders of one world. With --worlds curves (losses that are no power law of tokens, shorter horizons tuned worse
or better) or clocks (timings that share a disturbance or scatter unlike), the ladders are as those worlds have them
alone, and how well the pairs are planned is not asked. Exit status 1 when a figure is missed.
Run: .venv/bin/python benchmarks/simulate.py [--worlds mix|curves|clocks] [--ladders 2000] [--workers 2] [--markdown]
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from transfer.simulation.error_rates import ErrorRates, WorldRates, error_rates
from transfer.simulation.mix import CLOCKS, CURVES, MIX, UNTUNED

WORLDS = {"mix": (*MIX, *UNTUNED), "curves": CURVES, "clocks": CLOCKS}
MOST_SECONDS = 60
HEADINGS = ("world", "coverage", "lowest", "where", "wrong claims", "right", "right, planned", "A/A frozen", "fragile")


def main() -> None:
    """Print the table, the figures and the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", choices=WORLDS, default="mix")
    parser.add_argument("--ladders", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--markdown", action="store_true")
    chosen = parser.parse_args()
    started = time.perf_counter()
    mixed = chosen.worlds == "mix"
    rates = error_rates(
        WORLDS[chosen.worlds],
        ladders=chosen.ladders,
        planned=mixed,
        workers=chosen.workers,
        say=lambda line: print(line, file=sys.stderr),
    )
    seconds = time.perf_counter() - started
    lines = [line_of(world) for world in rates.worlds if world.tuned]
    if chosen.markdown:
        print("\n".join("| " + " | ".join(line) + " |" for line in (HEADINGS, ["---"] * len(HEADINGS), *lines)))
    else:
        table = Table(*HEADINGS)
        for line in lines:
            table.add_row(*line)
        Console(width=160).print(table)
    for name, words in rates.unequal_tuning.items():
        print(f"{name}: {', '.join(f'{word} {share:.0%}' for word, share in words.items() if share >= 0.005)}")
    print(f"all worlds, {rates.ladders:,} ladders each{', twice' if mixed else ''}: {seconds:.0f} s")
    reached = figures(rates)
    if mixed:
        reached.append(one_world(chosen.ladders, chosen.workers))
    for text, good in reached:
        print(f"{'reached' if good else 'MISSED '}  {text}")
    sys.exit(0 if all(good for _, good in reached) else 1)


def line_of(world: WorldRates) -> list[str]:
    """The cells of one world."""
    shares = (world.wrong_claims, world.right, world.planned_right, world.aa_frozen, world.fragile)
    rates = ["-" if share is None else f"{share:.1%}" for share in shares]
    return [world.name, f"{world.coverage:.1%}", f"{world.worst_coverage:.1%}", world.worst_at, *rates]


def figures(rates: ErrorRates) -> list[tuple[str, bool]]:
    """Each figure with what it must reach, and whether it does."""
    claims, worst_claims = rates.wrong_claims or 0.0, rates.worst_wrong_claims or 0.0
    reached = [
        (f"90 % intervals cover {rates.coverage:.1%} on average (87 to 93 %)", 0.87 <= rates.coverage <= 0.93),
        (
            f"nowhere less than 85 %: {rates.worst_coverage:.1%} ({rates.worst_coverage_at})",
            rates.worst_coverage >= 0.85,
        ),
        (
            f"gone gains called transfers, gains or grows {claims:.2%}, at worst {worst_claims:.2%} "
            f"({rates.worst_wrong_claims_at}); shrinks too {rates.wrong_gains or 0.0:.2%} (at most 5 %)",
            claims <= 0.05,
        ),
        (
            f"A/A rungs frozen wrongly {rates.aa_frozen:.2%}, at worst {rates.worst_aa_frozen:.2%} (at most 2 %)",
            rates.aa_frozen <= 0.02,
        ),
        (
            f"gains too small to be worth having, called transfers, gains or grows: "
            f"{rates.apart_claimed or 0.0:.1%} (counted apart)",
            True,
        ),
    ]
    if rates.planned_right is not None:
        worst = f"at worst {rates.worst_planned_right or 0.0:.1%} ({rates.worst_planned_right_at})"
        said = f"right word with the planned pairs {rates.planned_right:.1%}, {worst} (at least 80 %)"
        reached.append((said, rates.planned_right >= 0.8))
    return reached


def one_world(ladders: int, workers: int) -> tuple[str, bool]:
    """Seconds for the ladders of one world: slopes, savings, A/A and words of eight findings and a stack."""
    started = time.perf_counter()
    error_rates([MIX[15]], ladders=ladders, planned=False, workers=workers)
    seconds = time.perf_counter() - started
    return (
        f"{ladders:,} ladders of nine arms in {seconds:.1f} s (2,000 in less than {MOST_SECONDS} s)",
        seconds < MOST_SECONDS,
    )


if __name__ == "__main__":
    main()
