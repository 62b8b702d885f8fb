"""What an inmate of a cell may use at most, and the error that says what it used."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from data.errors import ScaleproofError
from data.setting_tables import read_table

THREADS_PER_PROCESS = 16
FILES_PER_FOLDER = 3
MEMORY_FOLDER_BYTES = 2**28

CHECKPOINT_BYTES_PER_PARAM = 36
"""Three times what a checkpoint holds of a parameter: its weight and two moments, 4 bytes each."""
WEIGHTS_BYTES_PER_PARAM = 32
"""Eight times what a parameter takes."""
SMALL_WEIGHTS_BYTES = 2**26
"""What weights of any model may take: buffers do not follow the parameters, and experts are many."""
MEMORY_BYTES_PER_PARAM = 64
"""Sixteen times the weights: training holds four (weights, gradients, two moments), and a checkpoint is twice three
in memory while it is written."""
MEMORY_BYTES_PER_LOGIT = 16
"""A batch's logits, the same as log-probabilities, the gradients of both; an evaluation holds two of them."""
SLOWER_THAN_BASELINES = 20.0
STARTING_SECONDS = 60.0

Kind = Literal["time", "silence", "memory", "processes", "threads", "files", "names", "output", "died"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes of one cell may use together.

    memory_bytes: resident, a page that several processes share counted once, with the tables of pages. processes: at a
    time, with 16 threads for each. file_bytes: any one file; a writable mount holds three times that, and /tmp, which
    is memory, at most 256 MiB. names: of files and folders in a writable mount, and in each folder that is memory.
    output_bytes: printed. weights_bytes: of a trained model, with its buffers. wall_seconds: from its start to its end.
    silent_seconds: between two signs of life on its channel.
    """

    memory_bytes: int = 4 * 2**30
    processes: int = 64
    file_bytes: int = 2**30
    names: int = 10_000
    output_bytes: int = 2**20
    weights_bytes: int = 2**30
    wall_seconds: float = 86_400.0
    silent_seconds: float = 600.0

    @property
    def threads(self) -> int:
        """How many threads all processes may have together."""
        return self.processes * THREADS_PER_PROCESS

    @property
    def folder_bytes(self) -> int:
        """What all files of a writable mount may take: an old checkpoint, a new one, and what else a run leaves."""
        return FILES_PER_FOLDER * self.file_bytes

    @property
    def memory_folder_bytes(self) -> int:
        """What all files in /tmp may take."""
        return min(self.file_bytes, MEMORY_FOLDER_BYTES)


class SandboxSettings(BaseModel):
    """The [sandbox] table of a study's settings: limits of one run's cell, as in Limits, that hold whatever the run."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    memory_bytes: int | None = Field(default=None, ge=2**28)
    processes: int | None = Field(default=None, ge=1, le=4096)
    file_bytes: int | None = Field(default=None, ge=2**20)
    names: int | None = Field(default=None, ge=16)
    output_bytes: int | None = Field(default=None, ge=2**10)
    weights_bytes: int | None = Field(default=None, ge=2**10)
    wall_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    silent_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [sandbox] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("sandbox", cls, values)

    @property
    def limits(self) -> Limits:
        """The same, for a cell of whose run nothing is known."""
        return Limits(**self.model_dump(exclude_none=True))

    def for_run(self, *, params: int, logits: int, devices: int, baseline_seconds: float | None) -> Limits:
        """The limits of a run that is expected to have so many parameters; what is set here goes before.

        logits: numbers in a batch's logits. devices: each has a process. baseline_seconds: from the start to the end
        of runs of the baseline at the same rung; None where there are none.
        """
        plain = Limits()
        slow = None if baseline_seconds is None else SLOWER_THAN_BASELINES * baseline_seconds + STARTING_SECONDS
        derived = {
            "memory_bytes": devices * (plain.memory_bytes + MEMORY_BYTES_PER_PARAM * params)
            + MEMORY_BYTES_PER_LOGIT * logits,
            "file_bytes": max(plain.file_bytes, CHECKPOINT_BYTES_PER_PARAM * params),
            "weights_bytes": SMALL_WEIGHTS_BYTES + WEIGHTS_BYTES_PER_PARAM * params,
            "wall_seconds": plain.wall_seconds if slow is None else float(math.ceil(slow)),
        }
        return Limits(**{**derived, **self.model_dump(exclude_none=True)})


class CellError(ScaleproofError):
    """An inmate did what it may not, or died; the message is a sentence that says what, `kind` the same in a word."""

    def __init__(self, kind: Kind, message: str) -> None:
        """Name what was done."""
        super().__init__(message)
        self.kind: Kind = kind


def in_units(size: int) -> str:
    """Bytes in the largest unit that leaves at least one, as in "4.0 GiB"."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
