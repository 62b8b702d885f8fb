"""Waiting for one's turn: advisory file locks, and the back-off used while somebody else holds something."""

import errno
import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.errors import InputError, ScaleproofError


def pauses(patience_seconds: float) -> Iterator[None]:
    """Yield at once, then after ever longer pauses (1 ms to 100 ms, jittered), until the patience is spent."""
    end = time.monotonic() + patience_seconds
    pause = 0.001
    yield
    while time.monotonic() < end:
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(2 * pause, 0.1)
        yield


@contextmanager
def exclusive(path: Path, patience_seconds: float, busy: str) -> Iterator[None]:
    """Hold the lock file `path` alone; it is freed by the kernel when its holder dies.

    `busy` is the sentence of the error; `{pid}` in it becomes the holder's process id.
    Raises ScaleproofError when the lock is still held after the patience, InputError when the file cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"Cannot write in {path.parent}: {error.strerror}; give a folder that you may write."
        ) from None
    try:
        for _ in pauses(patience_seconds):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
        else:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise ScaleproofError(busy.format(pid=holder))
        # Who holds it is a courtesy to the next; a full disk must not keep anybody from reading.
        with suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_aside(path: Path, content: bytes) -> None:
    """Write a whole file under another name, make it durable, then rename it to `path`."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.aside")
    with aside.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def refused(doing: str, error: OSError) -> ScaleproofError:
    """The error for a disk that refuses, "cannot <doing>"; a full one is told apart, since only the user can help."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ScaleproofError(f"The disk is full: cannot {doing}; free some space and run again.")
    return ScaleproofError(f"Cannot {doing}: {error.strerror or error}.")
