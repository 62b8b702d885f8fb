"""What an inmate does: it runs the recipe, is fed and asked over its wire, and has nothing else."""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import IterableDataset

from scaling import shape
from scaling.chunks import chunk_bounds
from scaling.course import Course, device_name, peak_memory_bytes, quiet
from scaling.evaluation import logits_of
from scaling.ladder import Ladder, Rung
from scaling.loading import RECIPE_FILE, RecipeError, load, said
from scaling.module import DivergedError
from scaling.preflight import SAMPLE_SEQUENCES, check
from scaling.ranks import peers
from scaling.runs import RunSpec, TimingSpec
from scaling.timing import TURN_STEPS, Racer, one_thread
from search.sandbox.weights import pack, unpack
from search.sandbox.wire import ClosedError, Wire

RUN_FOLDER = "/run"
CHECKPOINT = Path(RUN_FOLDER, "run.ckpt")
ID_BYTES = 8
GROUP_BYTES = 2**25
"""Logits cross the border in groups of rows of about this size."""
FRAMES = 12
"""How many of the recipe's frames a failure names, the innermost ones."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an inmate is told of a run: the recipe's text, the run, and the size of the vocabulary."""

    text: str
    spec: RunSpec
    vocab_size: int


def train(task: Task, channel: socket.socket) -> None:
    """Train a recipe on what the minder sends, give the weights, and what the trained model makes of one text."""
    wire = Wire(channel)
    with _telling(wire), quiet():
        spec, ladder = task.spec, task.spec.setting.ladder
        _compile_as_said(ladder)
        start = wire.receive("start", payload=_sample_bytes(spec))
        if start.fields["count"]:
            # A recipe's globals may keep what they saw: what is counted is not what is trained.
            counted = load(task.text)
            size = shape.measure(counted, spec.rung, spec.base, task.vocab_size)
            wire.send("shape", **asdict(size))
        recipe = load(task.text)
        if spec.preflight:
            check(recipe, ladder, task.vocab_size, _ids(start.payload, SAMPLE_SEQUENCES, spec.base.context + 1))

        def note(point: Mapping[str, float | str]) -> None:
            value = float(point["value"])
            wire.send("loss", value=value if math.isfinite(value) else None)

        def feed(first: int, _: int) -> IterableDataset[Tensor]:
            wire.send("begin", first=first)
            fed = Fed(wire, spec.rung, first)
            return fed if spec.rung.devices == 1 else Shared(fed, spec, first)

        _forget_helpers()
        with peers(_train_along, task, spec):
            _, module = Course(recipe, spec, task.vocab_size, CHECKPOINT).fit(feed, note)
        module.to(torch.device(_device(spec)))  # Lightning leaves the model on the CPU
        wire.send(
            "weights", pack(module.model), peak=peak_memory_bytes(module.device), device=device_name(module.device)
        )
        module.model.eval()
        with _precision(spec):
            _answer(wire, module.model, spec.rung.context, task.vocab_size)


def _forget_helpers() -> None:
    """Let multiprocessing start helpers of its own here: those that the fork remembers are out of the cell's reach."""
    forkserver._forkserver.__dict__.update(forkserver.ForkServer().__dict__)
    resource_tracker._resource_tracker.__dict__.update(resource_tracker.ResourceTracker().__dict__)
    vars(multiprocessing.current_process())["_config"].pop("tempdir", None)


def _train_along(task: Task, spec: RunSpec) -> None:
    """Train on another device of the same cell, on what the first one hands on."""
    _compile_as_said(spec.setting.ladder)
    with quiet(), suppress(DivergedError):
        Course(load(task.text), spec, task.vocab_size, CHECKPOINT).fit(
            lambda first, _: Shared(None, spec, first), lambda point: None
        )


class Fed(IterableDataset[Tensor]):
    """Chunks of batches as `scaling.chunks.Chunks` gives them, asked of the minder one by one."""

    def __init__(self, wire: Wire, rung: Rung, first: int) -> None:
        """Ask from step `first` on."""
        self._wire, self._rung, self._first = wire, rung, first

    def __iter__(self) -> Iterator[Tensor]:
        """Yield int64 tensors (steps, batch, context + 1)."""
        batch, width = self._rung.batch_size, self._rung.context + 1
        for start, end in chunk_bounds(self._first, self._rung.steps):
            self._wire.send("ask")
            sizes = (end - start, batch, width)
            yield _ids(self._wire.expect("chunk", math.prod(sizes) * ID_BYTES), *sizes)


class Shared(IterableDataset[Tensor]):
    """One device's part of every chunk; the first device, which alone is fed, hands the whole chunk to the others."""

    def __init__(self, fed: Fed | None, spec: RunSpec, first: int) -> None:
        """Read from `fed` on the first device, None on the others, from step `first` on."""
        self._fed, self._spec, self._first = fed, spec, first

    def __iter__(self) -> Iterator[Tensor]:
        """Yield int64 tensors (steps, batch / devices, context + 1), once all devices have joined."""
        rung, gpu = self._spec.rung, self._spec.setting.ladder.accelerator == "gpu"
        place = distributed.get_rank()
        part = rung.batch_size // rung.devices
        mine = slice(place * part, (place + 1) * part)
        device = torch.device("cuda", place) if gpu else torch.device("cpu")
        chunks = None if self._fed is None else iter(self._fed)
        for start, end in chunk_bounds(self._first, rung.steps):
            sizes = (end - start, rung.batch_size, rung.context + 1)
            whole = torch.empty(sizes, dtype=torch.int64) if chunks is None else next(chunks)
            whole = whole.to(device)
            distributed.broadcast(whole, 0)
            yield whole[:, mine]


def evaluate(task: Task, channel: socket.socket) -> None:
    """Build the model anew, with the weights that the minder sends, and map token ids to logits until it hangs up."""
    wire = Wire(channel)
    with _telling(wire), quiet():
        spec = task.spec
        _compile_as_said(spec.setting.ladder)
        packed = wire.receive("weights", payload=2**62).payload
        recipe = load(task.text)
        # As in training: what the recipe draws and does not keep among its weights must come out the same.
        torch.manual_seed(spec.seed)
        model = recipe.build_model(spec.rung, recipe.resolve(spec.rung, spec.base), task.vocab_size)
        unpack(model, packed)
        del packed
        model.to(torch.device(_device(spec))).eval()
        wire.send("ready")
        with _precision(spec):
            while True:
                _answer(wire, model, spec.rung.context, task.vocab_size)


def _compile_as_said(ladder: Ladder) -> None:
    """Run what a recipe compiles by itself as it is written, on a CPU, where compiling takes minutes in each cell."""
    if ladder.accelerator == "cpu" and not ladder.compile:
        torch.compiler.set_stance("force_eager")


def _device(spec: RunSpec) -> str:
    return "cuda" if spec.setting.ladder.accelerator == "gpu" else "cpu"


def _precision(spec: RunSpec) -> torch.autocast:
    mixed = spec.setting.ladder.precision == "bf16-mixed"
    return torch.autocast(_device(spec), dtype=torch.bfloat16, enabled=mixed)


def _answer(wire: Wire, model: nn.Module, context: int, vocab_size: int) -> None:
    asked = wire.receive("ids", payload=2**62)
    ids = _ids(asked.payload, len(asked.payload) // (context * ID_BYTES), context)
    logits = logits_of(model, ids.to(next(model.parameters()).device), vocab_size).cpu().contiguous()
    for rows in torch.split(logits, group_rows(context, vocab_size)):
        wire.send("logits", rows.numpy().data)


def group_rows(context: int, vocab_size: int) -> int:
    """How many sequences' logits cross the border at a time."""
    return max(1, GROUP_BYTES // (context * vocab_size * 4))


def race(spec: TimingSpec, text: str, vocab_size: int, channel: socket.socket) -> None:
    """Take turns of steps of one recipe on command, until the minder hangs up."""
    wire = Wire(channel)
    with _telling(wire), quiet(), one_thread():
        _compile_as_said(spec.setting.ladder)
        sizes = (TURN_STEPS, spec.rung.batch_size, spec.rung.context + 1)
        batches = _ids(wire.expect("start", math.prod(sizes) * ID_BYTES), *sizes)
        racer = Racer(spec, text, batches, vocab_size)
        wire.send("ready")
        while True:
            racer.lap(wire.receive("turn").fields["indices"])
            wire.send("done")


@contextmanager
def _telling(wire: Wire) -> Iterator[None]:
    """Tell the minder what went wrong; a minder that hung up has all it wants."""
    try:
        yield
    except ClosedError:
        os._exit(0)
    except BaseException as error:
        contract = isinstance(error, RecipeError)
        text = str(error) if contract else said(error)
        frames = [(one.lineno, one.name[:80]) for one in traceback.extract_tb(error.__traceback__) if _own(one)]
        with suppress(ClosedError):
            name = type(error).__name__
            wire.send("failed", contract=int(contract), name=name[:80], text=text[:2000], frames=frames[-FRAMES:])


def _own(frame: traceback.FrameSummary) -> bool:
    return frame.filename == RECIPE_FILE


def _ids(payload: bytearray, *sizes: int) -> Tensor:
    return torch.frombuffer(payload, dtype=torch.int64).view(sizes)


def _sample_bytes(spec: RunSpec) -> int:
    return SAMPLE_SEQUENCES * (spec.base.context + 1) * ID_BYTES
