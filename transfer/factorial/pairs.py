"""What a fold-over plan tells of pairs of findings: their interactions, in strings of those that look alike (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Mirrors:
    """The mirrored rows of a plan: `average` (h, runs) is the mean over the runs of each row and its mirror image.

    `signs` (h, findings) are those of one row of each two; what is even in them is the same for both.
    """

    average: Array
    signs: Array


@dataclass(frozen=True, slots=True, eq=False)
class PairStrings:
    """Sums of pairwise interactions that a plan can tell, each with its 90 % interval, in lnS.

    The interaction of a pair is what both together save beyond what each saves alone, with half of the others on.
    String i is the sum over `pairs` (k,) of `aliases[i]` (k,) times the pair's interaction: `ln_speedups`, `low` and
    `high` are (strings,). A row with a single 1 tells its pair alone.
    """

    pairs: tuple[tuple[str, str], ...]
    aliases: Array
    ln_speedups: Array
    low: Array
    high: Array

    def text(self, string: int, most: int = 4) -> str:
        """A string in words, as in 'a x b - c x d', at most so many of its pairs, the weightiest first."""
        weights = self.aliases[string]
        order = [i for i in np.argsort(-np.abs(weights), kind="stable").tolist() if abs(weights[i]) > TINY]
        said = ""
        for i in order[:most]:
            weight = float(weights[i])
            size = "" if abs(abs(weight) - 1) < TINY else f"{abs(weight):.2g} "
            joint = (" + " if weight > 0 else " - ") if said else ("" if weight > 0 else "-")
            said += f"{joint}{size}{self.pairs[i][0]} x {self.pairs[i][1]}"
        return said + (f" and {len(order) - most} more" if len(order) > most else "")


def mirrors(signs: Array) -> Mirrors | None:
    """The mirrored rows of a plan (runs, findings) of 1 and -1; None unless each row has a mirror, run as often."""
    runs: dict[tuple[float, ...], list[int]] = {}
    for number, row in enumerate(signs.tolist()):
        runs.setdefault(tuple(row), []).append(number)
    average, kept = [], []
    done: set[tuple[float, ...]] = set()
    for row, here in runs.items():
        image = tuple(-sign for sign in row)
        there = runs.get(image, [])
        if len(there) != len(here):
            return None
        if image not in done:
            done.add(row)
            weights = np.zeros(len(signs))
            weights[here + there] = 1 / (2 * len(here))
            average.append(weights)
            kept.append(row)
    return Mirrors(np.array(average), np.array(kept))


def pair_contrasts(found: Mirrors, names: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], Array, Array]:
    """Pairs of `names` (k,), weights (strings, runs) that make strings of lnS per run, and aliases (strings, k).

    The even part of lnS holds (interaction/4) s_a s_b. Products that are equal up to their sign make one string; one
    that is the same in all rows cannot be told from the mean, and makes none. Where there are rows enough the even part
    is regressed on all products at once; else on each alone, which then sees every other that is correlated with it
    over the rows (the alias matrix of Box and Wilson 1951).
    """
    pairs = tuple(combinations(names, 2))
    first, second = np.triu_indices(len(names), 1)
    products = found.signs[:, first] * found.signs[:, second]
    centred = products - products.mean(0)
    squares = (centred**2).sum(0)
    told = np.flatnonzero(squares > TINY)
    if not len(told):
        return pairs, np.zeros((0, found.average.shape[1])), np.zeros((0, len(pairs)))
    # The first row's sign is made positive, so that products that differ in nothing else become the same.
    turned = products[:, told] * products[0, told]
    _, kept = np.unique(turned, axis=1, return_index=True)
    chosen = told[np.sort(kept)]
    together = np.linalg.matrix_rank(centred[:, chosen]) == len(chosen)
    slopes = np.linalg.pinv(centred[:, chosen]) if together else (centred[:, chosen] / squares[chosen]).T
    aliases = slopes @ centred
    aliases[np.abs(aliases) < TINY] = 0.0
    return pairs, 4 * slopes @ found.average, aliases
