"""How well forecasts of a gain do on simulated courses: the weighed kinds of decay beside the plain decay and others.

    python benchmarks/forecasts.py [--courses 1000] [--seed 1]

Courses: constant, power decay, decay to a floor, straight line, late bloomer, sudden end, fast decay; 2 to 5 rungs each
3 times the one below, standard errors .005, .02 or .05 in lnS; the target 3 to 10 times beyond the highest rung.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from transfer.decay import decay_at
from transfer.forecast import DISAGREEMENT, METHODS, Forecast, forecast
from transfer.saving import Saving

Floats = NDArray[np.float64]
Course = Callable[[Floats], Floats]

PROBABILITIES = np.array([0.05, 0.5, 0.95])
KINDS = ("constant", "decay", "floor", "line", "bloomer", "end", "fast decay")


def course(kind: str, rng: np.random.Generator) -> Course:
    """A true lnS over ln(N/N_0)."""
    size = float(rng.choice([-1, 1], p=[0.15, 0.85])) * float(rng.uniform(0.03, 0.4))
    gamma = float(rng.uniform(*{"fast decay": (0.5, 1.5), "bloomer": (-0.2, 0.0)}.get(kind, (0.1, 0.6))))
    if kind == "floor":
        floor = float(rng.uniform(-0.02, 0.05))
        return lambda x: floor + (size - floor) * np.exp(-2 * gamma * x)
    if kind == "line":
        slope = float(rng.uniform(-0.06, 0.02))
        return lambda x: size + slope * x
    if kind == "end":
        where = float(rng.uniform(2, 6))
        return lambda x: size / (1 + np.exp(2 * (x - where)))
    return lambda x: size * np.exp(-(0.0 if kind == "constant" else gamma) * x)


def forecasts(courses: int, seed: int) -> Iterator[tuple[str, float, dict[str, Floats]]]:
    """Kind, true lnS at the target, and quantiles by rule of every course."""
    rng = np.random.default_rng(seed)
    for number in range(courses):
        kind = KINDS[number % len(KINDS)]
        true = course(kind, rng)
        x: Floats = np.arange(int(rng.integers(2, 6)), dtype=np.float64) * math.log(3)
        se = float(rng.choice([0.005, 0.02, 0.05]))
        measured: Floats = np.asarray(true(x) + se * rng.standard_normal(len(x)), dtype=np.float64)
        target = float(x[-1] + math.log(rng.uniform(3, 10)))
        ladder = [Saving("tokens", float(one), se, math.inf, 2) for one in measured]
        made = forecast(np.exp(x), {"arm": ladder}, math.exp(target))["arm"]
        found = {"weighed kinds": _quantiles(made[METHODS.index("decay")])} | {
            one.method: _quantiles(one) for one in made if one.method != "decay"
        }
        found["plain decay, widened"] = _plain(x, measured, se, target, made)
        yield kind, float(true(np.array(target))), found


def _quantiles(one: Forecast) -> Floats:
    return np.array([-math.log1p(-one.saving_low), one.ln_speedup, -math.log1p(-one.saving_high)])


def _plain(x: Floats, measured: Floats, se: float, target: float, made: Sequence[Forecast]) -> Floats:
    precisions = np.full((1, len(x)), 1 / se**2)
    plain = decay_at(x, measured[None], precisions, np.array([target]), False)[1]
    middle = float(plain.quantiles(PROBABILITIES)[0, 1])
    apart = max(abs(one.ln_speedup - middle) for one in made if one.method in ("last", "linear"))
    quantiles: Floats = plain.widened(np.array([(DISAGREEMENT * apart) ** 2])).quantiles(PROBABILITIES)[0]
    return quantiles


def main() -> None:
    """Print mean absolute and root mean square errors in lnS, coverage and width of 90 % intervals, by rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--courses", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    every = list(forecasts(asked.courses, asked.seed))
    table = Table("rule", "mean abs. error", "rms error", "coverage", "worst kind", "width", title="lnS at the target")
    for rule in every[0][2]:
        errors = np.array([found[rule][1] - truth for _, truth, found in every])
        inside = np.array([found[rule][0] <= truth <= found[rule][2] for _, truth, found in every])
        widths = np.array([found[rule][2] - found[rule][0] for _, _, found in every])
        least, worst = min((float(inside[[one[0] == kind for one in every]].mean()), kind) for kind in KINDS)
        table.add_row(
            rule,
            f"{np.abs(errors).mean():.4f}",
            f"{math.sqrt(float(np.mean(errors**2))):.4f}",
            f"{inside.mean():.1%}",
            f"{least:.0%} ({worst})",
            f"{widths.mean():.3f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
