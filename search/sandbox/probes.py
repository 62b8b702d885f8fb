"""The finished loss of a model that may cheat: true sequences among spliced copies, which must agree where they may."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scaling.evaluation import Evaluated, by_sequence, per_token, summed, token_losses
from scaling.preflight import LEAK_TOLERANCE
from scaling.runs import REJECTED
from scaling.training import FailedError
from search.sandbox.agreement import agree, gained, gains, log_probabilities
from search.sandbox.copies import Splice, Splicer

MIXED_TOLERANCE = 5e-2
"""Of logits computed in bfloat16, whose unit in the last place is 1/256."""

COPIES_PER_BATCH = 0.25
DEEP_COPIES_PER_BATCH = 2.0
"""Where findings are judged: eight times as many chances to meet a rare look ahead, for twice the evaluation's cost."""

NAMING_ROUNDS = 4
"""Another future may chance to have the same sum."""

AHEAD = "The recipe's model looks ahead: its logits change with tokens that come later."
SIDEWAYS = (
    "The recipe's model looks sideways: its logits change with the other sequences of the batch, or its place in it."
)
REMEMBERS = (
    "The recipe's model remembers: asked again for the same tokens, or after others, it gives other logits; it carries "
    "a state from call to call, or draws at random."
)
GAINS = (
    "The recipe's model looks ahead or sideways: before another future, in another batch, it holds the true tokens for "
    "less likely."
)
CONSTANT = "The recipe's model gives the same logits whatever it reads."
NOT_FINITE = "The recipe's model gives logits that are not finite."

Ask = Callable[[Tensor], Iterator[Tensor]]
"""Maps int64 ids (B, T) to float32 logits (B, T, V), given in groups of rows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The same model twice, and nothing that one is asked can reach the other.

    One who was asked for both would know a copy by its beginning, and could answer it by heart.
    """

    for_true: Ask
    for_copies: Ask


class Examination:
    """One evaluation of a model, of which nothing is known but what it answers."""

    def __init__(self, asked: Asked, sequences: Tensor, batch_size: int, *, mixed: bool, deep: bool) -> None:
        """Examine on int64 `sequences` (count, context + 1), in the batches of `scaling.evaluation.mean_loss`.

        mixed: whether the model computes in bfloat16. deep: whether many copies are asked for, or few.
        """
        self._asked, self._sequences = asked, sequences
        self._tolerance = MIXED_TOLERANCE if mixed else LEAK_TOLERANCE
        self._share = DEEP_COPIES_PER_BATCH if deep else COPIES_PER_BATCH
        self._batches = torch.split(sequences, batch_size)
        self._size = len(self._batches[0])
        self._ids = sequences[:, :-1]
        self._splicer = Splicer(self._ids, self._size)
        self._losses: dict[int, float] = {}
        self._by_sequence: dict[int, NDArray[np.float64]] = {}
        self._first: Tensor | None = None
        self._constant = True
        self._waiting: dict[Splice, Tensor] = {}
        self._finite = self._same = True
        self._gains: list[tuple[float, float]] = []

    def evaluated(self) -> Evaluated:
        """Cross-entropy in nats per token of the true sequences, the same bits as `evaluate`; may be NaN.

        Raises:
            FailedError: naming how the model cheats, or what is wrong with its logits.
        """
        copies, splices = self._splicer.copies(math.ceil(self._share * len(self._batches)))
        asked = [(True, index) for index in range(len(self._batches))] + [(False, k) for k in range(len(copies))]
        random.SystemRandom().shuffle(asked)
        first = next(index for is_true, index in asked if is_true)
        start = first * self._size
        again = self._splicer.repeated(range(start, start + len(self._batches[first])), len(copies))
        splices += again
        for is_true, index in asked:
            if is_true:
                rows = {one: one.true % self._size for one in splices if one.true // self._size == index}
                self._compare(_picked(self._scored(index), rows), is_true=True)
            else:
                rows = {one: one.row for one in splices if one.batch == index}
                self._compare(_picked(self._asked.for_copies(copies[index]), rows), is_true=False)
        self._ask_again(first, again)
        total = 0.0
        for index in range(len(self._batches)):
            total += self._losses[index]
        if math.isfinite(total):
            self._judge()
        parts = [self._by_sequence[index] for index in range(len(self._batches))]
        return Evaluated(per_token(total, self._sequences), np.concatenate(parts))

    def _scored(self, index: int) -> Iterator[Tensor]:
        """Logits of a true batch, as they come, with its loss and whether anything differs kept."""
        batch, done = self._batches[index], 0
        losses = []
        for logits in self._asked.for_true(batch[:, :-1]):
            losses.append(token_losses(logits, batch[done : done + len(logits), 1:]))
            done += len(logits)
            if self._first is None:
                self._first = logits[0, 0].clone()
            self._constant = self._constant and bool((logits == self._first).all())
            yield logits
        self._losses[index] = summed(torch.cat(losses))
        self._by_sequence[index] = by_sequence(torch.cat(losses), len(batch))

    def _compare(self, picked: Mapping[Splice, Tensor], *, is_true: bool) -> None:
        """Compare those whose other half came before, and keep the others until theirs comes."""
        for splice, logits in picked.items():
            before = self._waiting.pop(splice, None)
            if before is None:
                self._waiting[splice] = logits
            else:
                self._note(splice, *((logits, before) if is_true else (before, logits)))

    def _ask_again(self, index: int, again: Sequence[Splice]) -> None:
        """Ask for a true batch once more, after all others: who learns from what is asked answers otherwise."""
        rows = {one: one.row for one in again}
        for splice, logits in _picked(self._asked.for_true(self._batches[index][:, :-1]), rows).items():
            before = log_probabilities(self._waiting.pop(splice))
            self._same = self._same and agree(before, log_probabilities(logits), self._tolerance)

    def _note(self, splice: Splice, true: Tensor, copied: Tensor) -> None:
        self._finite = self._finite and not any(bool((one.isnan() | (one == math.inf)).any()) for one in (true, copied))
        one, other = log_probabilities(true), log_probabilities(copied)
        self._same = self._same and agree(one, other, self._tolerance)
        targets = self._sequences[splice.true, [position + 1 for position in splice.positions]]
        gain = gains(one, other, targets)
        self._gains.append((float(gain[-1]), float(gain.mean())))

    def _judge(self) -> None:
        if self._constant:
            raise FailedError(REJECTED + CONSTANT)
        if not self._finite:
            raise FailedError(REJECTED + NOT_FINITE)
        if not self._same:
            raise FailedError(REJECTED + self._name())
        # Whoever looks ahead gains most at the last position, whose every later token is another one in the copy; who
        # looks sideways gains everywhere.
        if any(gained(differences) for differences in zip(*self._gains, strict=True)):
            raise FailedError(REJECTED + GAINS)

    def _name(self) -> str:
        """Tell apart why logits of the same tokens differ, by changing one thing at a time on text not yet shown."""
        length = self._ids.shape[1]
        everywhere, cut = tuple(range(length)), length // 2
        true, copied = self._asked.for_true, self._asked.for_copies
        for _ in range(NAMING_ROUNDS):
            text = self._splicer.spliced(self._size)
            future = text.clone()
            future[:, cut:] = self._splicer.others(text[:, cut:])
            first, other = _row(true, text, everywhere), _row(copied, future, everywhere[:cut])
            # The other one is asked for the same tokens last, so that what it says by heart differs too.
            again = (_row(true, text, everywhere), _row(copied, text, everywhere))
            if not all(agree(first, one, self._tolerance) for one in again):
                return REMEMBERS
            if not agree(first[:cut], other, self._tolerance):
                return AHEAD
        return SIDEWAYS


def _row(ask: Ask, ids: Tensor, positions: tuple[int, ...]) -> Tensor:
    """Log-probabilities (positions, V) of the first row."""
    (row,) = _picked(ask(ids), {Splice(0, 0, 0, positions): 0}).values()
    return log_probabilities(row)


def _picked(groups: Iterator[Tensor], rows: Mapping[Splice, int]) -> dict[Splice, Tensor]:
    """Logits (positions, V) of the wanted rows of a batch, out of its groups of rows."""
    picked, done = {}, 0
    for logits in groups:
        for splice, row in rows.items():
            if done <= row < done + len(logits):
                picked[splice] = logits[row - done, list(splice.positions)].clone()
        done += len(logits)
    return picked
