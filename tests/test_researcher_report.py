"""The report's section on the researcher: told from the store alone, capped, and safe against what a model wrote."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from report_fixture import demo_records, researched_records, write_spool
from scipy import stats
from test_report import HOSTILE, Page

from analysis.bench_tables import fact_table
from analysis.charts import RESEARCHER_PICTURES
from analysis.evidence import read_evidence
from analysis.report import render_report
from analysis.researcher_expectations import (
    expectation_sentences,
    hold_against,
    rank_correlation,
    scaling_sentence,
    scaling_table,
)
from analysis.researcher_rows import read_researcher
from analysis.researcher_section import MOST_IN_MARKDOWN, researcher_context
from analysis.researcher_tables import diary_lines, wilson
from data.store import Store

TRIALS = 200
WRITTEN_BY_THE_MODEL = ("title", "hypothesis", "category", "reason", "expected_scaling", "proposer")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that a model shared with the catalogue; all that its first trial and one request say is hostile."""
    records = researched_records(TRIALS)
    first = next(record for record in records if record["kind"] == "trial" and record["status"] == "kept")
    first.update(dict.fromkeys(WRITTEN_BY_THE_MODEL, HOSTILE))
    asked = next(record for record in records if record.get("stop_reason") == "refusal")
    asked.update(model=HOSTILE, refusal_category=HOSTILE)
    return write_spool(tmp_path_factory.mktemp("researched"), records)


@pytest.fixture(scope="module")
def files(study: Path) -> dict[str, str]:
    return render_report(study)


def test_nothing_that_the_model_wrote_becomes_markup(files: dict[str, str]) -> None:
    page = Page(files["report.html"])
    assert not {"script", "img", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= len(WRITTEN_BY_THE_MODEL)
    assert page.tags.count("h1") == 1


def test_nothing_that_the_model_wrote_becomes_markdown(files: dict[str, str]) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    page = Page(reader.render(files["report.md"]))
    assert not {"script", "a"} & set(page.tags)
    assert {value for name, value in page.attributes if name == "src"} <= {name for name in files if "/" in name}
    assert page.tags.count("h1") == 1
    assert "<script>alert(1)</script>" in page.text
    for before, after in pairwise(files["report.md"].splitlines()):
        if before.startswith("|") and after.startswith("|"):
            assert before.replace("\\|", "").count("|") == after.replace("\\|", "").count("|")


def test_the_diary_holds_every_trial_of_the_researcher_in_the_order_of_their_making(
    study: Path, files: dict[str, str]
) -> None:
    read = read_researcher(Store(study))
    numbers = [row["number"] for row in read.diary]
    assert numbers == sorted(numbers)
    assert {row["proposer"] for row in read.diary} == {"claude", HOSTILE}
    html = files["report.html"]
    places = [html.index(f"<dd>{row['trial_id']}</dd>") for row in read.diary]
    assert places == sorted(places)
    assert "Placebo</span>" not in html


def test_a_trial_has_the_place_in_which_its_runs_began_not_that_in_which_it_was_settled(tmp_path: Path) -> None:
    records = researched_records(30)
    kept = [record for record in records if record["kind"] == "trial" and record["status"] == "kept"]
    for record in kept:
        record["written_at"] = 3e9
    diary = read_researcher(Store(write_spool(tmp_path, records))).diary
    assert [row["trial_id"] for row in diary] == sorted(row["trial_id"] for row in diary)
    assert {row["trial_id"] for row in diary} >= {record["trial_id"] for record in kept}


def test_the_choices_of_a_mixed_search_are_counted_among_the_facts(tmp_path: Path) -> None:
    choices = [
        {"kind": "fact", "written_at": 1e9, "name": f"mixed-0:{number}", "value": json.dumps(name)}
        for number, name in enumerate(["claude", "optuna", "claude"])
    ]
    table = fact_table(read_evidence(Store(write_spool(tmp_path, [*researched_records(2), *choices]))))
    assert [list(row) for row in table.rows if row[0].startswith("mixed")] == [
        ["mixed-0.claude", "2"], ["mixed-0.optuna", "1"]
    ]  # fmt: skip


def test_a_trial_that_is_written_again_keeps_its_place(tmp_path: Path) -> None:
    records = researched_records(30)
    again = {**next(one for one in records if one["kind"] == "trial"), "reason": "looked at again", "written_at": 3e9}
    study = write_spool(tmp_path, [*records, again])
    first = read_researcher(Store(study)).diary[0]
    assert (first["number"], first["trial_id"], first["reason"]) == (1, again["trial_id"], "looked at again")


def test_markdown_tells_the_kept_and_the_latest_and_how_many_there_are(study: Path, files: dict[str, str]) -> None:
    read = read_researcher(Store(study))
    diary = files["report.md"].partition("### The researcher's diary")[2]
    lines = [line for line in diary.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(lines) == MOST_IN_MARKDOWN
    assert f"{MOST_IN_MARKDOWN} of its {len(read.diary)} trials" in diary
    shown = [int(line.split("|")[1]) for line in lines]
    assert shown == sorted(shown)
    assert {row["number"] for row in read.diary if row["status"] == "kept"} <= set(shown)
    assert read.diary[-1]["number"] in shown


def test_keep_rates_are_told_by_proposer_and_category(study: Path) -> None:
    told = researcher_context(read_researcher(Store(study)), "seconds")
    assert told is not None
    by_name = {row[0]: row[1:] for row in told["proposers"].rows}
    tried = Store(study).rows("select count(*) as n from trials where proposer = 'catalogue'")[0]["n"]
    assert by_name["catalogue"][:2] == [str(tried), "0"]
    assert list(by_name)[-1] == "placebos"
    assert by_name["catalogue"][-1] == f"0 to {100 * wilson(0, tried)[1]:.1f} %"
    assert sum(int(row[1]) for row in told["categories"].rows) == sum(
        int(row[0]) for name, row in by_name.items() if name != "placebos"
    )


@pytest.mark.parametrize(("kept", "tried"), [(5, 50), (3, 3), (0, 140), (28, 525)])
def test_the_interval_of_a_rate_is_that_of_another_implementation(kept: int, tried: int) -> None:
    other = stats.binomtest(kept, tried).proportion_ci(0.90, method="wilson")
    assert wilson(kept, tried) == pytest.approx((other.low, other.high), abs=1e-9)


@pytest.mark.parametrize(
    ("status", "reason", "repairs", "told", "in_a_cell"),
    [
        ("kept", "kept: z = 5.1 after 4 pairs", 0, "kept: z = 5.1 after 4 pairs", "z = 5.1 after 4 pairs"),
        ("dropped", "dropped at the screen: +0.1", 1, "dropped (repaired) at the screen: +0.1", "at the screen: +0.1"),
        ("rejected", "It does not apply.", 0, "rejected: It does not apply.", "It does not apply."),
        ("kept", "keptsake", 0, "kept: keptsake", "keptsake"),
        ("under way", "", 0, "under way", ""),
    ],
)
def test_an_outcome_is_told_once(status: str, reason: str, repairs: int, told: str, in_a_cell: str) -> None:
    names = ("title", "hypothesis", "category", "effect", "expected_effect", "expected_scaling")
    row = {"number": 1, "trial_id": "t", "status": status, "reason": reason, "repairs": repairs}
    (line,) = diary_lines([row | dict.fromkeys(names)])
    assert (line.told, line.reason) == (told, in_a_cell)


def test_expectations_are_held_against_what_was_measured() -> None:
    pairs = [(0.03, 0.01, "kept"), (0.02, 0.005, "kept"), (0.01, 0.002, "dropped"), (0.04, -0.01, "dropped")]
    rows: list[dict[str, Any]] = [{"expected_effect": e, "effect": m, "status": s} for e, m, s in pairs]
    rows += [{"expected_effect": 0.05, "effect": None, "status": "dropped"}]
    rows += [{"expected_effect": None, "effect": 0.01, "status": "kept"}]
    found = hold_against(rows)
    assert (found.told, found.measured, found.right_sign, found.ranks) == (5, 4, 3, None)
    assert found.optimism == pytest.approx(4.5)  # of 3, 4, 5 and never
    assert found.kept_optimism == pytest.approx(3.5)
    sentences = " ".join(expectation_sentences(found))
    assert sentences.startswith("1 of 5 trials with an expected effect showed nothing at the screen")
    assert "Of the 4 that were confirmed, 3 (75 %)" in sentences
    assert "Expected gains are 4.5 times the measured ones" in sentences


def test_gains_that_did_not_come_are_no_finite_ratio() -> None:
    rows = [{"expected_effect": 0.01, "effect": -0.001, "status": "dropped"} for _ in range(3)]
    found = hold_against(rows)
    assert found.optimism == math.inf
    assert "At least half of the expected gains did not come at all." in expectation_sentences(found)
    assert expectation_sentences(hold_against([])) == []


def test_ranks_agree_or_not() -> None:
    assert rank_correlation([1, 2, 3, 4, 5], [10, 20, 30, 40, 50]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]) == pytest.approx(-1.0)
    assert rank_correlation([1, 1, 1, 1, 1], [5, 4, 3, 2, 1]) is None


def test_what_was_expected_up_the_ladder_is_held_against_the_verdicts() -> None:
    words = [("constant", "transfers"), ("constant", "shrinks"), ("small only", "vanishes"), ("shrinks", "invalid")]
    rows = [{"expected_scaling": e, "verdict": v, "axis": "seconds"} for e, v in [*words, ("unknown", "grows")]]
    rows += [{"expected_scaling": "constant", "verdict": "grows", "axis": "tokens"}]
    table = scaling_table(rows, "seconds")
    assert [name for name, _ in table.columns[1:]] == ["grows", "shrinks", "transfers", "vanishes", "invalid"]
    assert list(table.rows[0]) == ["constant", "", "1", "1", "", ""]
    assert scaling_sentence(rows, "seconds") == "2 of 3 findings with a verdict went up the ladder as expected."
    assert scaling_sentence([], "seconds") == ""


def test_a_gain_whose_change_is_unknown_is_no_verdict_on_what_was_expected() -> None:
    rows = [{"expected_scaling": "constant", "verdict": word, "axis": "seconds"} for word in ("gains", "transfers")]
    assert scaling_sentence(rows, "seconds") == "1 of 1 finding with a verdict went up the ladder as expected."
    assert [name for name, _ in scaling_table(rows, "seconds").columns[1:]] == ["transfers", "gains"]


def test_the_picture_stands_in_the_section_with_the_sql_that_ran(study: Path, files: dict[str, str]) -> None:
    (picture,) = RESEARCHER_PICTURES
    ElementTree.fromstring(files[f"report/{picture.name}.svg"])
    assert Store(study).rows(picture.sql)
    assert f"](report/{picture.name}.svg)" in files["report.md"]
    assert f"```sql\n{picture.sql}\n```" in files["report.md"]
    assert picture.sql in Page(files["report.html"]).text


def test_a_study_without_a_researcher_has_no_such_section(tmp_path: Path) -> None:
    study = write_spool(tmp_path, demo_records(until="search"))
    assert researcher_context(read_researcher(Store(study)), "seconds") is None


def test_parts_without_rows_are_not_shown(tmp_path: Path) -> None:
    bare = [
        {name: value for name, value in record.items() if name not in ("expected_effect", "expected_scaling")}
        for record in researched_records(20)
        if record["kind"] in ("fact", "trial")
    ]
    files = render_report(write_spool(tmp_path, bare))
    html, markdown = files["report.html"], files["report.md"]
    assert "The researcher's diary" in markdown
    for absent in ("What it expected", "Tokens in", "requests cost", "expectations"):
        assert absent not in html
        assert absent not in markdown
