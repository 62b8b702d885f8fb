"""Opening the store's database for a moment, and telling a busy one from a broken one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from data.errors import ScaleproofError
from data.locks import pauses

# SQL of users runs under these: it reads the store and nothing else. Autoinstall off, because an extension that is not
# there must be a clear error at once and not a network time-out.
READER = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
WRITER = {"autoinstall_known_extensions": "false", "python_enable_replacements": "false"}

_BUSY = ("Could not set lock on file", "different configuration")
_BROKEN_TEXT = ("not a valid DuckDB", "Could not read enough bytes", "orrupt", "checksum", "version number", "serializ")
_BROKEN_TYPES = (duckdb.SerializationException, duckdb.InternalException, duckdb.FatalException)


class BrokenStoreError(Exception):
    """The database is missing, torn, or made by another version; the spool has everything it held."""


@contextmanager
def opened(path: Path, *, read_only: bool, patience_seconds: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database, waiting while another process holds it; errors in the block pass through.

    Raises BrokenStoreError when it is missing or no database, ScaleproofError when it stays busy or cannot be opened.
    """
    connection = _connect(path, read_only, patience_seconds)
    try:
        yield connection
    finally:
        connection.close()


def _connect(path: Path, read_only: bool, patience_seconds: float) -> duckdb.DuckDBPyConnection:
    if read_only and not path.exists():
        raise BrokenStoreError
    for _ in pauses(patience_seconds):
        try:
            return duckdb.connect(str(path), read_only=read_only, config=dict(READER if read_only else WRITER))
        except duckdb.Error as error:
            if any(text in str(error) for text in _BUSY):
                continue
            raise translated(error) from error
    raise ScaleproofError(
        f"Another process has held {path} for more than {patience_seconds:g} s; end it or wait for it, then run again."
    )


def _is_broken(error: duckdb.Error) -> bool:
    """Whether an error says that the database file itself is damaged."""
    message = re.sub('"[^"]*"', "", str(error))  # a path may hold any word
    return isinstance(error, _BROKEN_TYPES) or (
        isinstance(error, duckdb.IOException) and any(text in message for text in _BROKEN_TEXT)
    )


def translated(error: duckdb.Error) -> Exception:
    """BrokenStoreError for a damaged database, ScaleproofError for everything else that is no fault of the SQL."""
    if "No space left" in str(error) or "disk full" in str(error).lower():
        return ScaleproofError("The disk is full: free some space and run again; nothing in the spool is lost.")
    if _is_broken(error):
        return BrokenStoreError(first_line(error))
    return ScaleproofError(f"The store failed: {first_line(error)}")


def first_line(error: duckdb.Error) -> str:
    """DuckDB's message without its hints and pictures."""
    return str(error).strip().split("\n", maxsplit=1)[0]
