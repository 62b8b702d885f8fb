"""From spool files to typed tables: the new whole lines, each value checked against the schema."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.schema import KINDS
from data.spool import COMPACTED, Position, compacted_files
from data.values import column

START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines of one spool file that were not read before, and where they end."""

    spool_file: str
    first_line: int
    lines: list[bytes]
    end: Position


@dataclass(frozen=True, slots=True)
class Records:
    """Typed rows by kind, and the lines that are not a record with the reason."""

    tables: dict[str, pa.Table]
    rejected: pa.Table


def unread(spool: Path, positions: dict[str, Position]) -> list[Path]:
    """Spool files that may hold unread lines, compacted ones first; only looks at their sizes."""
    found = [path for path in sorted(spool.glob(COMPACTED)) if path.name not in positions]
    for prefix, folder in (("", spool), ("runs/", spool / "runs")):
        for name, size in sorted(_sizes(folder).items()):
            if size > positions.get(prefix + name, START).bytes:
                found.append(folder / name)
    return found


def _sizes(folder: Path) -> dict[str, int]:
    sizes = {}
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            # A file that compaction removes meanwhile had been taken in whole.
            with suppress(FileNotFoundError):
                if entry.name.endswith(".jsonl"):
                    sizes[entry.name] = entry.stat().st_size
    return sizes


def read_new(spool: Path, positions: dict[str, Position], budget_bytes: int) -> list[Piece]:
    """Read the next unread whole lines, some `budget_bytes` of them; an empty list says that all is read.

    A last line without its newline is left for later, when its writer has finished it. A compacted file is read as one,
    whatever the budget; of the spool files in it, only lines past their position are given.
    """
    pieces: list[Piece] = []
    left = budget_bytes
    for path in unread(spool, positions):
        if left <= 0:
            break
        new = (
            _from_compacted(path, positions) if path.suffix == ".parquet" else _from_lines(path, spool, positions, left)
        )
        pieces += new
        # What was compacted is often there as lines too, when the process was killed in between.
        positions = positions | {piece.spool_file: piece.end for piece in new}
        left -= sum(len(line) for piece in new for line in piece.lines)
    return pieces


def _from_lines(path: Path, spool: Path, positions: dict[str, Position], budget_bytes: int) -> list[Piece]:
    name = str(path.relative_to(spool))
    start = positions.get(name, START)
    with path.open("rb") as file:
        file.seek(start.bytes)
        data = file.read(budget_bytes)
        while b"\n" not in data and (more := file.read(budget_bytes)):
            data += more
    whole, newline, _ = data.rpartition(b"\n")
    if not newline:
        return []
    lines = whole.split(b"\n")
    end = Position(start.bytes + len(whole) + 1, start.lines + len(lines))
    return [Piece(name, start.lines + 1, lines, end)]


def _from_compacted(path: Path, positions: dict[str, Position]) -> list[Piece]:
    ends = compacted_files(path)
    bodies: dict[str, list[bytes]] = {name: [] for name in ends}
    for batch in pq.ParquetFile(path).iter_batches():
        names, bytes_ = batch.column("spool_file").to_pylist(), batch.column("body").to_pylist()
        for name, body in zip(names, bytes_, strict=True):
            bodies[name].append(body)
    pieces = [Piece(path.name, 1, [], Position(path.stat().st_size, 0))]
    for name, end in ends.items():
        start = positions.get(name, START)
        if end.lines > start.lines:
            pieces.append(Piece(name, start.lines + 1, bodies[name][start.lines :], end))
    return pieces


def typed(pieces: list[Piece]) -> Records:
    """Parse lines into typed tables; a line that is not a record of the schema is listed with its reason instead.

    Unknown columns are ignored, missing ones null, empty lines skipped.
    """
    rejected: list[tuple[str, int, str]] = []
    rows: dict[str, list[dict[str, Any]]] = {}
    for spool_file, line, body in _lines(pieces):
        try:
            record = _parse(body)
        except _BadLineError as bad:
            rejected.append((spool_file, line, str(bad)))
            continue
        record["spool_file"], record["spool_line"] = spool_file, line
        rows.setdefault(record["kind"], []).append(record)
    tables = {kind: _table(kind, records, rejected) for kind, records in rows.items()}
    files, numbers, reasons = zip(*rejected, strict=True) if rejected else ((), (), ())
    columns = [pa.array(files, pa.string()), pa.array(numbers, pa.int64()), pa.array(reasons, pa.string())]
    return Records(tables, pa.table(columns, names=["spool_file", "spool_line", "reason"]))


class _BadLineError(Exception):
    """A line that is no record."""


def _lines(pieces: list[Piece]) -> Iterator[tuple[str, int, bytes]]:
    for piece in pieces:
        for number, body in enumerate(piece.lines, piece.first_line):
            if body.strip():
                yield piece.spool_file, number, body


# NaN and Infinity are not JSON; other writers' json.dumps emits them, and here they mean "no number".
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        record = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise _BadLineError("not UTF-8") from None
    except (ValueError, RecursionError):
        raise _BadLineError("not a JSON object") from None
    if not isinstance(record, dict):
        raise _BadLineError("not a JSON object")
    kind = record.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _BadLineError("unknown kind")
    return record


def _table(kind: str, records: list[dict[str, Any]], rejected: list[tuple[str, int, str]]) -> pa.Table:
    types = {"spool_file": "text", "spool_line": "integer", "written_at": "real"} | KINDS[kind].columns
    bad: dict[int, str] = {}
    columns = {
        name: column(name, type_, [record.get(name) for record in records], bad) for name, type_ in types.items()
    }
    table = pa.table(columns)
    if bad:
        rejected += [(records[row]["spool_file"], records[row]["spool_line"], bad[row]) for row in sorted(bad)]
        table = table.filter(pa.array([row not in bad for row in range(len(records))]))
    return table
