"""A whole small study through the real command line: what it leaves, and that every answer can be had again."""

import csv
import html
import io
import json
import os
import re
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_study import (
    OWN_RECIPE,
    called,
    ended_before,
    finished_study,
    make_study,
    rows_without_clock,
    scaleproof,
    spool_bytes,
    start,
    write_corpus,
)

from analysis.sql import run_sql
from data.store import Store
from data.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return finished_study(tmp_path_factory)


def test_a_second_call_does_nothing_and_says_so(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    before = spool_bytes(study), study.report_html.stat().st_mtime_ns
    for command, said in (("search", "this search"), ("promote", "this promotion"), ("report", "the report")):
        status, out, err = called(capsys, command, study.path)
        assert (status, err) == (0, "")
        assert out.startswith(f"Nothing to do: {said}")
    assert (spool_bytes(study), study.report_html.stat().st_mtime_ns) == before


def test_every_view_that_a_study_fills_holds_what_it_should(study: Study) -> None:
    store = Store(study.path)
    statuses = {row["status"] for row in store.rows("select status from trials where not placebo")}
    assert statuses == {"kept", "dropped"}
    assert len(store.rows("select * from trials where placebo and status <> 'kept'")) == 1
    assert len(store.rows("select * from findings where effect_low > 0 and effect_high > effect")) == 2
    arms = {row["arm"] for row in store.rows("select distinct arm from savings")}
    assert {arm.split(":")[0] for arm in arms} >= {"alone", "stack"}
    for arm in ("stack", *(arm for arm in arms if arm.startswith("alone:"))):
        known = store.rows(
            "select distinct axis, rung from savings where arm = $arm and saving_low < saving and saving < saving_high",
            {"arm": arm},
        )
        axes = {(axis, rung) for axis in ("tokens", "flops", "seconds") for rung in (0, 1)}
        assert {(row["axis"], row["rung"]) for row in known} == axes
    assert {row["rung"] for row in store.rows("select rung from slopes where kappa > 0 and sigma > 0")} == {0, 1}
    assert {row["rung"] for row in store.rows("select rung from aa where low_99 < high_99 and not frozen")} == {0, 1}
    assert {row["rung"] for row in store.rows("select rung from powers where smallest_saving > 0")} == {0, 1}
    judged = store.rows("select arm, verdict, reason from verdicts where reason <> ''")
    assert {"stack", *(arm for arm in arms if arm.startswith("alone:"))} <= {row["arm"] for row in judged}
    methods = {row["method"] for row in store.rows("select method from forecasts where arm = 'stack'")}
    assert {"decay", "last", "mean", "linear"} <= methods
    (landing,) = store.rows("select * from landings")
    assert landing["tokens_stack"] < landing["tokens_baseline"]
    assert (landing["pairs"], landing["stands"]) == (5, landing["loss_difference_high_95"] <= landing["margin"])
    unended = store.rows("select * from runs where status <> 'finished' or val_loss is null or flops <= 0")
    assert unended == []
    assert store.rows("select * from rejected_lines") == []


def test_the_report_answers_first_and_reaches_for_nothing(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    answer, where = called(capsys, "report", study.path)[1].splitlines()[-2:]
    assert answer.startswith("Of 2 findings kept at rung 0, ")
    assert where == f"Report: {study.report_html}"
    page = study.report_html.read_text("utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", "", page)).replace("\N{NO-BREAK SPACE}", " ")
    assert " ".join(answer.split()) in " ".join(text.split())
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!["']?(?:\#|data:))|@import|url\((?!["']?(?:\#|data:))""", page)
    assert "<script" not in page


@pytest.mark.parametrize("format", ["table", "csv", "json", "markdown", "parquet"])
def test_sql_answers_in_every_format(
    study: Study, format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = "select arm, rung, saving from savings where axis = 'tokens' and arm = 'stack' order by rung"
    wanted = Store(study.path).rows(statement)
    output = tmp_path / "answer"
    status, out, err = called(capsys, "sql", study.path, statement, "--format", format, "--output", output)
    assert (status, out, err) == (0, f"2 rows written to {output}\n", "")
    if format == "parquet":
        assert pq.read_table(output).to_pylist() == wanted
        return
    text = output.read_text("utf-8")
    assert called(capsys, "sql", study.path, statement, "--format", format) == (0, text, "")
    if format == "json":
        assert json.loads(text) == wanted
    elif format == "csv":
        assert [float(row["saving"]) for row in csv.DictReader(io.StringIO(text))] == [row["saving"] for row in wanted]
    else:
        assert text.count("stack") == 2


def test_plan_and_verdict_and_doctor_speak_json(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = called(capsys, "plan", study.path, "--json")
    rungs = json.loads(out)["rungs"]
    assert (status, [one["rung"] for one in rungs]) == (0, ["a", "b"])
    assert all(0 < one["smallest_saving"] < 1 and one["params"] > 0 and one["hours"] > 0 for one in rungs)
    assert rungs[0]["rung"] in called(capsys, "plan", study.path)[1]

    words = json.loads(called(capsys, "verdict", study.path, "--json")[1])
    assert "stack" in {one["arm"] for one in words["arms"]}

    _, out, _ = called(capsys, "doctor", "--json")
    found = {one["name"]: one["ok"] for one in json.loads(out)}
    assert found["torch"] and found["duckdb"] and "git" in found


def test_a_search_is_asked_while_it_runs_keeps_others_off_and_survives_ctrl_c(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = make_study(tmp_path / "study", study.path.with_name("corpus.jsonl"))
    search = start("search", again.path, "--workers", "2")
    counted = "select count(*) as runs from runs where status = 'finished'"
    # The spool is looked at, not the store: SQL takes long enough for so small a search to end meanwhile.
    ended_before(search, lambda: finished_runs(again) >= 2)
    os.killpg(search.pid, signal.SIGSTOP)  # else a slow machine lets it end while it is being asked
    status, out, err = called(capsys, "search", again.path)
    assert (status, out) == (1, "")
    assert f"process {search.pid}" in err
    assert err.count("\n") == 1
    assert search.poll() is None, "the search was over before it could be stopped"
    os.killpg(search.pid, signal.SIGINT)
    os.killpg(search.pid, signal.SIGCONT)
    said = search.communicate()[1]
    assert search.returncode == 130
    assert said.splitlines()[-1].startswith("Stopped. What has ended is kept")
    assert "Traceback" not in said

    kept = json.loads(run_sql(again.path, counted, "json"))[0]["runs"]
    assert kept >= 2
    done = scaleproof("search", again.path, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "already made" in done.stderr
    for view in ("trials", "calibrations"):
        assert rows_without_clock(again, view) == rows_without_clock(study, view)


def finished_runs(study: Study) -> int:
    lines = [line for file in (study.path / "spool").rglob("*.jsonl") for line in file.read_text().splitlines()]
    return sum('"kind":"run"' in line and '"status":"finished"' in line for line in lines)


def test_optuna_tunes_a_recipe_of_ones_own(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl")
    study = make_study(tmp_path / "study", corpus, recipe=OWN_RECIPE, trials=3, only=None, confirm_looks=[2])
    done = scaleproof("search", study.path, "--proposer", "optuna", "--workers", "2")
    assert done.returncode == 0, done.stderr
    trials = Store(study.path).rows("select proposer, knobs, patch, status from trials where not placebo")
    assert [row["proposer"] for row in trials] == ["optuna"] * 2
    rates = [json.loads(row["knobs"]) for row in trials]
    assert all(set(knobs) == {"learning_rate"} and 1e-3 <= knobs["learning_rate"] <= 1e-1 for knobs in rates)
    assert {row["status"] for row in trials} <= {"kept", "dropped", "unresolved"}
    placebos = Store(study.path).rows("select status from trials where placebo")
    assert [row["status"] in {"dropped", "unresolved"} for row in placebos] == [True]
    again = scaleproof("search", study.path, "--proposer", "optuna")
    assert again.stdout.startswith("Nothing to do")
