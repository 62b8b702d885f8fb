"""Copies of sequences that begin alike and go on differently: what a model must say the same of, up to a cut."""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import Tensor, empty_like

NEAR_POSITIONS = 8
"""Compared just before the cut: who looks k tokens ahead sees the change from the last k positions."""
FAR_POSITIONS = 8
"""Compared anywhere before: who looks at the whole sequence sees it from all."""

DONORS = 8
"""How many sequences are looked at for one that goes on with another token."""

DISPLACEMENTS = 100
"""How often an order is drawn for one in which all rows are other ones; about one in three is."""


@dataclass(frozen=True, slots=True)
class Splice:
    """Row `row` of copy batch `batch` begins like true sequence `true`, and is another one after a cut.

    positions: those before the cut at which the two must agree.
    """

    true: int
    batch: int
    row: int
    positions: tuple[int, ...]


class Splicer:
    """Draws copies of int64 `ids` (count, context) in batches of `size`; nobody but its owner may know what is one."""

    def __init__(self, ids: Tensor, size: int) -> None:
        """Draw by chance that nobody can repeat."""
        self._ids, self._size = ids, size
        self._choose = random.SystemRandom()

    def copies(self, count: int) -> tuple[list[Tensor], list[Splice]]:
        """Batches of spliced copies, each row of another true sequence while there are any."""
        order = list(range(len(self._ids)))
        self._choose.shuffle(order)
        cuts = self._cuts(count * self._size)
        batches, splices = [], []
        for batch in range(count):
            true = [order[(batch * self._size + row) % len(order)] for row in range(self._size)]
            self._displace(true)
            ids = self._ids[true]
            for row in range(self._size):
                cut = cuts.pop()
                ids[row, cut:] = self.others(ids[row : row + 1, cut:])[0]
                splices.append(Splice(true[row], batch, row, self._positions(cut)))
            batches.append(ids)
        return batches, splices

    def repeated(self, true: range, batch: int) -> list[Splice]:
        """Copies of true sequences in which nothing is changed: copy batch `batch`."""
        return [Splice(one, batch, row, self._positions(self._ids.shape[1])) for row, one in enumerate(true)]

    def spliced(self, rows: int) -> Tensor:
        """So many copies of sequences drawn at random."""
        ids = self._ids[[self._choose.randrange(len(self._ids)) for _ in range(rows)]]
        for row, cut in enumerate(self._cuts(rows)):
            ids[row, cut:] = self.others(ids[row : row + 1, cut:])[0]
        return ids

    def others(self, ends: Tensor) -> Tensor:
        """Other text for the ends (rows, length) of sequences, taken from other sequences, other from its start on."""
        length = ends.shape[1]
        if not length:
            return ends
        found = empty_like(ends)
        for row, end in enumerate(ends):
            donors = [self._ids[self._choose.randrange(len(self._ids))] for _ in range(DONORS)]
            tails = [donor[len(donor) - length :] for donor in donors]
            best = max(tails, key=lambda tail: (int(tail[0] != end[0]), int((tail != end).sum())))
            found[row] = best if best[0] != end[0] else best.roll(1)
        return found

    def _displace(self, true: list[int]) -> None:
        """Order a copy batch's sequences so that, where that can be, none stands in the row where it was or will be."""
        for _ in range(DISPLACEMENTS):
            if all(place % self._size != row for row, place in enumerate(true)):
                return
            self._choose.shuffle(true)

    def _cuts(self, count: int) -> list[int]:
        """Cuts in a random order, spread evenly: all positions come last before a cut as often as they can alike."""
        places = max(1, self._ids.shape[1] - 1)
        cuts = [1 + self._choose.randrange(k * places, (k + 1) * places) // count for k in range(count)]
        self._choose.shuffle(cuts)
        return cuts

    def _positions(self, cut: int) -> tuple[int, ...]:
        near = range(max(0, cut - NEAR_POSITIONS), cut)
        far = self._choose.sample(range(near.start), min(FAR_POSITIONS, near.start))
        return (*sorted(far), *near)
