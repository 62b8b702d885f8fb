"""One inmate's training, followed from the start to its weights: it is fed, and the time is taken, from outside."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from data.batches import train_batch
from data.tokens import TokenSet
from scaling.chunks import CHUNK_STEPS, Chunks, chunk_bounds
from scaling.module import Note, check_divergence, curve_point
from scaling.preflight import SAMPLE_SEQUENCES
from scaling.runs import RunSpec
from scaling.shape import Shape
from scaling.training import sample
from search.sandbox import inside, weights
from search.sandbox.resuming import Progress
from search.sandbox.sizes import Sizes
from search.sandbox.talk import Talk
from search.sandbox.wire import Message, WireError

LARGEST_COUNT = 10**15


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left. seconds: of all steps but the first chunk, on the minder's clock, until the weights came.

    Of a resumed run the seconds before are taken at the pace of those after. cpu_seconds: the same in CPU time of all
    processes in the cell, seen from outside; NaN where it cannot be seen. seconds_per_step is NaN where one chunk was
    all. asked and answer: training text (sequences, context), and the logits (sequences, context, V) of the trained
    model, which its weights must give anywhere. peak_memory_bytes and device are the inmate's own words.
    """

    packed: bytearray
    asked: Tensor
    answer: Tensor
    size: Shape
    seconds: float
    cpu_seconds: float
    seconds_per_step: float
    peak_memory_bytes: int
    device: str


class Feeding:
    """Feeds one inmate; every method raises FailedError or RecipeError for what the inmate does wrong."""

    def __init__(self, talk: Talk, tokens: TokenSet, spec: RunSpec, note: Note, progress: Progress) -> None:
        """Feed from the train shard; `note` is given each point of the curve."""
        self._talk, self._tokens, self._spec, self._note = talk, tokens, spec, note
        self._progress = progress
        self._warm_at = self._warm_at_cpu = 0.0

    def to_the_end(self, sizes: Sizes, most_bytes: int) -> Trained:
        """Feed the whole schedule, and take weights of at most so many bytes; `sizes` are counted where not known.

        Raises:
            DivergedError: when the training loss is not finite or has exploded.
            CheckpointError: when the inmate goes on where it cannot have been.
        """
        talk, steps = self._talk, self._spec.rung.steps
        known = sizes.read()
        talk.send("start", as_bytes(sample(self._tokens, self._spec)), count=known is None)
        size = known or sizes.keep(_shape(talk.hear("shape")))
        first = talk.hear("begin").whole("first", 0, steps)
        self._progress.resume(first)
        self._feed(first)
        given = talk.hear("weights", payload=most_bytes)
        seconds, timed = time.perf_counter() - self._warm_at, steps - first - CHUNK_STEPS
        cpu_seconds = talk.cpu_seconds() - self._warm_at_cpu
        if weights.count(given.payload) < size.params:
            raise WireError(f"It counted {size.params} parameters and gave fewer weights.")
        per_step = seconds / timed if timed > 0 else math.nan
        asked = self._text()
        return Trained(
            packed=given.payload,
            asked=asked,
            answer=torch.cat(list(answers(talk, asked, self._tokens.vocab_size))),
            size=size,
            seconds=per_step * (steps - CHUNK_STEPS) if timed > 0 else 0.0,
            cpu_seconds=cpu_seconds / timed * (steps - CHUNK_STEPS) if timed > 0 else 0.0,
            seconds_per_step=per_step,
            peak_memory_bytes=given.whole("peak", 0, LARGEST_COUNT),
            device=given.text("device", 60),
        )

    def _text(self) -> Tensor:
        """Training text (sequences, context) at the run's own rung."""
        shard, context = self._tokens.shard("train"), self._spec.rung.context
        rows = train_batch(shard, seed=0, step=0, batch_size=SAMPLE_SEQUENCES, context=context)
        return torch.from_numpy(rows[:, :-1])

    def _feed(self, first: int) -> None:
        """Give each chunk when it is asked for, never more than one ahead of those that are done."""
        spec = self._spec
        bounds = chunk_bounds(first, spec.rung.steps)
        # Whole batches: several devices share them out among themselves.
        rung = spec.rung.model_copy(update={"devices": 1})
        chunks = iter(Chunks(self._tokens.shard("train"), rung, seed=spec.seed, first=first, device_index=0))
        ready, asked, done = next(chunks, None), 0, 0
        while done < len(bounds):
            message = self._talk.hear("ask", "loss")
            if message.kind == "ask":
                if ready is None or asked > done + 1:
                    raise WireError("It spoke out of turn: it asks for more than it has used.")
                self._talk.send("chunk", as_bytes(ready))
                asked += 1
                ready = next(chunks, None)  # while the inmate trains
            elif done == asked:
                raise WireError("It spoke out of turn: it tells the loss of what it was not given.")
            else:
                self._tick(bounds[done][1], message.real("value"), warm_up=done == 0)
                done += 1

    def _tick(self, step: int, loss: float, *, warm_up: bool) -> None:
        now = time.perf_counter()
        if warm_up:
            self._warm_at, self._warm_at_cpu = now, self._talk.cpu_seconds()
        self._progress.reached(step)
        self._note(curve_point(self._spec.rung, step, now - self._warm_at, loss))
        check_divergence(loss, step, self._spec.rung, self._tokens.vocab_size)


def answers(talk: Talk, ids: Tensor, vocab_size: int) -> Iterator[Tensor]:
    """Float32 logits (rows, T, V) that an inmate gives to int64 ids (B, T), group by group; raises as `Talk` does."""
    context = ids.shape[1]
    talk.send("ids", as_bytes(ids))
    for rows in torch.split(ids, inside.group_rows(context, vocab_size)):
        payload = talk.expect("logits", len(rows) * context * vocab_size * 4)
        yield torch.frombuffer(payload, dtype=torch.float32).view(len(rows), context, vocab_size)


def as_bytes(ids: Tensor) -> memoryview:
    """Ids as they cross the border."""
    return ids.contiguous().numpy().data


def _shape(told: Message) -> Shape:
    flops = told.real("flops_per_token")
    if not flops > 0:
        raise WireError("It spoke out of turn: its FLOPs are no number above 0.")
    params = told.whole("params", 1, LARGEST_COUNT)
    optimizer = None
    if told.fields.get("optimizer_flops_per_token") is not None:
        optimizer = told.real("optimizer_flops_per_token")
        if not 0 <= optimizer < flops:
            raise WireError("It spoke out of turn: its optimiser's FLOPs are no part of all.")
    return Shape(params, told.whole("params_non_embedding", 0, params), flops, optimizer)
