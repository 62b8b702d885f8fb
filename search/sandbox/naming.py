"""Which limit of its cells ended a run, said at the end of the run's reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from data.study import Study
from scaling.loading import RecipeError
from scaling.runs import Stop
from scaling.training import FailedError
from search.sandbox.cell import Cell
from search.sandbox.limits import Kind, Limits

SETTINGS: dict[Kind, str] = {
    "time": "wall_seconds",
    "silence": "silent_seconds",
    "memory": "memory_bytes",
    "processes": "processes",
    "threads": "processes",
    "files": "file_bytes",
    "names": "names",
    "output": "output_bytes",
}
"""The setting that bounds what a CellError names; none where an inmate died."""

REFUSALS = {
    "File too large": "file_bytes",
    "bytes come with 'weights'": "weights_bytes",
    "MemoryError": "memory_bytes",
    "can't allocate memory": "memory_bytes",
    "Cannot allocate memory": "memory_bytes",
    "can't start new thread": "processes",
}
"""What an inmate says that the kernel or the minder refused something, and the setting that bounds it."""


@contextmanager
def naming_the_limit(study: Study, limits: Limits, *cells: Cell) -> Iterator[None]:
    """Add the limit to the error of a run that one of these cells' limits ended, so that more of it is another try."""
    try:
        yield
    except (FailedError, RecipeError) as error:
        stops = [SETTINGS.get(cell.stopped_by.kind) for cell in cells if cell.stopped_by is not None]
        refused = [setting for words, setting in REFUSALS.items() if words in str(error)]
        name = next(filter(None, [*stops, *refused]), None)
        if name is None:
            raise
        stop = Stop(name, getattr(limits, name), chosen=name in study.settings.get("sandbox", {}))
        raise type(error)(f"{error} {stop}") from error
