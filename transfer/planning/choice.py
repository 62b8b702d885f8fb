"""The plans that are worth a forecast, out of all that the settings allow, and the tightest of them at a budget.

Which plans are kept hangs on cheaper ones alone, never on the budget, so that a larger budget can only do better.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.planning.ladders import Effort, Ladders, efforts, ladders
from transfer.planning.score import Expectation, Measured, expect, quick_width
from transfer.planning.world import Floats, RecommenderSettings

TIGHTER = 0.99  # a dearer plan on the same rungs is kept where it is at least so much tighter


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan: params (R,) of its rungs, the efforts below the top and there, FLOPs of all runs, what rungs will say."""

    params: tuple[float, ...]
    below: Effort
    top: Effort
    flops: float
    said: tuple[Measured, ...]


class Choice:
    """The plans that are worth a forecast: `flops` (kept,), rising, and `quick` (kept,), their rough widths in lnS."""

    def __init__(self, settings: RecommenderSettings) -> None:
        """Score all plans quickly and keep those that no cheaper one outdoes."""
        self.settings, self._efforts, self._params = settings, efforts(settings), settings.size_choices
        self._ladders = list(ladders(settings, self._efforts))
        places = [(i, row) for i, one in enumerate(self._ladders) for row in range(len(one.flops))]
        flops = np.concatenate([one.flops for one in self._ladders])
        widths = np.concatenate([self._quick(one) for one in self._ladders])
        kept = list(_kept(flops, widths, [ladder for ladder, _ in places]))
        self.candidates = len(places)
        self.flops, self.quick = flops[kept], widths[kept]
        self._places = [places[i] for i in kept]
        self._expected: dict[int, Expectation] = {}

    def best(self, budget: float, many: int, *, looks: int) -> list[int]:
        """The `many` tightest plans within the budget, no two on the same rungs; empty where it buys none.

        On each set of rungs the quick width picks the plan; the `looks` tightest of those are then forecast.
        """
        within = int(np.searchsorted(self.flops, budget, side="right"))
        order = self._one_a_ladder(np.argsort(self.quick[:within], kind="stable").tolist())
        # What a smaller budget was found to buy is a choice here too, whatever its quick width.
        known = [i for i in self._expected if i < within]
        tightest = sorted({*order[:looks], *known}, key=lambda i: (self.expected(i).width, i))
        return self._one_a_ladder(tightest)[:many]

    def least_to_tell(self) -> float | None:
        """FLOPs of the cheapest plan found whose expected interval at the target lies above 0.

        By bisection over the plans that are tighter than all cheaper ones; None where not even the last tells.
        """
        steps = np.flatnonzero(self.quick <= np.minimum.accumulate(self.quick)).tolist()
        low, high = 0, len(steps) - 1
        if self._tells(steps[high]):
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self._tells(steps[middle]) else (middle + 1, high)
        telling = [i for i in self._expected if self._tells(i)]
        return min((float(self.flops[i]) for i in telling), default=None)

    def expected(self, kept: int) -> Expectation:
        """What the forecast at the target would say."""
        if kept not in self._expected:
            chosen, settings = self.chosen(kept), self.settings
            drift = settings.drift(chosen.top.tokens_per_param)
            self._expected[kept] = expect(
                chosen.params, chosen.said, target=settings.target_params, axis=settings.axis, drift=drift
            )
        return self._expected[kept]

    def _tells(self, kept: int) -> bool:
        return self.expected(kept).ln_speedup_low > 0

    def chosen(self, kept: int) -> Chosen:
        """The plan itself."""
        ladder, row = self._places[kept]
        one = self._ladders[ladder]
        below, top = (self._efforts[i] for i in one.plans[row])
        columns = zip(*(column[row].tolist() for column in (one.ln_speedups, one.errors, one.dofs)), strict=True)
        params = tuple(self._params[list(one.sizes)].tolist())
        return Chosen(params, below, top, float(one.flops[row]), tuple(Measured(*column) for column in columns))

    def _one_a_ladder(self, kept: Sequence[int]) -> list[int]:
        """The first of each set of rungs."""
        firsts: dict[int, int] = {}
        for i in kept:
            firsts.setdefault(self._places[i][0], i)
        return list(firsts.values())

    def _quick(self, one: Ladders) -> Floats:
        target = self.settings.target_params
        params = self._params[list(one.sizes)]
        drifts = np.array([self.settings.drift(self._efforts[below].tokens_per_param) for below, _ in one.plans])
        return quick_width(params, one.ln_speedups, one.errors, one.dofs, target=target, drifts=drifts)


def _kept(flops: Floats, widths: Floats, of_ladder: Sequence[int]) -> Iterator[int]:
    """Indices of the plans worth a look, cheapest first: on the same rungs a dearer plan must be tighter."""
    order: NDArray[np.intp] = np.lexsort((widths, flops))
    least: dict[int, float] = {}
    for i in order.tolist():
        if widths[i] <= TIGHTER * least.get(of_ladder[i], np.inf):
            least[of_ladder[i]] = float(widths[i])
            yield i
