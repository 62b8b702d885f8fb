"""What an inmate of a cell may use at most, and the error that says what it used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from data.errors import ScaleproofError
from data.setting_tables import read_table

THREADS_PER_PROCESS = 16
FILES_PER_FOLDER = 3
MEMORY_FOLDER_BYTES = 2**28

Kind = Literal["time", "memory", "processes", "threads", "files", "output", "died"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What all processes of one cell may use together.

    memory_bytes: resident, a page that several processes share counted once. processes: at a time, with 16 threads for
    each. file_bytes: any one file; a writable mount holds three times that, and /tmp, which is memory, at most 256 MiB.
    output_bytes: printed. wall_seconds: from its start to its end.
    """

    memory_bytes: int = 4 * 2**30
    processes: int = 64
    file_bytes: int = 2**30
    output_bytes: int = 2**20
    wall_seconds: float = 3600.0

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
    """The [sandbox] table of a study's settings: the limits of one run's cell, as in Limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    memory_bytes: int = Field(default=Limits().memory_bytes, ge=2**28)
    processes: int = Field(default=Limits().processes, ge=1, le=4096)
    file_bytes: int = Field(default=Limits().file_bytes, ge=2**20)
    output_bytes: int = Field(default=Limits().output_bytes, ge=2**10)
    wall_seconds: float = Field(default=Limits().wall_seconds, gt=0, allow_inf_nan=False)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [sandbox] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("sandbox", cls, values)

    @property
    def limits(self) -> Limits:
        """The same, for a cell."""
        return Limits(**self.model_dump())


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
