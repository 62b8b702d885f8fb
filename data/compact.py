"""Finished runs' spool files packed into few Parquet files; what a study has read stays exactly as it was."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.locks import refused, sync_folder
from data.spool import COMPACTED, COMPACTED_KEY, Position, compacted_files
from data.store import Store

# Lines in one compacted file, at most, a single larger spool file apart: it is read back as one.
_FILE_BYTES = 64 << 20

_ENDED = "SELECT DISTINCT run_id FROM runs WHERE status IN ('finished', 'diverged')"


def compact(store: Store, minimum_files: int = 1) -> int:
    """Pack the spool files of finished and diverged runs, every attempt; returns how many spool files were packed.

    Only files that the store has taken in to their last byte and that no writer holds open are packed. The Parquet
    file (columns spool_file, spool_line, body: the line's bytes) is written aside, synced and renamed before the first
    spool file is deleted; after a kill in between both are there, and each line counts once. Fewer than `minimum_files`
    are left for later. Raises ScaleproofError when the disk refuses.
    """
    ended = {row["run_id"] for row in store.rows(_ENDED)}
    with store.locked():
        _sweep(store.spool)
        positions = store.positions()
        whole = [path for path in _attempts(store.spool, ended) if _is_whole(path, store.spool, positions)]
        if len(whole) < minimum_files:
            return 0
        try:
            return sum(_pack(store.spool, group, positions) for group in _groups(whole))
        except OSError as error:
            raise refused(f"compact {store.spool}", error) from None


def _attempts(spool: Path, ended: set[str]) -> list[Path]:
    return sorted(path for path in (spool / "runs").glob("*.jsonl") if path.name.rsplit(".", 2)[0] in ended)


def _is_whole(path: Path, spool: Path, positions: dict[str, Position]) -> bool:
    taken_in = positions.get(str(path.relative_to(spool)))
    return taken_in is not None and taken_in.bytes == path.stat().st_size and not _is_open(path)


def _is_open(path: Path) -> bool:
    """Whether a writer holds the file; also true where the file system cannot tell."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _groups(paths: list[Path]) -> Iterator[list[Path]]:
    group: list[Path] = []
    size = 0
    for path in paths:
        if group and size + path.stat().st_size > _FILE_BYTES:
            yield group
            group, size = [], 0
        group.append(path)
        size += path.stat().st_size
    if group:
        yield group


def _pack(spool: Path, paths: list[Path], positions: dict[str, Position]) -> int:
    names: list[str] = []
    numbers: list[int] = []
    bodies: list[bytes] = []
    ends: dict[str, Position] = {}
    for path in paths:
        name = str(path.relative_to(spool))
        lines = path.read_bytes().split(b"\n")[:-1]
        names += [name] * len(lines)
        numbers += range(1, len(lines) + 1)
        bodies += lines
        ends[name] = positions[name]
    table = pa.table(
        {
            "spool_file": pa.array(names, pa.string()).dictionary_encode(),
            "spool_line": pa.array(numbers, pa.int64()),
            "body": pa.array(bodies, pa.binary()),
        }
    )
    index = json.dumps(ends).encode()
    _write(spool, table.replace_schema_metadata({COMPACTED_KEY: index}), index + b"\n".join(bodies))
    for path in paths:
        path.unlink()
    sync_folder(spool / "runs")
    return len(paths)


def _write(spool: Path, table: pa.Table, content: bytes) -> None:
    path = spool / COMPACTED.replace("*", hashlib.blake2b(content, digest_size=8).hexdigest())
    aside = spool / f".{path.name}.aside"
    with aside.open("wb") as out:
        pq.write_table(table, out, compression="zstd")
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)
    sync_folder(spool)


def _sweep(spool: Path) -> None:
    """Remove what an earlier compaction left when it was killed: half-written files, spool files packed already."""
    for aside in spool.glob(f".{COMPACTED}.aside"):
        aside.unlink()
    for parquet in spool.glob(COMPACTED):
        for name, end in compacted_files(parquet).items():
            with suppress(FileNotFoundError):
                if (spool / name).stat().st_size == end.bytes:
                    (spool / name).unlink()
