"""The store: whoever reads first takes in what the spool has new, then asks in SQL. Nobody holds it for longer."""

import json
import os
from contextlib import AbstractContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from data.connection import BrokenStoreError, opened, translated
from data.errors import InputError, ScaleproofError
from data.locks import exclusive, refused, sync_folder
from data.reading import Parameters, answer, require_reading
from data.records import read_new, typed, unread
from data.schema import SCHEMA_VERSION, digest, statements, table
from data.spool import Position

_Stamp = tuple[int, int, int] | None

# Lines taken in by one transaction; bounds the memory of an ingest.
_BATCH_BYTES = 32 << 20


class Store:
    """The database of one study; it can be rebuilt from the spool at any time, row for row.

    No connection outlives a call. A busy database is waited for up to `patience_seconds`: long-running work should be
    patient, since somebody's slow query holds the file against every ingest.
    """

    def __init__(self, study: Path | str, patience_seconds: float = 10.0) -> None:
        """The store of the study in folder `study`; nothing is opened yet."""
        self.study = Path(study)
        self.path = self.study / "study.duckdb"
        self.spool = self.study / "spool"
        self._patience_seconds = patience_seconds
        self._known: tuple[tuple[_Stamp, _Stamp], dict[str, Position]] | None = None
        if not self.study.is_dir():
            raise InputError(f"There is no study at {self.study}; make one with `scaleproof init`.")

    def ingest(self) -> int:
        """Take in the new whole lines of every spool file; returns how many lines there were. Safe to repeat.

        Rows and the positions they were read up to are stored in one transaction. A database that is missing, broken or
        of an older schema is rebuilt. Raises InputError for a study of a newer schema, ScaleproofError when another
        process holds the store for too long or the disk is full.
        """
        try:
            if not unread(self.spool, self._known_positions()):
                return 0
            with self.locked():
                return self._take_in(self.path, self._positions())
        except BrokenStoreError:
            with self.locked():
                try:
                    return self._take_in(self.path, self._positions())
                except BrokenStoreError:
                    return self._rebuild(self.path)

    def query(self, sql: str, params: Parameters = ()) -> pa.Table:
        """Answer one SELECT over the views, the spool's news included; whole sums come back as 64-bit integers.

        Raises InputError for SQL that is wrong, names an unknown view, or would do anything but read the store.
        """
        require_reading(sql)
        self.ingest()
        try:
            return self._read(sql, params)
        except BrokenStoreError:
            self.rebuild()
        try:
            return self._read(sql, params)
        except BrokenStoreError as error:
            raise ScaleproofError(f"The store failed, made anew as well: {error}") from None

    def rows(self, sql: str, params: Parameters = ()) -> list[dict[str, Any]]:
        """Like `query`, as a list of dictionaries of plain Python values."""
        return [
            {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}
            for row in self.query(sql, params).to_pylist()
        ]

    def fact(self, name: str) -> object:
        """What was recorded last under this name in `facts`, read from its JSON; None where nothing was."""
        rows = self.rows("select value from facts where name = $name", {"name": name})
        return json.loads(rows[0]["value"]) if rows else None

    def rebuild(self, target: Path | None = None) -> Path:
        """Make the database anew from the spool, aside, then rename it to `target` (the store itself by default)."""
        target = target or self.path
        with self.locked():
            self._rebuild(target)
        return target

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other ingest, rebuild and compaction of this study out."""
        busy = "Another process ({pid}) has been taking in this study's results for too long; end it, then run again."
        return exclusive(self.study / ".store.lock", self._patience_seconds, busy)

    def positions(self) -> dict[str, Position]:
        """How far each spool file was taken in, by name below the spool folder."""
        try:
            return self._positions()
        except BrokenStoreError:
            return {}

    def _known_positions(self) -> dict[str, Position]:
        """Positions as last read, as long as nobody has written the database since: opening it costs some 30 ms."""
        stamp = _stamp(self.path), _stamp(_wal(self.path))
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, self._positions()
        return self._known[1]

    def _positions(self) -> dict[str, Position]:
        with opened(self.path, read_only=True, patience_seconds=self._patience_seconds) as connection:
            try:
                version, made_by = _first(connection, "SELECT version, digest FROM store_schema")
                if version > SCHEMA_VERSION:
                    raise InputError(
                        f"{self.study} was made by a newer scaleproof (its schema is {version}, this one reads"
                        f" {SCHEMA_VERSION}); upgrade scaleproof."
                    )
                if made_by != digest():
                    raise BrokenStoreError
                return _positions(connection)
            except duckdb.CatalogException:
                raise BrokenStoreError from None
            except duckdb.Error as error:
                raise translated(error) from error

    def _rebuild(self, target: Path) -> int:
        aside = target.with_name(f".{target.name}.aside")
        try:
            lines = self._build(aside)
            # The old write-ahead log must not be replayed on the new database. The lock keeps writers away from it.
            _wal(target).unlink(missing_ok=True)
            aside.replace(target)
            sync_folder(target.parent)
        except BrokenStoreError as error:
            raise ScaleproofError(f"Cannot make the store {target} from the spool: {error}.") from None
        except OSError as error:
            raise refused(f"make the store {target}", error) from None
        finally:
            _remove(aside)
        return lines

    def _build(self, path: Path) -> int:
        _remove(path)
        with opened(path, read_only=False, patience_seconds=self._patience_seconds) as connection:
            try:
                connection.begin()
                connection.execute("; ".join(statements()))
                connection.execute("INSERT INTO store_schema VALUES (?, ?)", [SCHEMA_VERSION, digest()])
                connection.commit()
            except duckdb.Error as error:
                raise translated(error) from error
        return self._take_in(path, {})

    def _take_in(self, path: Path, positions: dict[str, Position]) -> int:
        lines = 0
        while pieces := read_new(self.spool, positions, _BATCH_BYTES):
            records = typed(pieces)
            moved = {piece.spool_file: piece.end for piece in pieces}
            with opened(path, read_only=False, patience_seconds=self._patience_seconds) as connection:
                try:
                    connection.begin()
                    for kind, rows in records.tables.items():
                        _insert(connection, table(kind), rows)
                    _insert(connection, "rejected_lines", records.rejected)
                    _move(connection, moved)
                    connection.commit()
                except duckdb.Error as error:
                    raise translated(error) from error
            positions = positions | moved
            lines += sum(len(piece.lines) for piece in pieces)
        return lines

    def _read(self, sql: str, params: Parameters) -> pa.Table:
        with opened(self.path, read_only=True, patience_seconds=self._patience_seconds) as connection:
            return answer(connection, sql, params)


def _first(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    if row is None:
        raise BrokenStoreError
    return row


def _positions(connection: duckdb.DuckDBPyConnection) -> dict[str, Position]:
    found = connection.execute("SELECT spool_file, bytes, lines FROM spool_positions").fetchall()
    return {name: Position(bytes_, lines) for name, bytes_, lines in found}


def _insert(connection: duckdb.DuckDBPyConnection, into: str, rows: pa.Table) -> None:
    if len(rows):
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO {into} BY NAME SELECT * FROM incoming")
        connection.unregister("incoming")


def _move(connection: duckdb.DuckDBPyConnection, moved: dict[str, Position]) -> None:
    names, ends = list(moved), list(moved.values())
    rows = pa.table({"spool_file": names, "bytes": [end.bytes for end in ends], "lines": [end.lines for end in ends]})
    connection.register("moved", rows)
    connection.execute("DELETE FROM spool_positions WHERE spool_file IN (SELECT spool_file FROM moved)")
    connection.unregister("moved")
    _insert(connection, "spool_positions", rows)


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _remove(database: Path) -> None:
    for file in (database, _wal(database)):
        file.unlink(missing_ok=True)


def _wal(path: Path) -> Path:
    return Path(f"{os.fspath(path)}.wal")
