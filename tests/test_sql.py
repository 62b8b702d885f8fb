"""`scaleproof sql`: every format, and what a hostile title cannot do."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_fixture import demo_records, write_spool

from analysis.export import export_tables
from analysis.grid import Grid, escape_markdown, to_csv, to_json, to_table
from analysis.sql import run_sql
from data.errors import InputError
from data.schema import VIEWS


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spool(tmp_path_factory.mktemp("study"), demo_records())


STATEMENT = "SELECT arm, rung, saving FROM savings WHERE axis = 'tokens' AND arm = 'stack' ORDER BY rung"


def test_all_formats_hold_the_same_rows(study: Path) -> None:
    rows = json.loads(run_sql(study, STATEMENT, "json"))
    assert [row["rung"] for row in rows] == [0, 1, 2]
    text = run_sql(study, STATEMENT, "csv")
    assert isinstance(text, str)
    assert [float(row["saving"]) for row in csv.DictReader(io.StringIO(text))] == [row["saving"] for row in rows]
    content = run_sql(study, STATEMENT, "parquet")
    assert isinstance(content, bytes)
    assert pq.read_table(io.BytesIO(content)).to_pylist() == rows
    assert str(run_sql(study, STATEMENT, "markdown")).count("\n| stack |") == 3


def test_output_goes_to_the_file_named(study: Path, tmp_path: Path) -> None:
    said = run_sql(study, STATEMENT, "parquet", tmp_path / "rows.parquet")
    assert said == f"3 rows written to {tmp_path / 'rows.parquet'}\n"
    assert pq.read_table(tmp_path / "rows.parquet").num_rows == 3
    with pytest.raises(InputError, match="cannot be written"):
        run_sql(study, STATEMENT, "csv", tmp_path / "missing" / "rows.csv")


def test_wrong_calls_are_input_errors(study: Path) -> None:
    with pytest.raises(InputError, match="take one of table, csv, json"):
        run_sql(study, STATEMENT, "excel")
    with pytest.raises(InputError):
        run_sql(study, "DROP VIEW runs")
    with pytest.raises(InputError, match="rename rung"):
        run_sql(study, "SELECT a.rung, b.rung FROM aa a JOIN aa b USING (rung)", "parquet")


def test_empty_answers_keep_their_header(study: Path) -> None:
    assert run_sql(study, "SELECT arm, rung FROM savings WHERE false", "csv") == "arm,rung\n"
    assert run_sql(study, "SELECT arm, rung FROM savings WHERE false", "json") == "[]\n"
    assert str(run_sql(study, "SELECT arm, rung FROM savings WHERE false")).endswith("0 rows\n")


@pytest.mark.parametrize("width", [30, 80, 200])
def test_a_table_fits_the_terminal(width: int) -> None:
    columns = tuple(f"column_{place}" for place in range(7))
    text = to_table(Grid(columns, [tuple([1.23456789, "a long title " * 9] * 3 + [None])] * 2), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(name in text for name in columns)


def test_a_title_cannot_steer_the_terminal_or_the_table() -> None:
    text = to_table(Grid(("title",), [("\x1b[31mred\x1b[0m\n[bold]x[/bold]",)]), 60)
    assert "\x1b" not in text
    assert "[bold]x[/bold]" in text


def test_repeated_names_and_missing_numbers_survive() -> None:
    grid = Grid(("a", "a"), [(float("nan"), None)])
    assert json.loads(to_json(grid)) == [{"a": None, "a_2": None}]
    assert to_csv(Grid(("a", "b"), [(None, "x,y")])) == 'a,b\n,"x,y"\n'


@given(st.text())
def test_escaped_text_stays_one_cell_and_never_opens_a_tag(text: str) -> None:
    escaped = escape_markdown(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert escaped.replace("\\\\", "").count("|") == escaped.replace("\\\\", "").count("\\|")


def test_sql_imports_nothing_heavy(study: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from analysis.sql import run_sql\n"
        f"run_sql(Path({str(study)!r}), 'SELECT 1')\n"
        "heavy = {'torch', 'lightning', 'altair', 'scipy', 'jinja2', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_export_writes_every_view(study: Path, tmp_path: Path) -> None:
    paths = export_tables(study, tmp_path / "out", "parquet")
    assert [path.name for path in paths] == [f"{view}.parquet" for view in VIEWS]
    assert pq.read_table(tmp_path / "out" / "trials.parquet").num_rows == 26
    first = [path.read_bytes() for path in export_tables(study, tmp_path / "out", "csv")]
    assert first == [path.read_bytes() for path in export_tables(study, tmp_path / "out", "csv")]
    with pytest.raises(InputError, match="parquet, csv, json"):
        export_tables(study, tmp_path / "out", "xlsx")
