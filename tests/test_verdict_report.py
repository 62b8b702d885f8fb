"""The page of a verdict: the answer's own numbers, safe against the names in a table, and made without a network."""

import json
import math
import re
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pytest
from arm_tables import Columns, Gain, Judge, World, arm_columns, frontier_columns
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import demo_records, write_spool
from test_report import HOSTILE, Page

from analysis import chart_inverted, chart_verdict
from analysis.chart_inverted import curve_loss
from analysis.style import to_svg
from analysis.verdict_amounts import saved_text, size_text, speedup_text, strongest_first
from analysis.verdict_frame import MOST_LABELS, speedup_ticks
from analysis.verdict_report import render_verdict_report
from analysis.verdict_sentences import arm_sentence, worth_promoting
from data.study import Study
from transfer.words import Word

GAINS: dict[str, Gain] = {"strong": (0.3, 0.2, 0.12), "steady": 0.1, "nothing": 0.0, "costly": -0.1}
BUDGETS = [1e17, 3e17, 1e18, 3e18, 1e19]
WORLD = World(sigma=0.002, seeds=3)


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path, capsys)


def judged(judge: Judge, columns: Columns, *options: str) -> tuple[dict[str, Any], Page, str]:
    """What --json says, and the page that the same call writes."""
    path = judge.path.with_suffix(".html")
    answer = judge.answer(columns, "--report", str(path), *options)
    assert answer.pop("report") == str(path)
    html = path.read_text(encoding="utf-8")
    return answer, Page(html), html


def drawn(answer: dict[str, Any]) -> str:
    """The SVG of the speed-ups."""
    chart = chart_verdict.draw(answer)
    assert chart is not None
    return to_svg(chart, "speedups")


def with_budgets(judge: Judge) -> tuple[dict[str, Any], Page, str]:
    columns = frontier_columns({"early": (1.2, 0.9, 0.6, 0.3, 0.1), "steady": 0.2}, BUDGETS, sigma=0.002)
    return judged(judge, columns, "--axis", "flops", "--sigma", "0.002", "--target", "flops=1e21")


def assert_holds(answer: dict[str, Any], page: Page) -> None:
    """Every number of the answer that the page is about stands in it."""
    text = " ".join(page.text.replace("\u00a0", " ").split())
    for arm in answer["arms"]:
        top, forecast = arm["pooled"][-1], arm["forecast"]
        wanted = [
            arm["verdict"],
            arm["reason"],
            saved_text(top).partition(" (")[2],
            size_text(answer, top),
            size_text(answer, forecast),
            *(speedup_text(one) for one in (*arm["pooled"], *arm["rungs"], forecast)),
            *(f"{cell['loss']:.4f}" for cell in arm["rungs"]),
            *(f"{one['speedup']:.2f} ({one['leave_top_rung_out_error']:+.3f})" for one in forecast["methods"].values()),
        ]
        for one in wanted:
            assert one.replace("-0.", "−0.") in text.replace("-0.", "−0."), one
    for curve in answer["baseline_curves"]:
        assert f"{curve['loss_ref']:.4g}" in text
        assert f"{curve['kappa_ref']:.3g}" in text
    for said in (*answer["warnings"], *answer["notes"]):
        assert " ".join(said.split()) in text


def test_the_page_of_seeds_and_horizons_gives_the_numbers_of_the_answer(judge: Judge) -> None:
    answer, page, _ = judged(judge, arm_columns(GAINS, WORLD))
    assert_holds(answer, page)
    assert page.tags.count("svg") == 2


def test_the_page_of_budgets_gives_the_numbers_of_the_answer(judge: Judge) -> None:
    answer, page, _ = with_budgets(judge)
    assert_holds(answer, page)
    assert page.tags.count("svg") == 2
    assert "extrapolated" in page.text, "1e21 is 100 times the largest budget"


def test_the_first_sentences_answer_whether_to_promote(judge: Judge) -> None:
    answer, page, _ = judged(judge, arm_columns(GAINS, World(sigma=0.0005, seeds=3)))
    said = page.text.partition("Pictures")[0]
    words = {one["arm"]: one["verdict"] for one in answer["arms"]}
    assert words["costly"] == "harmful"
    assert "costly is not worth promoting" in said
    assert "steady is worth promoting" in said
    assert said.index("strong is") < said.index("costly is"), "the strongest arm comes first"


def test_a_single_arm_is_answered_in_one_sentence(judge: Judge) -> None:
    _, page, html = judged(judge, arm_columns({"steady": 0.1}, WORLD))
    assert re.search(r'<p class="answer">steady is worth promoting', html)
    assert page.text.count("steady is worth promoting") == 1


@pytest.mark.parametrize("word", get_args(Word))
def test_every_word_has_a_sentence(judge: Judge, word: str) -> None:
    answer = judge.answer(arm_columns({"steady": 0.1}, WORLD))
    arm = answer["arms"][0] | {"verdict": word, "vanishing": False}
    said = arm_sentence(answer, arm)
    assert ("worth promoting" in said and "not worth" not in said) == worth_promoting(arm)
    assert saved_text(arm["pooled"][-1]) in said
    gone = arm_sentence(answer, arm | {"vanishing": True})
    assert ("none is established" in gone) == (word in {"shrinks", "inconclusive"})


def test_the_curve_in_the_answer_is_the_one_that_was_inverted(judge: Judge) -> None:
    """A saving read off the answer's curves is the saving that the answer gives."""
    answer, _, _ = with_budgets(judge)
    curve = answer["baseline_curves"][0]
    for arm in answer["arms"]:
        for cell in arm["rungs"]:
            reached = curve_loss(curve, np.array([cell["flops"] * cell["speedup"]]))
            assert reached[0] == pytest.approx(cell["loss"], abs=2e-3)
    columns = arm_columns({"steady": 0.1}, World(sigma=0.0, seeds=None))
    answer, _, _ = judged(judge, columns, "--sigma", "0.001")
    curves = {one["rung"]: one for one in answer["baseline_curves"]}
    by_the_curve = [cell for cell in answer["arms"][0]["rungs"] if cell["method"] == "by the baseline's curve"]
    assert len(by_the_curve) == 6, "at the longest horizon the arm ends beyond the baseline's losses"
    for cell in by_the_curve:
        reached = curve_loss(curves[cell["rung"]], np.array([cell["tokens"] * cell["speedup"]]))
        assert reached[0] == pytest.approx(cell["loss"], abs=1e-9)


def test_hostile_names_become_no_markup(judge: Judge) -> None:
    columns = arm_columns({HOSTILE: 0.1, "b" * 5_000: 0.05, "'); alert(1) //": 0.0, "{{ 7 * 7 }}": -0.05}, WORLD)
    _, page, html = judged(judge, columns)
    assert {"script", "img", "a"}.isdisjoint(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "b" * 2_000 not in html, "names are cut"


def test_names_that_begin_alike_have_panels_of_their_own(judge: Judge) -> None:
    answer, _, _ = judged(judge, arm_columns({"a" * 90 + str(place): 0.1 for place in range(3)}, WORLD))
    told = [element.text or "" for element in ElementTree.fromstring(drawn(answer)).iter()]
    assert sum(text.startswith("saves ") for text in told) == 3


def test_the_page_needs_no_network_and_runs_no_script(judge: Judge) -> None:
    _, page, _ = judged(judge, arm_columns(GAINS, WORLD))
    reaching = {"src", "href", "xlink:href", "data", "action", "srcset"}
    assert not [pair for pair in page.attributes if pair[0] in reaching and not pair[1].startswith("#")]
    assert {"script", "link", "img", "iframe"}.isdisjoint(page.tags)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_many_arms_are_drawn_by_the_strongest_and_told_in_the_table(judge: Judge) -> None:
    gains = {f"arm-{place}": 0.02 * place for place in range(chart_verdict.MOST_PANELS + 3)}
    answer, page, _ = judged(judge, arm_columns(gains, WORLD))
    order = [one["arm"] for one in strongest_first(answer)]
    said = {text for element in ElementTree.fromstring(drawn(answer)).iter() if (text := element.text)}
    assert set(order[: chart_verdict.MOST_PANELS]) <= said
    assert said.isdisjoint(order[chart_verdict.MOST_PANELS :])
    assert all(arm in page.text for arm in order)
    assert "3 weaker arms in the table below" in page.text


def test_an_arm_without_a_number_has_its_reason_and_no_panel(judge: Judge) -> None:
    columns = arm_columns({"steady": 0.1, "elsewhere": 0.1}, WORLD)
    columns["params"] = [
        7 * size if arm == "elsewhere" else size for arm, size in zip(columns["arm"], columns["params"], strict=True)
    ]
    answer, page, _ = judged(judge, columns)
    assert "elsewhere is not to be judged" in page.text
    assert next(one for one in answer["arms"] if one["arm"] == "elsewhere")["reason"] in page.text
    assert "elsewhere" not in drawn(answer)


def test_wild_numbers_still_make_a_page(judge: Judge) -> None:
    answer, _, _ = judged(judge, arm_columns(GAINS, WORLD))
    wild = answer["arms"][0]
    wild["pooled"][-1] |= {"speedup": 1e250, "speedup_low": None, "speedup_high": None}
    wild["forecast"] |= {"speedup": None, "speedup_low": None, "speedup_high": None}
    page = Page(render_verdict_report(json.loads(json.dumps(answer)), "scaleproof verdict runs.csv"))
    assert "1e+250" in page.text
    assert page.tags.count("svg") == 2


def test_without_any_number_the_page_says_so(judge: Judge) -> None:
    answer, _, _ = judged(judge, arm_columns(GAINS, WORLD))
    for arm in answer["arms"]:
        arm |= {"pooled": [], "rungs": [], "forecast": None, "verdict": "invalid", "retention": None}
    page = Page(render_verdict_report(answer | {"baseline_curves": []}, "scaleproof verdict runs.csv"))
    assert chart_verdict.EMPTY in page.text
    assert chart_inverted.EMPTY in page.text
    assert "None of 4 arms is shown to be worth promoting" in page.text


def test_the_command_can_be_typed_again(judge: Judge) -> None:
    columns = arm_columns({"it's": 0.1}, World(sigma=0.001, seeds=None))
    columns["optimizer used"] = columns.pop("arm")
    options = ("--column", "arm=optimizer used", "--sigma", "0.001", "--target", "params=1e9")
    _, page, _ = judged(judge, columns, *options)
    shown = page.text.partition("The command that made this page")[2].strip()
    assert shown.startswith(f"scaleproof verdict {judge.path} --sigma 0.001 --target params=1e9")
    assert "--column 'arm=optimizer used'" in shown
    assert f"--report {judge.path.with_suffix('.html')}" in shown


def test_the_text_says_where_the_page_is_and_the_same_call_writes_the_same_page(judge: Judge) -> None:
    path = judge.path.with_suffix(".html")
    columns = arm_columns(GAINS, WORLD)
    assert f"Report: {path}" in judge.text(columns, "--report", str(path))
    first = path.read_bytes()
    judge.text(columns, "--report", str(path))
    assert path.read_bytes() == first


def test_a_study_has_a_report_of_its_own(judge: Judge, tmp_path: Path) -> None:
    study = write_spool(Study.create(tmp_path / "study", {}).path, demo_records())
    path = tmp_path / "page.html"
    assert f"scaleproof report {study}" in judge.refusal(study, "--report", str(path))
    assert not path.exists()


@pytest.mark.parametrize("place", ["nowhere/page.html", "."])
def test_a_place_that_cannot_be_written_is_refused(judge: Judge, tmp_path: Path, place: str) -> None:
    refusal = judge.refusal(arm_columns({"steady": 0.1}, WORLD), "--report", str(tmp_path / place))
    assert "cannot be written" in refusal


def test_the_table_itself_is_never_overwritten(judge: Judge) -> None:
    columns = arm_columns({"steady": 0.1}, WORLD)
    refusal = judge.refusal(columns, "--report", str(judge.path))
    assert "is the table itself" in refusal
    assert judge.path.read_text().startswith("arm,")


@given(st.floats(1e-3, 0.99), st.floats(1.03, 1e3))
def test_the_axis_of_speed_ups_marks_1_and_few_round_numbers(low: float, high: float) -> None:
    ticks = speedup_ticks(low, high)
    assert 1.0 in ticks
    assert len(ticks) <= MOST_LABELS + 2
    assert all(low * 0.999 <= one <= high * 1.001 for one in ticks)
    assert all(math.isclose(one, float(f"{one:.10g}")) for one in ticks)
