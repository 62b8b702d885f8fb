"""How often the intervals of `scaleproof verdict` hold the truth on tables whose baseline follows a known curve.

    python benchmarks/table_curves.py [--tables 40]

One rung, horizons a factor of 2 apart, nine arms with a constant speed-up. Curves and random streams of SETTLING were
used to choose the walk of the exponents; those of COUNTING are only counted.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.arm_table import arm_table_of
from transfer.bent_line import drop
from transfer.tables.fairness import check_fairness
from transfer.tables.measured import at_rungs

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]

LN_SPEEDUPS = (-0.2, -0.1, 0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7)
SLOPE = 0.15
"""In nats per e-fold of tokens, at the middle horizon of every curve."""
TOKENS = 1e9


def power(b: float) -> Curve:
    """The slope falls as tokens^-b; straight at 0, steepening below."""
    return lambda u: 3 - SLOPE * drop(u, np.full(len(u), b))


def double(b: float, c: float) -> Curve:
    """Two such curves, two thirds and one third of the slope."""
    return lambda u: 3 - SLOPE * (2 / 3 * drop(u, np.full(len(u), b)) + 1 / 3 * drop(u, np.full(len(u), c)))


def transition(u: Floats) -> Floats:
    """A power law that falls by some .06 nats more within a factor of 4 in tokens."""
    return 3 - 2 / 3 * SLOPE * drop(u, np.full(len(u), 0.3)) - 0.03 * np.tanh(1.5 * u)


SETTLING: Mapping[str, Curve] = {"double .1 and 1.5": double(0.1, 1.5), "transition": transition}
COUNTING: Mapping[str, Curve] = {
    "power .05": power(0.05),
    "power .35": power(0.35),
    "power 1.3": power(1.3),
    "straight": power(0.0),
    "steepening -.5": power(-0.5),
    "double .05 and .9": double(0.05, 0.9),
    "double -.5 and .5": double(-0.5, 0.5),
}


class Runs(NamedTuple):
    """A table's horizons and seeds; `sigma` in nats, the correlation of runs of one seed. One seed: none is named."""

    horizons: int
    seeds: int
    sigma: float
    correlation: float


RUNS = tuple(
    Runs(horizons, seeds, sigma, correlation)
    for sigma in (0.002, 0.01)
    for horizons, seeds, correlation in (
        (3, 1, 0.0),
        (3, 2, 0.6),
        (3, 3, 0.0),
        (4, 1, 0.0),
        (4, 3, 0.6),
        (5, 1, 0.0),
        (5, 2, 0.6),
    )
)


class Counts(NamedTuple):
    """Of cells and of rungs: numbers given, and those whose 90 % interval holds the truth; bounds, and true ones."""

    cells: int
    held: int
    bounds: int
    true_bounds: int
    rungs: int
    rungs_held: int

    def __add__(self, other: object) -> "Counts":
        """Add up field by field."""
        assert isinstance(other, Counts)
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


def count(curve: Curve, runs: Runs, tables: int, seed: int) -> Counts:
    """Judge so many tables of one curve."""
    random = np.random.default_rng(seed)
    total = Counts(0, 0, 0, 0, 0, 0)
    for _ in range(tables):
        total += _judged(curve, runs, random)
    return total


def _judged(curve: Curve, runs: Runs, random: np.random.Generator) -> Counts:
    table = arm_table_of(_columns(curve, runs, random))
    measured = at_rungs(table, check_fairness(table).rows, runs.sigma if runs.seeds == 1 else None)
    cells = [(one.savings["tokens"], float(arm)) for arm, of in measured.cells.items() for one in of]
    inside = [one.low <= truth <= one.high for one, truth in cells if one.known]
    beyond = [one.low <= truth <= one.high for one, truth in cells if not one.known]
    whole = [of.savings[0].low <= float(arm) <= of.savings[0].high for arm, of in measured.pooled.items()]
    return Counts(len(inside), sum(inside), len(beyond), sum(beyond), len(whole), sum(whole))


def _columns(curve: Curve, runs: Runs, random: np.random.Generator) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in ("arm", "params", "tokens", "loss", "seed")}
    tokens = TOKENS * 2.0 ** np.arange(runs.horizons)
    u = np.log(tokens / tokens[runs.horizons // 2])
    shape = (runs.horizons, runs.seeds)
    shared = np.sqrt(runs.correlation) * random.standard_normal(shape)
    for arm, ln_speedup in [("baseline", 0.0), *((str(one), one) for one in LN_SPEEDUPS)]:
        noise = runs.sigma * (shared + np.sqrt(1 - runs.correlation) * random.standard_normal(shape))
        losses = curve(u + ln_speedup)[:, None] + noise
        columns["arm"] += [arm] * losses.size
        columns["params"] += [1e8] * losses.size
        columns["tokens"] += np.repeat(tokens, runs.seeds).tolist()
        columns["loss"] += losses.ravel().tolist()
        columns["seed"] += list(range(runs.seeds)) * runs.horizons
    if runs.seeds == 1:
        del columns["seed"]
    return columns


def main() -> None:
    """Print a line per curve and noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=20)
    tables = parser.parse_args().tables
    for settled, curves, seed in ((True, SETTLING, 1), (False, COUNTING, 2)):
        for name, curve in curves.items():
            for sigma in (0.002, 0.01):
                found = [count(curve, one, tables, seed) for one in RUNS if one.sigma == sigma]
                total, shares = Counts(0, 0, 0, 0, 0, 0), [one.held / one.cells for one in found]
                for one in found:
                    total += one
                said = f"{total.true_bounds / total.bounds:.0%} of {total.bounds}" if total.bounds else "-"
                print(
                    f"{name:20} {'settled on' if settled else 'counted':10} sigma {sigma}: cells "
                    f"{total.held / total.cells:.1%} (least {min(shares):.1%}), rungs "
                    f"{total.rungs_held / total.rungs:.1%}, bounds true {said}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
