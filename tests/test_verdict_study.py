"""`scaleproof verdict` on a study: the verdicts of its promotion, in the shape that a table's have."""

from pathlib import Path

import pytest
from arm_tables import Judge, has_the_keys, pooled
from report_fixture import FINDINGS, SMALLEST_SAVING, demo_records, write_spool

from data.study import Study


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path, capsys)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A promoted study whose runs were judged on several axes."""
    return made_study(tmp_path_factory.mktemp("study") / "demo", "landing")


def made_study(path: Path, until: str) -> Path:
    Study.create(path, {"transfer": {"smallest_saving": SMALLEST_SAVING}})
    return write_spool(path, demo_records(until=until))


def test_a_study_answers_with_the_same_keys(judge: Judge, study: Path) -> None:
    answer = judge.answer(study)
    has_the_keys(answer)
    assert answer["smallest_saving"] == SMALLEST_SAVING
    words = {one["arm"]: one["verdict"] for one in answer["arms"]}
    assert words == {**{f"alone:{finding}": word for finding, *_, word in FINDINGS}, "stack": "shrinks"}
    assert {one["arm"] for one in answer["interactions"]} == {"stack", "without:t03", "without:t07"}
    text = judge.text(study)
    assert "6 arms against baseline" in text
    for method in ("decay", "last", "mean", "linear"):
        assert method in text


def test_a_study_is_judged_on_one_axis_at_a_time(judge: Judge, study: Path) -> None:
    slower = {finding: slow for finding, _, _, _, slow, _ in FINDINGS}
    gains = {finding: gain for finding, _, _, gain, _, _ in FINDINGS}
    for axis, options, share in (("seconds", (), 1.0), ("tokens", ("--axis", "tokens"), 0.0)):
        answer = judge.answer(study, *options)
        assert (answer["axis"], len(answer["arms"])) == (axis, 6)
        for arm in answer["arms"][:5]:
            finding = arm["arm"].removeprefix("alone:")
            expected = [gain - share * slower[finding] for gain in gains[finding]]
            assert pooled(arm) == pytest.approx(expected)
            assert arm["forecast"]["params"] == 6_400_000


def test_a_study_takes_no_options_of_tables(judge: Judge, study: Path) -> None:
    for options in (("--sigma", "0.1"), ("--baseline", "x"), ("--target", "params=1e9"), ("--column", "arm=x")):
        assert f"{options[0]} is for a table of runs" in judge.refusal(study, *options)


def test_a_study_that_was_not_promoted_has_no_verdict(judge: Judge, tmp_path: Path) -> None:
    said = judge.refusal(made_study(tmp_path / "study", "search"))
    assert "holds no verdict yet; run `scaleproof promote" in said
