"""The process behind the researcher's window: copies in memory, one SELECT a line, one line of JSON back."""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any, BinaryIO

import duckdb
import psutil
import pyarrow as pa

from data.connection import READER, first_line
from data.errors import InputError
from data.reading import require_reading

CELL_CHARACTERS = 1_000
ALLOWANCE = 512 << 20
_CONFIG = {**READER, "threads": "1", "max_temp_directory_size": "0KB"}
_CONFIG.pop("lock_configuration")  # the copies come first


def main() -> None:
    """Read the limits from the arguments, the copies and the questions from standard input; answer until it ends."""
    limits, tables = json.loads(sys.argv[1]), int(sys.argv[2])
    connection = duckdb.connect(":memory:", config={**_CONFIG, "memory_limit": f"{limits['megabytes']}MB"})
    for _ in range(tables):
        _take_in(connection, sys.stdin.buffer)
    connection.execute("SET lock_configuration = true")
    _limit_memory(limits["megabytes"] << 20)
    _say({"ready": True})
    for line in sys.stdin.buffer:
        _limit_time(limits["seconds"])
        _say(answer(connection, json.loads(line), limits["rows"], limits["characters"]))


def answer(connection: duckdb.DuckDBPyConnection, sql: str, rows: int, characters: int) -> dict[str, Any]:
    """Columns, rows and a note of what was cut to fit; or one sentence of what is wrong."""
    try:
        require_reading(sql)
        done = connection.execute(sql)
        columns = [column[0] for column in done.description or ()]
        found = done.fetchmany(rows + 1)
    except InputError as error:
        return {"error": _short(str(error))}
    except duckdb.PermissionException:
        return {"error": "SQL here reaches the copied views alone: no files, extensions, settings or network."}
    except duckdb.Error as error:
        return {"error": _short(first_line(error))}
    except MemoryError:
        return {"error": "The query took too much memory; ask for less."}
    return _fitted(columns, [[_cell(value) for value in row] for row in found], rows, characters)


def _fitted(columns: list[str], found: list[list[Any]], rows: int, characters: int) -> dict[str, Any]:
    """As many rows as fit in both limits, the columns' names counted too."""
    shown: list[list[Any]] = []
    left = characters - len(json.dumps(columns))
    for row in found[:rows]:
        left -= len(json.dumps(row)) + 2
        if left < 0:
            break
        shown.append(row)
    reply: dict[str, Any] = {"columns": columns if len(json.dumps(columns)) <= characters else [], "rows": shown}
    if len(shown) < len(found):
        why = f"{rows} rows" if len(shown) == rows else f"{characters} characters"
        reply["note"] = (
            f"Only the first {len(shown)} rows are shown, the limit being {why}; aggregate, or ask for less."
        )
    return reply


def _cell(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < float("inf") else None
    if value is None or isinstance(value, bool | int):
        return value
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= CELL_CHARACTERS else f"{text[:CELL_CHARACTERS]} ... ({len(text)} characters)"


def _take_in(connection: duckdb.DuckDBPyConnection, source: BinaryIO) -> None:
    name, size = json.loads(source.readline())
    rows = pa.ipc.open_stream(pa.py_buffer(source.read(size))).read_all()
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM incoming")
    connection.unregister("incoming")


def _limit_memory(more: int) -> None:
    """Let the process grow by little over `more` bytes: DuckDB does not count all against its own limit.

    The allocator takes addresses ahead of what it uses, hence the allowance.
    """
    most = psutil.Process().memory_info().vms + more + ALLOWANCE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time(seconds: float) -> None:
    """End the process should it outlive the one that asks, whose clock is the stricter."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + 2 * seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _say(reply: dict[str, Any]) -> None:
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
