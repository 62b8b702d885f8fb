"""The researcher's window on the store: what it shows, and what hostile SQL cannot do."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from report_fixture import demo_records, write_spool

from data.store import Store
from search.claude.query import SEEN, Window
from search.claude.settings import QueryLimits

CANARY = "canary-of-the-key"
LIMITS = QueryLimits(seconds=60.0, rows=50, characters=8_000, megabytes=128)
IMPATIENT = QueryLimits(seconds=4.0, megabytes=128)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    shards = {"screen": "search", "confirm": "confirm", "pair": "final"}
    records = [
        {**one, "shard": shards.get(one["purpose"], "final")} if one["kind"] == "run" else one for one in demo_records()
    ]
    records.append({"kind": "llm_call", "written_at": 1.0, "request_id": "e0001.t1", "cost_usd": 0.5, "answer": CANARY})
    looked = {"kind": "trial", "effect": 0.1234, "effect_low": 0.1, "z": 3.2, "p_value": 0.01, "q_value": 0.02}
    for pairs in (1, 2):
        told = {"status": "dropped", "pairs": pairs, "reason": f"z = 3.20 after {pairs}", "written_at": 2.0}
        records.append({**looked, **told, "trial_id": f"looked-{pairs}"})
    return write_spool(folder, records)


@pytest.fixture(scope="module")
def window(study: Path) -> Iterator[Window]:
    os.environ["ANTHROPIC_API_KEY"] = CANARY
    with Window(Store(study), LIMITS) as opened:
        yield opened
    del os.environ["ANTHROPIC_API_KEY"]


def ask(window: Window, sql: str) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(window.ask(sql))
    return reply


def test_a_question_is_answered_with_columns_and_rows(window: Window) -> None:
    reply = ask(window, "select category, count(*) as tried from trials group by category order by tried desc limit 2")
    assert reply.get("columns") == ["category", "tried"], reply
    assert len(reply["rows"]) == 2
    assert "note" not in reply


@pytest.mark.parametrize("view", SEEN)
def test_every_view_that_is_promised_can_be_read(window: Window, view: str) -> None:
    assert ask(window, f"select count(*) from {view}")["columns"] == ["count_star()"]


def test_no_run_of_a_confirmation_or_of_a_larger_rung_is_to_be_seen(window: Window, study: Path) -> None:
    assert Store(study).rows("select count(*) as n from runs where shard <> 'search' and rung = 0")[0]["n"] > 0
    reply = ask(window, "select count(*), count(distinct shard), min(shard), max(rung) from runs")
    assert "rows" in reply, reply
    (counted,) = reply["rows"]
    assert counted[0] > 0
    assert counted[1:] == [1, "search", 0]
    beyond = "select count(*) from curves where run_id not in (select run_id from runs)"
    assert ask(window, beyond).get("rows") == [[0]], ask(window, beyond)


def test_a_trial_that_was_looked_at_after_one_pair_is_told_without_its_numbers(window: Window) -> None:
    columns = "status, pairs, effect, effect_low, z, p_value, q_value, reason"
    once, twice = ask(window, f"select {columns} from trials where trial_id like 'looked-%' order by pairs")["rows"]
    assert once == ["dropped", 1, *[None] * 5, "dropped after one pair"]
    assert twice == ["dropped", 2, 0.1234, 0.1, 3.2, 0.01, 0.02, "z = 3.20 after 2"]


def test_recorded_answers_and_other_tables_are_not_there(window: Window) -> None:
    assert CANARY not in window.ask("select * from llm_calls")
    for name in ("record_run", "record_llm_call", "facts", "study.runs"):
        assert "error" in ask(window, f"select * from {name}")


def test_long_answers_are_cut_and_say_so(window: Window) -> None:
    reply = ask(window, "select range as n from range(1000)")
    assert len(reply["rows"]) == LIMITS.rows
    assert "first 50 rows" in reply["note"]
    wide = window.ask("select repeat('x', 900) as x from range(40)")
    assert len(wide) < LIMITS.characters + 300
    assert "8000 characters" in json.loads(wide)["note"]
    assert len(window.ask("select repeat('x', 1000000)")) < LIMITS.characters


HOSTILE = {
    "reads a file": "select * from read_csv('/etc/passwd')",
    "reads a file's text": "select * from read_text('/proc/self/environ')",
    "reads a file by its name": "select * from '/etc/passwd'",
    "lists files": "select * from glob('/*')",
    "reads over the network": "select * from read_parquet('http://127.0.0.1:1/x.parquet')",
    "writes a file": "copy (select 1) to '/tmp/scaleproof-was-here.csv'",
    "writes a file from a select": "select * from (copy (select 1) to '/tmp/scaleproof-was-here.csv')",
    "attaches": "attach '/tmp/scaleproof-was-here.duckdb' as other",
    "installs": "install httpfs",
    "loads": "load json",
    "unlocks": "set enable_external_access = true",
    "unlocks by pragma": "pragma enable_external_access",
    "resets": "reset lock_configuration",
    "reads the environment": "select getenv('ANTHROPIC_API_KEY')",
    "changes rows": "delete from trials",
    "makes a table": "create table mine as select 1",
    "two statements": "select 1; drop table trials",
    "not SQL": "give me the key",
    "nothing": "",
    "exports": "export database '/tmp/scaleproof-was-here'",
    "imports Python": "select * from window",
}


@pytest.mark.parametrize("sql", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_statements_get_one_sentence(window: Window, sql: str) -> None:
    reply = ask(window, sql)
    assert set(reply) == {"error"}
    assert "\n" not in reply["error"]
    assert CANARY not in str(reply)
    assert not list(Path("/tmp").glob("scaleproof-was-here*"))
    assert ask(window, "select count(*) > 0 from trials")["rows"] == [[True]]


ENDLESS = {
    "recursion": "with recursive a as (select 1 as x union all select x + 1 from a) select max(x) from a",
    "cross join": "select count(*) from range(100000) a, range(100000) b, range(100000) c",
    "a list of everything": "select list(a.range) from range(100000) a, range(100000) b",
    "a long text": "select length(lpad('x', 2000000000, 'y'))",
    "a text of texts": "select string_agg(repeat('x', 1000000), '') from range(10000)",
}


@pytest.mark.parametrize("sql", ENDLESS.values(), ids=ENDLESS.keys())
def test_a_query_without_end_is_ended_and_the_next_one_answered(study: Path, sql: str) -> None:
    before = psutil.Process().memory_info().rss
    with Window(Store(study), IMPATIENT) as window:
        assert set(ask(window, sql)) == {"error"}
        assert psutil.Process().memory_info().rss - before < 100 << 20
        assert ask(window, "select count(*) > 0 from trials")["rows"] == [[True]]


def test_the_copy_is_of_the_moment_of_the_first_question(study: Path) -> None:
    store = Store(study)
    count = "select count(*) from trials"
    with Window(store, LIMITS) as first:
        before = ask(first, count)["rows"][0][0]
        write_spool(study, [{"kind": "trial", "trial_id": "new", "status": "dropped", "written_at": 2.0}], "later")
        assert ask(first, count)["rows"] == [[before]]
    with Window(store, LIMITS) as second:
        assert ask(second, count)["rows"] == [[before + 1]]


def test_nothing_is_left_running(study: Path) -> None:
    with Window(Store(study), LIMITS) as window:
        window.ask("select 1")
        process = window._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() is not None
