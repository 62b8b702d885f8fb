"""The researcher's window on the store: one SELECT at a time over copies, in a process that holds nothing else.

DuckDB's own limits do not hold: one call of lpad takes gigabytes and most of a minute, memory limit and interruption
notwithstanding. So the copies live in a process of their own, with an empty environment, a limit on its memory and a
clock outside that kills it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import TracebackType
from typing import Self

import pyarrow as pa

from data.store import Store
from search.claude.settings import QueryLimits

_VISIBLE_RUNS = "rung = 0 AND shard = 'search'"
# A trial that was looked at after one confirmation pair has its effect from that run alone.
_NOT_OF_ONE_PAIR = ("effect", "effect_low", "effect_high", "z", "p_value", "q_value")
_VISIBLE_TRIALS = (
    "SELECT * REPLACE ("
    + ", ".join(f"CASE WHEN pairs IS DISTINCT FROM 1 THEN {name} END AS {name}" for name in _NOT_OF_ONE_PAIR)
    + ", CASE WHEN pairs = 1 THEN status || ' after one pair' ELSE reason END AS reason) FROM trials"
)
SEEN = {
    "trials": _VISIBLE_TRIALS,
    "findings": "SELECT * FROM findings",
    "runs": f"SELECT * FROM runs WHERE {_VISIBLE_RUNS}",
    "curves": f"SELECT * FROM curves WHERE run_id IN (SELECT run_id FROM runs WHERE {_VISIBLE_RUNS})",
    "verdicts": "SELECT * FROM verdicts",
    "savings": "SELECT * FROM savings",
    "forecasts": "SELECT * FROM forecasts",
    "slopes": "SELECT * FROM slopes",
    "aa": "SELECT * FROM aa",
    "llm_calls": "SELECT * EXCLUDE (answer, error) FROM llm_calls",
}
"""What the researcher may see: of runs those that screened on rung 0, never one that confirmed or was promoted."""


class Window:
    """Answers questions over the store as it stood at the first of them; used in a `with` block."""

    def __init__(self, store: Store, limits: QueryLimits) -> None:
        """A window on `store`; nothing is copied before the first question."""
        self._store, self._limits = store, limits
        self._process: subprocess.Popen[bytes] | None = None
        self._copies: bytes | None = None

    def ask(self, sql: str) -> str:
        """The answer to one SELECT as JSON: columns, rows and a note of what was cut, or an error."""
        process = self._running()
        timer = threading.Timer(self._limits.seconds, process.kill)
        timer.start()
        try:
            line = self._exchange(process, sql)
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            self.close()
            took = f"more than {self._limits.seconds:g} s or {self._limits.megabytes} MB"
            return json.dumps({"error": f"The query took {took} and was ended; ask for less."})
        return line.decode().rstrip("\n")

    def close(self) -> None:
        """End the process; a later question starts another one with the same copies."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        """Use the window in a `with` block that closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it and forget the copies."""
        self.close()
        self._copies = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._copies is None:
            self._copies = b"".join(_copy(name, self._store.query(sql)) for name, sql in SEEN.items())
        if self._process is not None and self._process.poll() is not None:
            self.close()  # the clock struck just after its last answer
        if self._process is None:
            self._process = _start(self._limits)
            self._send(self._process, self._copies)
            # A process that fell over at the start answers nothing, and the question says so.
            assert self._process.stdout is not None
            self._process.stdout.readline()
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], sql: str) -> bytes:
        self._send(process, json.dumps(sql).encode() + b"\n")
        assert process.stdout is not None
        return process.stdout.readline()

    @staticmethod
    def _send(process: subprocess.Popen[bytes], message: bytes) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(message)
            process.stdin.flush()
        except BrokenPipeError:
            return  # the answer that does not come tells


def _start(limits: QueryLimits) -> subprocess.Popen[bytes]:
    settings = limits.model_dump_json()
    command = [sys.executable, "-I", "-m", "search.claude.desk", settings, str(len(SEEN))]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True
    )


def _copy(name: str, rows: pa.Table) -> bytes:
    """One line of JSON with the name and the size, then that many bytes of Arrow's stream format."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    body: bytes = sink.getvalue().to_pybytes()
    return json.dumps([name, len(body)]).encode() + b"\n" + body
