"""The report: from the store alone, the same every time, and safe against what a trial wrote."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from report_fixture import FINDINGS, demo_records, write_spool

from analysis.bench_tables import bracket_sentence
from analysis.charts import PICTURES
from analysis.evidence import read_evidence
from analysis.report import refresh_report, render_report, write_report
from analysis.style import make_scene, short_labels
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
