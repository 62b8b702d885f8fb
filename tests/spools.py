"""Spools for tests: random lines, and a whole database as comparable rows."""

import json
from pathlib import Path
from typing import Any

import duckdb
from hypothesis import strategies as st

from data.schema import KINDS

_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=6) | st.just("\ud800"),
    "note": st.text(max_size=6) | st.lists(st.integers(), max_size=2),
    "json": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    | st.sampled_from(["{", "[1]", "x", "NaN", '"\ud800"']),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2.0, 1e6]),
    "real": st.floats(allow_nan=True) | st.integers(-(10**30), 10**30),
    "boolean": st.booleans(),
}
_WRONG = st.sampled_from(["wrong", 1.5, True, [1], {"a": 1}, 2**70, "\x00"])


@st.composite
def records(draw: st.DrawFn, kinds: tuple[str, ...] = tuple(KINDS)) -> bytes:
    """One line, whole: mostly a record of the schema, now and then with a wrong value or a column nobody knows."""
    kind = draw(st.sampled_from(kinds))
    record: dict[str, Any] = {"kind": kind, "written_at": draw(st.floats(0, 2e9))}
    names = draw(st.lists(st.sampled_from(sorted(KINDS[kind].columns)), unique=True, max_size=6))
    for name in names:
        record[name] = draw(st.one_of(st.none(), *[_VALUES[KINDS[kind].columns[name]]] * 8, _WRONG))
    if draw(st.booleans()):
        record["column_of_tomorrow"] = 1
    return json.dumps(record).encode() + b"\n"


def lines() -> st.SearchStrategy[bytes]:
    """Lines as a spool may hold them, junk included."""
    junk = st.sampled_from(
        [b"\n", b"{}\n", b"[1]\n", b'{"kind":"nope"}\n', b"\xff\xfe\n", b'{"kind":"run","ru\n', b"[" * 99999]
    )
    return st.one_of(*[records()] * 9, junk.map(lambda line: line.rstrip(b"\n") + b"\n"))


def contents(database: Path) -> dict[str, list[str]]:
    """Every table of a database, its rows in a fixed order."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}").fetchall())) for name in tables}


def taken_in(database: Path) -> list[tuple[str, int]]:
    """File and line of every row, rejected lines included; sorted."""
    with duckdb.connect(str(database), read_only=True) as connection:
        tables = [f"record_{kind}" for kind in KINDS] + ["rejected_lines"]
        union = " UNION ALL ".join(f"SELECT spool_file, spool_line FROM {name}" for name in tables)
        return sorted(connection.execute(union).fetchall())
