"""The finished loss of a model that may cheat: true sequences among spliced copies, which must agree where they may."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling.evaluation import per_token, summed, token_losses
from scaling.runs import REJECTED
from scaling.training import FailedError

COPIES_PER_BATCH = 0.25
NEAR_POSITIONS = 8
"""Compared just before the cut: who looks k tokens ahead sees the change from the last k positions."""
FAR_POSITIONS = 8
"""Compared anywhere before: who looks at the whole sequence sees it from all."""

NAMING_ROUNDS = 4
"""Another future may chance to have the same sum."""
LEAST_LOG_PROBABILITY = -14.0
"""Tokens held less likely than this by both of two compared predictions are not compared."""

DONORS = 8
"""How many sequences are looked at for one that goes on with another token."""

DISPLACEMENTS = 100
"""How often an order is drawn for one in which all rows are other ones; about one in three is."""

AHEAD = "The recipe's model looks ahead: its logits change with tokens that come later."
SIDEWAYS = (
    "The recipe's model looks sideways: its logits change with the other sequences of the batch, or its place in it."
)
REMEMBERS = (
    "The recipe's model remembers: asked again for the same tokens, it gives other logits; it carries a state from "
    "call to call, or draws at random."
)
CONSTANT = "The recipe's model gives the same logits whatever it reads."
NOT_FINITE = "The recipe's model gives logits that are not finite."

Ask = Callable[[Tensor], Iterator[Tensor]]
"""Maps int64 ids (B, T) to float32 logits (B, T, V), given in groups of rows."""


@dataclass(frozen=True, slots=True)
class Splice:
    """Row `row` of copy batch `batch` begins like true sequence `true`, and is another one after a cut.

    positions: those before the cut at which the two must agree.
    """

    true: int
    batch: int
    row: int
    positions: tuple[int, ...]


class Examination:
    """One evaluation of a model, of which nothing is known but what it answers."""

    def __init__(self, ask: Ask, sequences: Tensor, batch_size: int, tolerance: float) -> None:
        """Examine on int64 `sequences` (count, context + 1), in the batches of `scaling.evaluation.mean_loss`.

        tolerance: by how much two log-probabilities of the same token may differ, relative to the largest, or to 1.
        """
        self._ask, self._sequences, self._tolerance = ask, sequences, tolerance
        self._batches = torch.split(sequences, batch_size)
        self._size = len(self._batches[0])
        self._ids = sequences[:, :-1]
        # Nobody but this process may know what is a copy.
        self._choose = random.SystemRandom()
        self._losses: dict[int, float] = {}
        self._first: Tensor | None = None
        self._constant = True

    def finished_loss(self) -> float:
        """Cross-entropy in nats per token of the true sequences, the same bits as `mean_loss`; may be NaN.

        Raises:
            FailedError: naming how the model cheats, or what is wrong with its logits.
        """
        copies, splices = self._copies(math.ceil(COPIES_PER_BATCH * len(self._batches)))
        asked = [(True, index) for index in range(len(self._batches))] + [(False, k) for k in range(len(copies))]
        self._choose.shuffle(asked)
        true: dict[Splice, Tensor] = {}
        copied: dict[Splice, Tensor] = {}
        for is_true, index in asked:
            if is_true:
                rows = {one: one.true % self._size for one in splices if one.true // self._size == index}
                true |= _picked(self._scored(index), rows)
            else:
                copied |= _picked(self._ask(copies[index]), {one: one.row for one in splices if one.batch == index})
        total = 0.0
        for index in range(len(self._batches)):
            total += self._losses[index]
        if math.isfinite(total):
            self._judge([(true[one], copied[one]) for one in splices])
        return per_token(total, self._sequences)

    def _scored(self, index: int) -> Iterator[Tensor]:
        """Logits of a true batch, as they come, with its loss and whether anything differs kept."""
        batch, done = self._batches[index], 0
        losses = []
        for logits in self._ask(batch[:, :-1]):
            losses.append(token_losses(logits, batch[done : done + len(logits), 1:]))
            done += len(logits)
            if self._first is None:
                self._first = logits[0, 0].clone()
            self._constant = self._constant and bool((logits == self._first).all())
            yield logits
        self._losses[index] = summed(torch.cat(losses))

    def _judge(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        if self._constant:
            raise FailedError(REJECTED + CONSTANT)
        if any(bool((one.isnan() | (one == math.inf)).any()) for pair in pairs for one in pair):
            raise FailedError(REJECTED + NOT_FINITE)
        if not all(self._agree(one, other) for one, other in pairs):
            raise FailedError(REJECTED + self._name())

    def _agree(self, one: Tensor, other: Tensor) -> bool:
        """Whether logits say the same, of what they hold possible.

        A logit of a token that never comes, or a number added to all, would else set the scale that hides a look ahead.
        """
        one, other = one.double().log_softmax(-1), other.double().log_softmax(-1)
        possible = torch.maximum(one, other) > LEAST_LOG_PROBABILITY
        floor = 2 * LEAST_LOG_PROBABILITY
        apart = torch.where(possible, (one.clamp(min=floor) - other.clamp(min=floor)).abs(), 0.0)
        scale = float(one.clamp(min=LEAST_LOG_PROBABILITY).abs().max())
        return bool((apart <= self._tolerance * max(1.0, scale)).all())

    def _name(self) -> str:
        """Tell apart why logits of the same tokens differ, by changing one thing at a time on text not yet shown."""
        length = self._ids.shape[1]
        everywhere, cut = tuple(range(length)), length // 2
        for _ in range(NAMING_ROUNDS):
            text = self._spliced(self._size)
            first = self._row(text, everywhere)
            if not self._agree(first, self._row(text, everywhere)):
                return REMEMBERS
            future = text.clone()
            future[:, cut:] = self._others(text[:, cut:])
            if not self._agree(first[:cut], self._row(future, everywhere[:cut])):
                return AHEAD
        return SIDEWAYS

    def _row(self, ids: Tensor, positions: tuple[int, ...]) -> Tensor:
        (row,) = _picked(self._ask(ids), {Splice(0, 0, 0, positions): 0}).values()
        return row

    def _copies(self, count: int) -> tuple[list[Tensor], list[Splice]]:
        """Batches of spliced copies, each row of another true sequence while there are any."""
        order = list(range(len(self._ids)))
        self._choose.shuffle(order)
        batches, splices = [], []
        for batch in range(count):
            true = [order[(batch * self._size + row) % len(order)] for row in range(self._size)]
            self._displace(true)
            ids = self._ids[true]
            for row in range(self._size):
                cut = self._cut()
                ids[row, cut:] = self._others(ids[row : row + 1, cut:])[0]
                splices.append(Splice(true[row], batch, row, self._positions(cut)))
            batches.append(ids)
        return batches, splices

    def _displace(self, true: list[int]) -> None:
        """Order a copy batch's sequences so that, where that can be, none stands in the row where it was or will be."""
        for _ in range(DISPLACEMENTS):
            if all(place % self._size != row for row, place in enumerate(true)):
                return
            self._choose.shuffle(true)

    def _spliced(self, rows: int) -> Tensor:
        ids = self._ids[[self._choose.randrange(len(self._ids)) for _ in range(rows)]]
        for row in range(rows):
            cut = self._cut()
            ids[row, cut:] = self._others(ids[row : row + 1, cut:])[0]
        return ids

    def _others(self, ends: Tensor) -> Tensor:
        """Other text for the ends (rows, length) of sequences, taken from other sequences, other from its start on."""
        length = ends.shape[1]
        if not length:
            return ends
        found = torch.empty_like(ends)
        for row, end in enumerate(ends):
            donors = [self._ids[self._choose.randrange(len(self._ids))] for _ in range(DONORS)]
            tails = [donor[len(donor) - length :] for donor in donors]
            best = max(tails, key=lambda tail: (int(tail[0] != end[0]), int((tail != end).sum())))
            found[row] = best if best[0] != end[0] else best.roll(1)
        return found

    def _cut(self) -> int:
        return self._choose.randint(1, max(1, self._ids.shape[1] - 1))

    def _positions(self, cut: int) -> tuple[int, ...]:
        near = range(max(0, cut - NEAR_POSITIONS), cut)
        far = self._choose.sample(range(near.start), min(FAR_POSITIONS, near.start))
        return (*sorted(far), *near)


def _picked(groups: Iterator[Tensor], rows: Mapping[Splice, int]) -> dict[Splice, Tensor]:
    """Logits (positions, V) of the wanted rows of a batch, out of its groups of rows."""
    picked, done = {}, 0
    for logits in groups:
        for splice, row in rows.items():
            if done <= row < done + len(logits):
                picked[splice] = logits[row - done, list(splice.positions)].clone()
        done += len(logits)
    return picked
