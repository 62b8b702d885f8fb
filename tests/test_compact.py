"""Compaction: fewer files, the same rows, whatever happens in between."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spools import contents, lines, taken_in

from data.compact import compact
from data.spool import SpoolWriter, new_attempt
from data.store import Store

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.lists(lines(), max_size=5), st.booleans()), max_size=4
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "spool").mkdir()
    return Store(tmp_path)


def attempt(store: Store, run_id: str, status: str, junk: bytes = b"") -> Path:
    number, path = new_attempt(store.spool, f"runs/{run_id}")
    with SpoolWriter(path) as writer:
        writer.append("run", run_id=run_id, attempt=number, status="running")
        writer.append("point", run_id=run_id, attempt=number, name="loss", step=1, value=2.0)
    with path.open("ab") as file:
        file.write(junk)
    with SpoolWriter(path) as writer:
        writer.append("run", run_id=run_id, attempt=number, status=status)
    return path


def spool_files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.spool / "runs").glob("*.jsonl"))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(ACTIONS)
def test_compacted_at_any_moment_the_rows_stay(actions: list[tuple[str, list[bytes], bool]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "spool").mkdir()
        store = Store(folder)
        for run_id, junk, now in actions:
            attempt(store, run_id, "finished" if now else "failed", b"".join(junk))
            if now:
                compact(store)
        store.ingest()
        everything = taken_in(store.path)
        assert len(everything) == len(set(everything))
        assert len(everything) == sum(3 + sum(bool(line.strip()) for line in junk) for _, junk, _ in actions)
        assert contents(store.rebuild(Path(folder, "rebuilt.duckdb"))) == contents(store.path)


def test_every_attempt_of_ended_runs_is_packed_and_nothing_else(store: Store) -> None:
    attempt(store, "a", "failed")
    attempt(store, "a", "finished")
    attempt(store, "b", "diverged")
    attempt(store, "c", "failed")
    assert compact(store, minimum_files=4) == 0
    assert compact(store) == 3
    assert spool_files(store) == ["c.1.jsonl"]
    assert compact(store) == 0
    assert store.rows("SELECT run_id, attempt, status FROM runs ORDER BY run_id") == [
        {"run_id": "a", "attempt": 2, "status": "finished"},
        {"run_id": "b", "attempt": 1, "status": "diverged"},
        {"run_id": "c", "attempt": 1, "status": "failed"},
    ]


def test_open_or_torn_files_are_left_alone(store: Store) -> None:
    torn = attempt(store, "torn", "finished")
    with torn.open("ab") as file:
        file.write(b'{"kind":')
    with SpoolWriter(attempt(store, "open", "finished")):
        assert compact(store) == 0
    assert compact(store) == 1
    assert spool_files(store) == ["torn.1.jsonl"]


def test_an_attempt_that_was_packed_is_not_given_again(store: Store) -> None:
    attempt(store, "a", "finished")
    compact(store)
    assert new_attempt(store.spool, "runs/a")[0] == 2
    assert new_attempt(store.spool / "runs", "a")[0] == 3


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("call", range(6))
def test_killed_between_any_two_steps_nothing_is_lost_or_doubled(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    attempt(store, "a", "finished")
    attempt(store, "b", "finished")
    store.ingest()
    before = taken_in(store.path)
    steps = 0

    def fsync(handle: int) -> None:
        killable()
        real_fsync(handle)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        killable()
        real_unlink(path, missing_ok)

    def replace(path: Path, target: Path) -> Path:
        killable()
        return real_replace(path, target)

    def killable() -> None:
        nonlocal steps
        steps += 1
        if steps > call:
            raise KilledError

    real_fsync, real_unlink, real_replace = os.fsync, Path.unlink, Path.replace
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        patched.setattr(Path, "unlink", unlink)
        patched.setattr(Path, "replace", replace)
        with pytest.raises(KilledError):
            compact(store)
    assert taken_in(store.rebuild()) == before
    compact(store)
    store.ingest()
    assert spool_files(store) == []
    assert len(list(store.spool.glob("*"))) == 2
    assert taken_in(store.path) == taken_in(store.rebuild()) == before
