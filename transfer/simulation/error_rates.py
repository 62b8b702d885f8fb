"""How often the ladder's rules err where the truth is known: coverage, wrong claims, right words, false A/A alarms.

Whole ladders are simulated and judged by the very functions that a study uses. Findings whose true gain at the top is
neither nothing nor worth having are counted apart, as are worlds whose baseline was tuned less than the arms.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from data.errors import InputError
from transfer.simulation.counts import BLOCK, Tally, count_block, planned_pairs
from transfer.simulation.mix import MIX, UNTUNED
from transfer.simulation.rates import ArmRates, ErrorRates, WorldRates, overall, world_rates
from transfer.simulation.worlds import LadderWorld

__all__ = ["LADDERS", "MIX", "UNTUNED", "ArmRates", "ErrorRates", "LadderWorld", "WorldRates", "error_rates"]

LADDERS = 2000

Answer = Callable[[], Tally]
Submit = Callable[[LadderWorld, Mapping[str, int] | None, int, int], Answer]


def error_rates(
    worlds: Sequence[LadderWorld] = (*MIX, *UNTUNED),
    *,
    ladders: int | None = None,
    planned: bool = True,
    workers: int | None = None,
    say: Callable[[str], None] | None = None,
) -> ErrorRates:
    """Simulate and judge `ladders` ladders a world (a world's own number, else 2,000), and count how the rules err.

    With `planned`, each finding is tried again with the pairs that would be planned for it. `workers` processes share
    the work (all cores by default); the answer does not depend on them. `say` is told of each world that is done.
    Raises InputError without a world, with a number below 1, or where two worlds share a name.
    """
    if not worlds or len({world.name for world in worlds}) < len(worlds):
        raise InputError("Simulated ladders need one world or more, each with a name of its own.")
    if (ladders is not None and ladders < 1) or (workers is not None and workers < 1):
        raise InputError("The numbers of ladders and of workers must be 1 or more.")
    with _pool(workers or os.cpu_count() or 1) as submit:
        jobs = [_Job.start(world, ladders or world.ladders or LADDERS, planned, submit) for world in worlds]
        found = []
        for job in jobs:
            found.append(job.rates())
            if say is not None:
                say(f"{job.world.name}: {found[-1].ladders:,} ladders")
    return overall(found, max(world.ladders for world in found))


@contextmanager
def _pool(workers: int) -> Iterator[Submit]:
    if workers == 1:
        yield lambda *block: partial(count_block, *block)
        return
    # A fresh interpreter per worker: whoever calls may run threads, which a fork would break.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield lambda *block: pool.submit(count_block, *block).result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True, slots=True)
class _Job:
    """A world's blocks of ladders: as it is, and again with the pairs that are planned for each finding."""

    world: LadderWorld
    pairs: dict[str, int]
    plain: list[Answer]
    planned: list[Answer]

    @classmethod
    def start(cls, world: LadderWorld, ladders: int, planned: bool, submit: Submit) -> _Job:
        sizes = [min(BLOCK, ladders - first) for first in range(0, ladders, BLOCK)]
        wanted = (
            {name: planned_pairs(world, name) for name in world.gains} if planned and not any(world.untuned) else {}
        )
        pairs = {name: count for name, count in wanted.items() if count is not None}
        plain = [submit(world, None, i, size) for i, size in enumerate(sizes)]
        again = [submit(world, pairs, i, size) for i, size in enumerate(sizes)] if pairs else []
        return cls(world, pairs, plain, again)

    def rates(self) -> WorldRates:
        rungs = len(self.world.params)
        plain, planned = Tally.empty(len(self.world.truths), rungs), Tally.empty(len(self.pairs), rungs)
        for answer in self.plain:
            plain += answer()
        for answer in self.planned:
            planned += answer()
        return world_rates(self.world, plain, planned, self.pairs)
