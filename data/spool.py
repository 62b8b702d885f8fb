"""What runs leave behind: append-only files of JSON lines, one file per attempt of each run."""

import errno
import fcntl
import json
import math
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from data.errors import ScaleproofError
from data.locks import refused, sync_folder

COMPACTED = "compacted-*.parquet"
COMPACTED_KEY = b"scaleproof.spool_files"

_ATTEMPT = re.compile(r"(.+)\.(\d+)\.jsonl")
# How every record begins; no other line can, and text within a record holds no line break.
_STAMP = re.compile(rb'\n\{"kind":"\w+","written_at":(\d{1,12}(?:\.\d*)?),')
_TAIL_BYTES = 1 << 16


class Position(NamedTuple):
    """How far a spool file was read."""

    bytes: int
    lines: int


class SpoolWriter:
    """Appends whole lines to one spool file.

    Each record is one line written by one system call, so that a reader sees it whole or not at all and a killed writer
    loses at most the line it was writing. The file is held under a shared lock while it is open, so that compaction
    leaves it alone.
    """

    def __init__(self, path: Path) -> None:
        """Open `path` for appending; raises ScaleproofError when that cannot be done."""
        self.path = path
        # A clock that was set back must not let what an earlier command wrote pass for the latest.
        self._written_at = max(map(_last_written, _earlier(path)), default=0.0)
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise refused(f"write results to {path}", error) from None
        # File systems without advisory locks still spool; only compaction needs the lock.
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        self._torn = _ends_torn(self._handle)

    def append(self, kind: str, **columns: object) -> None:
        """Write one record; NaN and infinite numbers become null, numpy scalars and arrays plain numbers and lists.

        Raises ScaleproofError when the disk refuses the line (full, quota); what was written before stays readable.
        """
        # Nor may ties, or a clock that steps back now.
        self._written_at = max(time.time(), math.nextafter(self._written_at, math.inf))
        record = {
            "kind": kind,
            "written_at": self._written_at,
            **{name: _plain(value) for name, value in columns.items()},
        }
        line = json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        self._write(b"\n" + line if self._torn else line)

    def flush(self) -> None:
        """Make every record written so far survive a power cut."""
        try:
            os.fsync(self._handle)
        except OSError as error:
            # Pipes and devices cannot be synced, and need not be.
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise self._refused(error) from None

    def close(self) -> None:
        """Flush and close; a second call does nothing."""
        if self._handle >= 0:
            try:
                self.flush()
            finally:
                os.close(self._handle)
                self._handle = -1

    def __enter__(self) -> Self:
        """Use the writer in a `with` block that closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _write(self, line: bytes) -> None:
        self._torn = True
        try:
            while line:
                line = line[os.write(self._handle, line) :]
        except OSError as error:
            raise self._refused(error) from None
        self._torn = False

    def _refused(self, error: OSError) -> ScaleproofError:
        return refused(f"write results to {self.path}", error)


def new_attempt(spool: Path, stem: str) -> tuple[int, Path]:
    """Claim the next attempt file `<stem>.<attempt>.jsonl` below the spool folder, and make it, empty.

    `stem` is `runs/<run_id>` or `study`. Attempts count from 1; two processes never get the same one, and the number of
    an attempt that was compacted meanwhile is not given again.
    """
    path = spool / stem
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(f"write results to {folder}", error) from None
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)\.jsonl")
    taken = [entry.name for entry in os.scandir(folder)] + _compacted_names(spool, folder)
    attempt = 1 + max((int(match[1]) for match in map(pattern.fullmatch, taken) if match), default=0)
    while True:
        claimed = folder / f"{path.name}.{attempt}.jsonl"
        try:
            os.close(os.open(claimed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:
            attempt += 1
            continue
        except OSError as error:
            raise refused(f"write results to {claimed}", error) from None
        sync_folder(folder)
        return attempt, claimed


def last_row(spool: Path, run_id: str) -> dict[str, Any] | None:
    """The last `run` record that the latest attempt of a run left, as it was written; None where there is none.

    Numbers that were not finite are null. For those that just made the run: the store need not take it in first.
    """
    attempts = {int(path.name.split(".")[1]): path for path in (spool / "runs").glob(f"{run_id}.*.jsonl")}
    for attempt in sorted(attempts, reverse=True):
        whole = attempts[attempt].read_bytes().rpartition(b"\n")[0]
        for line in reversed(whole.split(b"\n")):
            if line.startswith(b'{"kind":"run"'):
                row: dict[str, Any] = json.loads(line)
                return row
    return None


def compacted_files(parquet: Path) -> dict[str, Position]:
    """The spool files that a compacted file holds, by name below the spool folder, and where each ended."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(parquet).metadata
    return {name: Position(*end) for name, end in json.loads(metadata[COMPACTED_KEY]).items()}


def _compacted_names(spool: Path, folder: Path) -> list[str]:
    return [
        Path(name).name
        for root in (spool, spool.parent)
        for parquet in root.glob(COMPACTED)
        for name in compacted_files(parquet)
        if (root / name).parent == folder
    ]


def _earlier(path: Path) -> list[Path]:
    """The attempts before one, and itself; those that were compacted are of runs that have ended."""
    named = _ATTEMPT.fullmatch(path.name)
    if named is None:
        return [path]
    return [path.with_name(f"{named[1]}.{number}.jsonl") for number in range(1, int(named[2]) + 1)]


def _last_written(path: Path) -> float:
    """When a file's last record was written, in Unix seconds; 0 where it has none, or none can be read."""
    if not path.is_file():
        return 0.0
    with suppress(OSError), path.open("rb") as file:
        size, tail = file.seek(0, os.SEEK_END), _TAIL_BYTES
        while size:
            file.seek(max(0, size - tail))
            found = _STAMP.findall((b"\n" if tail >= size else b"") + file.read())
            if found:
                return float(found[-1])
            if tail >= size:
                break
            tail *= 8
    return 0.0


def _ends_torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _plain(value: object) -> object:
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return _plain(value.tolist())
    raise TypeError(f"a spool record cannot hold a {type(value).__name__}")
