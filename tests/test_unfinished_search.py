"""A search that has not come to its end: nobody is told that nothing was kept, and nothing under way is an outcome."""

import json
from pathlib import Path

import pytest
from report_fixture import Record, demo_records, researched_records, unfinished_records, write_spool
from small_study import called
from test_report import Page

from analysis.answer import answer
from analysis.bench_tables import search_table
from analysis.evidence import read_evidence
from analysis.limits import limits
from analysis.report import render_report
from analysis.researcher_expectations import hold_against
from analysis.researcher_rows import read_researcher
from analysis.researcher_tables import category_table, cost_sentences, proposer_table
from data.store import Store
from data.study import Study

TRIALS = 60
NOT_SETTLED = ("kept", "unresolved")
DONE: Record = {"kind": "fact", "written_at": 3e9, "name": "search_done", "value": json.dumps("its mark")}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_spool(Study.create(tmp_path / "study", {}).path, unfinished_records(TRIALS))


def going() -> int:
    return sum(one["kind"] == "trial" and one["status"] in NOT_SETTLED for one in researched_records(TRIALS))


def said() -> str:
    return (
        f"The search is not finished: {TRIALS - going()} trials have ended and {going()} are under way, placebos "
        "counted; what is kept is settled at its end."
    )


def test_the_headline_and_the_diary_say_so(study: Path) -> None:
    assert going() > 1
    files = render_report(study)
    page, markdown = Page(files["report.html"]).text, files["report.md"]
    assert answer(read_evidence(Store(study))) == said()
    for text in (page, markdown):
        assert "None of" not in text
        diary = text.partition("The researcher's diary")[2]
        assert said() in diary
        assert "of its trials so far" in diary
        assert "under way" in diary
        assert "no finding to share it" not in text
        assert "what is kept is not settled yet" in text
    assert limits(read_evidence(Store(study)))[0] == said()
    assert ">None<" not in files["report/trials.svg"]


def test_what_is_under_way_is_no_outcome(study: Path) -> None:
    store = Store(study)
    read, evidence = read_researcher(store), read_evidence(store)
    table = search_table(evidence)
    assert [name for name, _ in table.columns][-2:] == ["under way", "Keep rate"]
    assert [sum(int(row[1]) for row in table.rows), *{row[-1] for row in table.rows}] == [TRIALS, "–"]
    for table in (proposer_table(read.worth), category_table(read.categories)):
        place = [name for name, _ in table.columns].index("Under way")
        assert sum(int(row[place]) for row in table.rows) == going()
        for row in table.rows:
            assert (row[-1] == "–") == (row[place] != "0")
    whole = read_researcher(Store(write_spool(study.with_name("whole"), researched_records(TRIALS))))
    settled = {row["trial_id"] for row in whole.diary if row["status"] in NOT_SETTLED}
    assert hold_against(read.diary).told == hold_against(whole.diary).told - len(settled)
    per_trial = next(one for one in cost_sentences(read) if one.startswith("Per trial"))
    assert per_trial.startswith(f"Per trial of its own ({len(read.diary)})"), "what is under way was paid for"


def test_what_an_earlier_search_left_is_not_under_way(study: Path) -> None:
    write_spool(study, [DONE], name="later")
    evidence = read_evidence(Store(study))
    assert answer(evidence).startswith("None of ")
    assert evidence.trials_where("given up") == going()
    assert "under way" not in render_report(study)["report.md"]


def test_a_search_that_goes_on_after_a_promotion_leaves_the_answer_and_is_told_of(tmp_path: Path) -> None:
    begun = {"kind": "trial", "written_at": 4e9, "trial_id": "x", "proposer": "catalogue", "placebo": False}
    finished = read_evidence(Store(write_spool(tmp_path / "one", demo_records())))
    going_on = read_evidence(Store(write_spool(tmp_path / "two", [*demo_records(), begun])))
    assert answer(going_on) == answer(finished)
    assert limits(going_on)[0].startswith("The search is not finished: 26 trials have ended and 1 is under way")
    searched = read_evidence(Store(write_spool(tmp_path / "three", [*demo_records(until="search"), begun])))
    assert "; 5 findings so far; what is kept is settled at its end." in answer(searched)


def test_an_export_says_why_there_is_nothing_yet(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = called(capsys, "export", study, "--patches", study / "patches")
    assert (status, out, err) == (0, "Nothing to export: the study has no finding yet.\n", f"{said()}\n")
    status, out, err = called(capsys, "export", study, "--branch", study / "branch")
    assert (status, out) == (2, "")
    assert err.endswith(f" has no finding yet, so there is nothing to export. {said()}\n")
    assert err.count("not finished") == 1
