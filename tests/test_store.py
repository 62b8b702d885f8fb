"""The store: what goes in comes out once, whoever reads, whenever it is interrupted, and nobody writes by SQL."""

import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spools import contents, lines, taken_in

from data.errors import InputError, ScaleproofError
from data.schema import KINDS, VIEWS
from data.spool import SpoolWriter
from data.store import Store

FILES = ("study.1.jsonl", "runs/a.1.jsonl", "runs/b.2.jsonl")
SLOW = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


def make_study(folder: Path) -> Store:
    (folder / "spool" / "runs").mkdir(parents=True)
    return Store(folder)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_study(tmp_path / "study")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A study that its tests only read."""
    store = make_study(tmp_path_factory.mktemp("ready") / "study")
    append(store.spool / "study.1.jsonl", b'{"kind":"run","run_id":"a\'; DROP"}\n')
    store.ingest()
    return store


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


@SLOW
@given(st.lists(st.tuples(st.sampled_from(FILES), lines(), st.none() | st.floats(0, 1)), min_size=1, max_size=24))
def test_ingested_piece_by_piece_equals_rebuilt_row_for_row(written: list[tuple[str, bytes, float | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = make_study(Path(folder, "study"))
        for number, (name, line, cut) in enumerate(written):
            torn = len(line) if cut is None else int(cut * len(line))
            append(store.spool / name, line[:torn])
            if number % 8 == 0:
                store.ingest()
            append(store.spool / name, line[torn:])
        append(store.spool / "study.1.jsonl", b'{"kind":"run","torn')
        store.ingest()
        assert store.ingest() == 0
        rebuilt = store.rebuild(Path(folder, "rebuilt.duckdb"))
        assert contents(rebuilt) == contents(store.path)
        whole = [
            (name, number)
            for name in FILES
            for number, line in enumerate([line for file, line, _ in written if file == name], 1)
            if line.strip()
        ]
        assert taken_in(store.path) == sorted(whole)


def test_values_arrive_as_they_were_written(store: Store) -> None:
    with SpoolWriter(store.spool / "study.1.jsonl") as writer:
        writer.append("run", run_id="a", flops=6 * 10**22, params=2**53 + 1, seed=2**63 - 1, horizon=1e6, val_loss=2.5)
        writer.append(
            "trial", trial_id="t", status="kept", knobs={"lr": 0.1}, title="é\x00\n", placebo=False, patch="{"
        )
        for name, value in {"a": "a digest", "b": json.dumps("a digest"), "c": [1, 2], "d": json.dumps([1, 2])}.items():
            writer.append("fact", name=name, value=value)
    (run,) = store.rows("SELECT flops, params, seed, horizon, val_loss, val_bpb FROM runs")
    assert run == {
        "flops": 6e22,
        "params": 2**53 + 1,
        "seed": 2**63 - 1,
        "horizon": 10**6,
        "val_loss": 2.5,
        "val_bpb": None,
    }
    (finding,) = store.rows("SELECT finding_id, knobs->>'lr' AS lr, title, patch FROM findings")
    assert finding == {"finding_id": "t", "lr": "0.1", "title": "é\x00\n", "patch": "{"}
    facts = [json.loads(row["value"]) for row in store.rows("SELECT value FROM facts ORDER BY name")]
    assert facts == ["a digest", "a digest", [1, 2], [1, 2]]
    assert store.rows("SELECT sum(horizon) AS tokens FROM runs") == [{"tokens": 10**6}]


def test_a_line_of_the_wrong_type_is_listed_and_its_neighbours_kept(store: Store) -> None:
    spool = store.spool / "study.1.jsonl"
    good = b'{"kind":"run","run_id":"a","rung":0}\n'
    append(spool, good + b'{"kind":"run","run_id":"b","rung":"first"}\nnonsense\n{"kind":"walk"}\n' + good)
    assert store.rows("SELECT run_id FROM runs") == [{"run_id": "a"}]
    assert store.rows("SELECT spool_line, reason FROM rejected_lines ORDER BY spool_line") == [
        {"spool_line": 2, "reason": "rung is not integer"},
        {"spool_line": 3, "reason": "not a JSON object"},
        {"spool_line": 4, "reason": "unknown kind"},
    ]


def test_views_show_the_latest_attempt_of_a_run_and_the_latest_record_of_the_rest(store: Store) -> None:
    with SpoolWriter(store.spool / "runs" / "a.2.jsonl") as second:
        second.append("run", run_id="a", attempt=2, status="running")
        second.append("point", run_id="a", attempt=2, name="loss", step=5, value=2.0)
    with SpoolWriter(store.spool / "runs" / "a.1.jsonl") as first:
        first.append("run", run_id="a", attempt=1, status="failed")
        first.append("point", run_id="a", attempt=1, name="loss", step=5, value=9.0)
        first.append("point", run_id="a", attempt=1, name="loss", step=4, value=3.0)
        first.append("gate", arm="stack", rung=1, decision="more")
        first.append("gate", arm="stack", rung=1, decision="go")
        first.append("trial", trial_id="p", status="kept", placebo=True)
    assert store.rows("SELECT attempt, status FROM runs") == [{"attempt": 2, "status": "running"}]
    assert store.rows("SELECT step, value FROM curves ORDER BY step") == [
        {"step": 4, "value": 3.0},
        {"step": 5, "value": 2.0},
    ]
    assert store.rows("SELECT decision FROM gates") == [{"decision": "go"}]
    assert store.rows("SELECT * FROM findings") == []


def test_every_view_answers_on_an_empty_study(store: Store) -> None:
    assert (
        store.rows(" UNION ALL ".join(f"SELECT count(*) AS rows FROM {view}" for view in VIEWS)) == [{"rows": 0}] * 20
    )
    assert {kind.view for kind in KINDS.values()} < set(VIEWS)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO record_run (run_id) VALUES ('x')",
        "DELETE FROM record_run",
        "DROP VIEW runs",
        "CREATE TEMP TABLE t AS SELECT 1",
        "COPY runs TO 'out.csv'",
        "EXPORT DATABASE 'out'",
        "ATTACH 'other.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET enable_external_access = true",
        "CHECKPOINT",
        "EXPLAIN ANALYZE INSERT INTO record_run (run_id) VALUES ('x')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('study.toml')",
        "SELECT * FROM glob('*')",
    ],
)
def test_sql_that_writes_or_reaches_out_is_refused(ready: Store, sql: str) -> None:
    before = ready.path.read_bytes()
    with pytest.raises(InputError, match="read-only"):
        ready.query(sql)
    assert ready.path.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT nothing FROM runs", "nothing"),
        ("SELECT * FROM run_table", "no view run_table; the views are aa, calibrations"),
        ("SELECT 1; SELECT 2", "one SQL statement"),
        ("", "one SQL statement"),
        ("SELECT 'a'::INT", "Could not convert"),
        ("SELECT * FROM runs WHERE run_id = ?", "parameters"),
    ],
)
def test_wrong_sql_is_an_input_error_of_one_line(ready: Store, sql: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        ready.query(sql)
    assert "\n" not in str(caught.value)


def test_parameters_are_bound(ready: Store) -> None:
    assert ready.rows("SELECT count(*) AS runs FROM runs WHERE run_id = ?", ["a'; DROP"]) == [{"runs": 1}]
    assert ready.rows("SELECT count(*) AS runs FROM runs WHERE run_id = $run", {"run": "b"}) == [{"runs": 0}]


@pytest.mark.parametrize("damage", [b"", b"not a database" * 999, None])
def test_a_broken_store_is_made_anew_from_the_spool(store: Store, damage: bytes | None) -> None:
    append(store.spool / "study.1.jsonl", b'{"kind":"run","run_id":"a"}\n' * 50)
    store.ingest()
    whole = contents(store.path)
    store.path.write_bytes(store.path.read_bytes()[:5000] if damage is None else damage)
    assert Store(store.study).rows("SELECT run_id FROM runs") == [{"run_id": "a"}]
    assert contents(store.path) == whole


def test_a_store_of_another_schema_is_rebuilt_and_a_newer_one_refused(store: Store) -> None:
    append(store.spool / "study.1.jsonl", b'{"kind":"run","run_id":"a"}\n')
    store.ingest()
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("UPDATE store_schema SET version = 0, digest = 'old'")
        connection.execute("ALTER TABLE record_fact DROP COLUMN value")
    assert store.rows("SELECT value FROM facts") == []
    assert store.rows("SELECT run_id FROM runs") == [{"run_id": "a"}]
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("UPDATE store_schema SET version = 999")
    with pytest.raises(InputError, match="newer scaleproof"):
        store.rows("SELECT run_id FROM runs")


def test_no_study_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study"):
        Store(tmp_path / "nowhere")


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_store_held_elsewhere_is_waited_for_then_said_so(store: Store) -> None:
    store.ingest()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(ScaleproofError, match="Another process has held"):
        Store(store.study, patience_seconds=0.05).rows("SELECT 1")
    holder.communicate()
    assert store.rows("SELECT 1 AS one") == [{"one": 1}]


INGEST_UNTIL_KILLED = """
import sys
import data.store

move = data.store._move
batches = iter(range(3))

def stop(connection, moved):
    batch = next(batches)
    if batch == 2 and sys.argv[2] == "before":
        print("rows are in", flush=True), sys.stdin.read()
    move(connection, moved)
    if batch == 2:
        print("positions are in", flush=True), sys.stdin.read()

data.store._BATCH_BYTES = 1500
data.store._move = stop
data.store.Store(sys.argv[1]).ingest()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_ingest_killed_in_its_transaction_loses_and_doubles_nothing(store: Store, moment: str) -> None:
    store.ingest()
    for name in FILES:
        append(store.spool / name, b"".join(b'{"kind":"point","run_id":"a","step":%d}\n' % step for step in range(100)))
    command = [sys.executable, "-c", INGEST_UNTIL_KILLED, str(store.study), moment]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert 0 < len(taken_in(store.path)) < 300
    store.ingest()
    assert taken_in(store.path) == [(name, line) for name in sorted(FILES) for line in range(1, 101)]


WRITE = """
import sys
from pathlib import Path
from data.spool import SpoolWriter
with SpoolWriter(Path(sys.argv[1])) as writer:
    for step in range(6000):
        writer.append("point", run_id="a", attempt=1, name="loss", step=step, value=1.0)
"""

READ = """
import sys
from data.store import Store
store = Store(sys.argv[1], patience_seconds=60)
for _ in range(5):
    (row,) = store.rows("SELECT count(*) AS points, coalesce(max(step) + 1, 0) AS steps FROM curves")
    assert row["points"] == row["steps"], row
"""


def test_several_processes_read_while_another_writes(store: Store) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITE, store.spool / "runs" / "a.1.jsonl"])
    readers = [subprocess.Popen([sys.executable, "-c", READ, store.study]) for _ in range(2)]
    assert [process.wait(120) for process in (writer, *readers)] == [0, 0, 0]
    assert store.rows("SELECT count(*) AS points FROM curves") == [{"points": 6000}]
    assert len(taken_in(store.path)) == 6000
