"""The study folder: made, opened, locked by one command at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import InputError, ScaleproofError
from data.study import Study

SETTINGS = {"ladder": {"rungs": [1, 2]}, "corpus": {"source": "python", "max_bytes": None}, "note": 'a "quoted" é'}


def test_settings_come_back_as_they_were_given(tmp_path: Path) -> None:
    Study.create(tmp_path / "deep" / "study", SETTINGS)
    opened = Study.open(tmp_path / "deep" / "study")
    assert opened.settings == {"ladder": {"rungs": [1, 2]}, "corpus": {"source": "python"}, "note": 'a "quoted" é'}
    assert all(folder.is_dir() for folder in (opened.recipes, opened.tokens, opened.spool, opened.runs))


def test_a_study_is_not_made_over_another(tmp_path: Path) -> None:
    Study.create(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="already"):
        Study.create(tmp_path, {})
    assert Study.open(tmp_path).settings["note"] == SETTINGS["note"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (None, "not a study"),
        ("a = ", "not valid TOML"),
        ("schema_version = 99", "newer scaleproof"),
        ('schema_version = "x"', "newer scaleproof"),
    ],
)
def test_what_cannot_be_opened_is_said_why(tmp_path: Path, toml: str | None, said: str) -> None:
    if toml is not None:
        (tmp_path / "study.toml").write_text(toml)
    with pytest.raises(InputError, match=said):
        Study.open(tmp_path)


def test_a_missing_study_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study"):
        Study.open(tmp_path / "nowhere")


def test_a_file_in_the_way_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot make a study"):
        Study.create(tmp_path / "file" / "study", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_study_is_said_so(tmp_path: Path) -> None:
    Study.create(tmp_path / "study", {})
    (tmp_path / "study").chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        Study.open(tmp_path / "study")


HOLD = """
import sys
from data.study import Study
with Study.open(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_command_is_told_who_is_at_work_and_a_dead_one_frees_the_study(tmp_path: Path) -> None:
    study = Study.create(tmp_path, {})
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(ScaleproofError, match=f"process {holder.pid}"), study.lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with study.lock():
        assert Study.open(tmp_path) == study


def test_each_command_and_each_attempt_writes_its_own_spool_file(tmp_path: Path) -> None:
    study = Study.create(tmp_path, {})
    with study.writer() as first, study.writer() as second:
        assert (first.path.name, second.path.name) == ("study.1.jsonl", "study.2.jsonl")
    attempt, writer = study.run_writer("a")
    writer.close()
    assert (attempt, writer.path) == (1, study.runs / "a.1.jsonl")


def test_a_recipe_is_kept_once(tmp_path: Path) -> None:
    study = Study.create(tmp_path, {})
    path = study.save_recipe("abc", "x = 'é'\n")
    assert study.save_recipe("abc", "something else") == path
    assert path.read_text("utf-8") == "x = 'é'\n"
    assert list(study.recipes.iterdir()) == [path]


def test_a_report_is_current_until_the_store_changes(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s", {})
    for path in (study.database, study.report_md, study.report_html):
        assert not study.report_is_current
        path.touch()
        os.utime(path, ns=(0, 1_000 if path == study.database else 2_000))
    assert study.report_is_current
    os.utime(study.database, ns=(0, 3_000))
    assert not study.report_is_current
