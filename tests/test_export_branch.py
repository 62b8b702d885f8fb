"""Findings leave a study as a branch; git itself says whether they are what was found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from findings_study import FINDINGS, finding_id, git, held, repository, write_study
from report_fixture import write_spool
from tiny import BASELINE

from analysis.export_branch import Branch, export_branch
from data.errors import InputError
from scaling.edits import Recipe, merge_all


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", ["qk-norm-e0003-2", "faster-e0033-1", "odd-0002", "squared", "swiglu"])


def test_the_branch_stacks_the_findings_and_names_those_that_conflict(tmp_path: Path, study: Path) -> None:
    exported = export_branch(study, tmp_path / "repository")
    stack, conflicts = merge_all(BASELINE, [(BASELINE, recipe) for _, _, recipe in FINDINGS.values()])
    ids = [finding_id(slug) for slug in FINDINGS]
    assert conflicts, "two kinds of units change the same lines"
    assert list(exported.left_out) == [ids[index] for index in conflicts]
    assert exported.commits == [name for index, name in enumerate(ids) if index not in conflicts]
    assert held(tmp_path / "repository").hash == stack.hash
    subjects = git(tmp_path / "repository", "log", "--reverse", "--format=%s").splitlines()
    assert subjects[:2] == ["Baseline of the study study", "Query-key normalisation"]
    assert len(subjects) == 1 + len(exported.commits)
    first = git(tmp_path / "repository", "show", f"findings~{len(exported.commits)}:recipe.py")
    assert Recipe(first).hash == BASELINE.hash
    assert "Hypothesis: Logits stay small." in git(tmp_path / "repository", "log", "--format=%b")
    assert git(tmp_path / "repository", "status", "--porcelain") == ""


def test_a_second_export_does_nothing_and_another_place_gets_the_same_commits(
    tmp_path: Path, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export_branch(study, tmp_path / "one").changed
    assert not export_branch(study, tmp_path / "one").changed
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert export_branch(study, tmp_path / "two", "other").changed
    monkeypatch.delenv("GIT_DIR")
    assert git(tmp_path / "one", "rev-parse", "findings") == git(tmp_path / "two", "rev-parse", "other")
    assert not (tmp_path / "elsewhere").exists()


def test_later_evidence_renews_the_branch_that_an_export_left(tmp_path: Path, study: Path) -> None:
    place = tmp_path / "repository"
    before = export_branch(study, place)
    old = git(place, "rev-parse", "findings")
    verdict = {"kind": "verdict", "arm": f"alone:{finding_id('squared')}", "axis": "seconds", "verdict": "grows"}
    more = {"kind": "trial", "trial_id": "dropped-now", "status": "dropped", "proposer": "claude"}
    write_spool(study, [{**verdict, "written_at": 1.9e9}, {**more, "written_at": 1.9e9}], name="later")
    git(place, "checkout", "-qb", "mine")
    (place / "recipe.py").write_text("mine\n")
    git(place, "commit", "-qam", "mine")
    assert export_branch(study, place).changed
    assert git(place, "rev-parse", "mine~1") == old
    assert git(place, "rev-parse", "findings") != old
    assert "Verdict on seconds: grows" in git(place, "log", "findings", "--format=%b")
    assert not export_branch(study, place).changed

    git(place, "checkout", "-q", "findings")
    write_spool(study, [{"kind": "trial", "written_at": 2e9, "trial_id": finding_id("faster-e0033-1"),
                         "status": "dropped"}], name="latest")  # fmt: skip
    (place / "recipe.py").write_text("not committed\n")
    tip = git(place, "rev-parse", "findings")
    with pytest.raises(InputError, match="were changed since the last export"):
        export_branch(study, place)
    assert (git(place, "rev-parse", "findings"), (place / "recipe.py").read_text()) == (tip, "not committed\n")
    git(place, "checkout", "-q", "recipe.py")
    after = export_branch(study, place)
    assert set(before.commits) - set(after.commits) == {finding_id("faster-e0033-1")}
    assert git(place, "status", "--porcelain") == ""
    assert held(place).hash == Recipe(git(place, "show", "findings:recipe.py")).hash


def test_work_on_top_of_an_export_is_never_touched(tmp_path: Path, study: Path) -> None:
    place = tmp_path / "repository"
    export_branch(study, place)
    git(place, "checkout", "-qb", "mine")
    (place / "recipe.py").write_text("mine\n")
    git(place, "commit", "-qam", "mine")
    (place / "recipe.py").write_text("not committed\n")
    assert not export_branch(study, place).changed
    assert export_branch(study, place, "again").changed
    assert (place / "recipe.py").read_text() == "not committed\n"
    git(place, "branch", "-f", "findings", "mine")
    with pytest.raises(InputError, match="other work"):
        export_branch(study, place)
    assert git(place, "rev-parse", "findings") == git(place, "rev-parse", "mine")


def test_what_holds_other_work_is_refused(tmp_path: Path, study: Path) -> None:
    theirs = repository(tmp_path / "theirs")
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("x")
    inside = theirs / "inside"
    inside.mkdir()
    (inside / "file").write_text("x")
    for folder in (theirs, full, inside, full / "file"):
        with pytest.raises(InputError):
            export_branch(study, folder)
    assert (
        git(theirs, "for-each-ref", "--format=%(refname:short)").split()
        == git(theirs, "branch", "--show-current").split()
    )
    for name in ("-x", "a b", "", "a..b"):
        with pytest.raises(InputError, match="name of a branch"):
            export_branch(study, tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_an_export_that_was_cut_short_is_finished(tmp_path: Path, study: Path) -> None:
    place = tmp_path / "repository"
    place.mkdir()
    git(place, "init", "-q")
    exported: Branch = export_branch(study, place)
    assert exported.changed
    assert (place / "recipe.py").is_file()


def test_exporting_loads_no_torch(tmp_path: Path, study: Path) -> None:
    script = (
        "import json, pathlib, sys; from analysis.export_branch import export_branch; "
        "export_branch(*map(pathlib.Path, sys.argv[1:])); print(json.dumps(list(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(study), str(tmp_path / "repository")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {"torch", "lightning"} & set(json.loads(done.stdout))
