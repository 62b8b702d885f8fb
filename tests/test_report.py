"""The report: from the store alone, the same every time, and safe against what a trial wrote."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from report_fixture import FINDINGS, crossing_records, demo_records, write_spool

from analysis import chart_savings
from analysis.bench_tables import bracket_sentence
from analysis.charts import PICTURES
from analysis.evidence import read_evidence
from analysis.regime import regime
from analysis.report import refresh_report, render_report, write_report
from analysis.style import make_scene, short_labels, specification
from analysis.wording import change_text, measured_text
from data.errors import InputError
from data.store import Store

HOSTILE = '<script>alert(1)</script> | "x" [a](http://e.x) <img src=x onerror=y>\n# head'


class Page(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study, with one finding whose title is hostile; its report is written."""
    records = demo_records()
    for record in records:
        if record.get("trial_id") == FINDINGS[0][0]:
            record["title"] = HOSTILE
        if record["kind"] == "verdict" and record["finding_id"] == FINDINGS[0][0]:
            record["reason"] = HOSTILE
    path = write_spool(tmp_path_factory.mktemp("hostile"), records)
    write_report(path)
    return path


@pytest.fixture(scope="module")
def page(study: Path) -> Page:
    return Page((study / "report.html").read_text())


def test_nothing_a_trial_wrote_becomes_markup(study: Path, page: Page) -> None:
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text


def test_what_carries_the_stack_is_told_by_member(page: Page) -> None:
    assert "What carries the stack" in page.text
    carried = page.text.partition("What carries the stack")[2].partition("How to read it")[0]
    assert carried.index("11 % (") < carried.index(FINDINGS[1][1]), "the member that adds most comes first"
    assert carried.index(FINDINGS[1][1]) < carried.index("−1 % (")


@pytest.mark.parametrize(
    ("value", "said"), [(-0.02, "is undertuned here"), (-0.004, "no side is better"), (None, "not bracketed")]
)
def test_an_undertuned_baseline_is_called_so(tmp_path: Path, value: float | None, said: str) -> None:
    records = [
        {**record, "value": value} if str(record.get("name", "")).startswith("bracket_") else record
        for record in demo_records()
    ]
    assert said in bracket_sentence(read_evidence(Store(write_spool(tmp_path, records))))


def test_nothing_a_trial_wrote_becomes_markdown(study: Path) -> None:
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    page = Page(reader.render((study / "report.md").read_text()))
    assert "script" not in page.tags
    assert "a" not in page.tags
    assert page.tags.count("h1") == 1
    assert {value for name, value in page.attributes if name == "src"} == {f"report/{one.name}.svg" for one in PICTURES}
    assert "<script>alert(1)</script>" in page.text


def test_every_markdown_table_keeps_its_columns(study: Path) -> None:
    lines = (study / "report.md").read_text().splitlines()
    tables = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert len(tables) > 30
    for before, after in pairwise(lines):
        if before.startswith("|") and after.startswith("|"):
            assert before.replace("\\|", "").count("|") == after.replace("\\|", "").count("|")


def test_the_page_needs_no_network(page: Page) -> None:
    reaching = {"src", "href", "xlink:href", "data", "action", "srcset"}
    assert not [pair for pair in page.attributes if pair[0] in reaching and not pair[1].startswith("#")]
    assert page.tags.count("svg") == len(PICTURES)
    assert "link" not in page.tags


def test_ids_of_several_pictures_do_not_meet(page: Page) -> None:
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_sql_shown_is_the_sql_that_ran(study: Path, page: Page) -> None:
    markdown = (study / "report.md").read_text()
    for picture in PICTURES:
        assert picture.sql in page.text
        assert f"```sql\n{picture.sql}\n```" in markdown
        assert Store(study).rows(picture.sql)


def test_pictures_stand_beside_the_markdown(study: Path) -> None:
    markdown = (study / "report.md").read_text()
    for picture in PICTURES:
        assert f"](report/{picture.name}.svg)" in markdown
        ElementTree.parse(study / "report" / f"{picture.name}.svg")


def test_a_second_report_changes_nothing(study: Path) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in _files(study)}
    path, changed = refresh_report(study)
    assert path == study / "report.html"
    assert not changed
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in _files(study)}


def test_a_new_record_makes_a_new_report(tmp_path: Path) -> None:
    study = write_spool(tmp_path, demo_records(until="search"))
    write_report(study)
    fact = {"kind": "fact", "written_at": 2e9, "name": "corpus", "value": json.dumps({"digest": "sha256:other"})}
    write_spool(study, [fact], name="later")
    assert refresh_report(study)[1]
    assert "sha256:other" in (study / "report.html").read_text()


def test_a_study_that_was_only_searched_says_what_is_missing(tmp_path: Path) -> None:
    files = render_report(write_spool(tmp_path, demo_records(until="search")))
    assert set(files) == {"report/trials.svg", "report/cost.svg", "report.md", "report.html"}
    for sentence in ("There is no verdict yet", "No landing run has been made yet.", "No forecast has been made yet.",
                     "No A/A pair has been run yet", "No saving has been measured above rung 0 yet"):  # fmt: skip
        assert sentence in files["report.html"]
        assert sentence in files["report.md"]


def test_an_empty_study_has_a_report_without_numbers(tmp_path: Path) -> None:
    page = Page(render_report(write_spool(tmp_path, []))["report.html"])
    assert "Nothing is known yet: no trial has been run." in page.text
    assert "svg" not in page.tags


def test_numbers_that_are_missing_stay_missing(tmp_path: Path) -> None:
    records = [record for record in demo_records() if record["kind"] not in ("run", "aa")]
    for record in records:
        if record["kind"] in ("saving", "forecast"):
            record.update(saving=None, saving_low=None, saving_high=None)
    files = render_report(write_spool(tmp_path, records))
    assert "nan" not in Page(files["report.html"]).text.lower().split()
    assert "report/savings.svg" not in files
    assert "the stack has no measured saving there" in files["report.md"]


def test_a_folder_that_is_no_study_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report(tmp_path / "nowhere")


def _files(study: Path) -> Iterator[Path]:
    yield from (study / "report.html", study / "report.md", *sorted((study / "report").iterdir()))


def test_an_arm_has_one_colour_and_two_of_one_title_stay_apart() -> None:
    findings = [{"finding_id": f"t{number}", "title": "Same title"} for number in range(12)]
    scene = make_scene(findings, None)
    looks = {(scene.colour(f"alone:t{number}"), scene.shapes[f"alone:t{number}"]) for number in range(12)}
    assert len(looks) == 12
    assert scene.colour("alone:t3") == scene.colour("without:t3")
    assert len(set(short_labels(scene.titles, 20).values())) == len(scene.titles)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose arms were run to where they meet the baseline's loss; some did not. Its top is in transition."""
    path = write_spool(tmp_path_factory.mktemp("crossed"), crossing_records())
    write_report(path)
    return path


def told(study: Path) -> tuple[str, str]:
    """The text of the page and of the Markdown, which say the same."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    texts = (
        Page((study / "report.html").read_text()).text,
        Page(reader.render((study / "report.md").read_text())).text,
    )
    return texts[0].replace("\u00a0", " "), texts[1]


def test_a_bound_is_worded_alike_wherever_it_stands(crossed: Path) -> None:
    for text in told(crossed):
        verdicts = text.partition("Verdicts")[2].partition("How to read it")[0]
        assert verdicts.count("at least 87.5 %") == 3, "on each axis"
        assert verdicts.count("loses at least 12 %") == 3
        assert "no forecast, since the top rung's saving is only known to be at least 87.5 %." in text
        assert "that it loses at least 12 % there." in text
        assert "2 arms did not meet the baseline's loss within the horizons" in text
    assert "seconds at 0.4M: at least 87.5 %" in (crossed / "report" / "savings.svg").read_text()


def test_an_arm_with_a_bound_alone_has_no_forecast(crossed: Path) -> None:
    for text in told(crossed):
        forecast = text.partition("Error, top rung left out")[2].partition("no forecast")[0]
        assert FINDINGS[0][1] in forecast
        assert FINDINGS[1][1] not in forecast.rpartition("points")[0]


def test_the_retention_has_its_interval_and_the_margin(crossed: Path) -> None:
    page, markdown = told(crossed)
    assert "−0.13[−0.19, −0.07]" in page
    assert "−0.13 [−0.19, −0.07]" in markdown
    for text in (page, markdown):
        assert "the interval lies within ±0.026; ±0.05 for Query-key normalisation." in text


def test_a_transition_is_said_in_the_first_paragraph(crossed: Path) -> None:
    page, markdown = told(crossed)
    first = page.partition("Verdicts")[0]
    assert "At 0.4M params (16 tokens per parameter) the baseline's loss still falls faster" in first
    assert "The largest saving there whose crossing the arm's own runs bracket is the stack's 23 % of training" in first
    assert regime(read_evidence(Store(crossed))) in markdown.partition("Verdicts")[0]
    for text in (page, markdown):
        assert "Tokens per param" in text


def test_the_largest_saving_that_is_bracketed_may_be_a_findings(crossed: Path) -> None:
    evidence = read_evidence(Store(crossed))
    for row in evidence.savings:
        if row["arm"] == "stack":
            row["bound"], row["saving"] = "at least", None
    assert f"is that of “{FINDINGS[0][1]}”, 14 % of training time" in regime(evidence)
    for run in evidence.horizons:
        run["shortest"] = 1.0
    assert "No gain at 0.4M params is bracketed by runs." in regime(evidence)


def test_only_rungs_that_judge_make_a_regime(crossed: Path) -> None:
    evidence = read_evidence(Store(crossed))
    for row in evidence.slopes:
        row["transition"] = row["rung"] == 1
    assert regime(evidence) == "", "rung 1 gates, and no verdict speaks of it"


def test_a_study_from_before_the_crossing_renders_as_it_did(study: Path) -> None:
    assert regime(read_evidence(Store(study))) == ""
    for text in told(study):
        assert "in a transition" not in text
        assert "within ±" not in text
        assert "−0.130" in text, "a retention that has no interval"
        assert "no forecast, since" not in text


def test_a_bound_is_drawn_as_an_arrow_without_a_point(crossed: Path) -> None:
    store = Store(crossed)
    evidence = read_evidence(store)
    chart = chart_savings.draw(store.rows(chart_savings.SQL), make_scene(evidence.findings, evidence.smallest_saving))
    assert chart is not None
    drawn = [row for group in specification(chart)["datasets"].values() for row in json.loads(group)]
    bounds = [row for row in drawn if row["part"] == "bound"]
    assert {(row["arm"], row["opens"]) for row in bounds} == {("alone:t07", "up"), ("alone:t16", "down")}
    for row in bounds:
        up = row["opens"] == "up"
        assert row["arrow_from"] == (row["saving_low"] if up else row["saving_high"])
        assert (row["arrow_to"] > row["arrow_from"]) == up
    assert all(row["saving"] is not None for row in drawn if row["part"] == "measured")
    assert not [row for row in drawn if row["part"] == "forecast" and row["arm"] in {"alone:t07", "alone:t16"}]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.875, None, "at least 87.5 %"),
        (0.9376, None, "at least 93.7 %"),
        (-0.05, None, "at least −5 %"),
        (None, -0.1299, "loses at least 12.9 %"),
        (None, -1.0, "loses at least 100 %"),
        (None, 0.031, "at most 3.1 %"),
        (None, None, "–"),
    ],
)
def test_a_bound_never_claims_more_than_it_is(low: float | None, high: float | None, said: str) -> None:
    assert measured_text({"bound": "at least", "saving": None, "saving_low": low, "saving_high": high}) == said


def test_a_change_shows_as_many_places_as_its_interval_needs() -> None:
    assert change_text(-0.12, -0.3, 0.06) == "−0.12 [−0.30, 0.06]"
    assert change_text(-0.0031, -0.012, 0.0058) == "−0.003 [−0.012, 0.006]"
    assert change_text(-0.001, -0.3, 0.3) == "0.00 [−0.30, 0.30]"
    assert change_text(None, None, None) == "–"
