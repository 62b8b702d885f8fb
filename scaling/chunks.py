"""The harness's order of the data, as the Trainer reads it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from data.batches import train_batch
from data.encoding import Tokens
from scaling.ladder import Rung

CHUNK_STEPS = 10


def chunk_bounds(first: int, steps: int) -> list[tuple[int, int]]:
    """The chunks from step `first` to the end of a schedule of `steps`: where each begins, and ends before."""
    return [(start, min(start + CHUNK_STEPS, steps)) for start in range(first, steps, CHUNK_STEPS)]


class Chunks(IterableDataset[Tensor]):
    """Batches from step `first` to the end of the schedule, in chunks of several steps.

    It begins where the checkpoint stopped: a plain DataLoader would repeat data after a mid-epoch resumption. Each of
    several devices reads its own part of the same global batch.
    """

    def __init__(self, tokens: Tokens, rung: Rung, *, seed: int, first: int, device_index: int) -> None:
        """Read from `tokens`, a one-dimensional array of token ids, for device `device_index` of `rung.devices`."""
        self._tokens, self._rung, self._seed, self._first, self._device = tokens, rung, seed, first, device_index

    def __iter__(self) -> Iterator[Tensor]:
        """Yield int64 tensors (steps, batch / devices, context + 1)."""
        for start, end in chunk_bounds(self._first, self._rung.steps):
            yield torch.stack([self._batch(step) for step in range(start, end)])

    def _batch(self, step: int) -> Tensor:
        rung = self._rung
        batch = train_batch(
            self._tokens,
            seed=self._seed,
            step=step,
            batch_size=rung.batch_size,
            context=rung.context,
            device_index=self._device,
            devices=rung.devices,
        )
        return torch.from_numpy(batch)
