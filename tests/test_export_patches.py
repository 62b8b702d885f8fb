"""Findings leave a study as patches and as a branch; git itself says whether they are what was found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from report_fixture import write_spool
from tiny import BASELINE, entry, patched

from analysis.export_branch import Branch, export_branch
from analysis.export_patches import export_patches
from data.errors import InputError, ScaleproofError
from data.study import Study
from scaling.edits import Edit, Recipe, merge_all, unified_diff

HOSTILE_TITLE = "[x] =?utf-8?q?=0AFrom:_evil?= \u202e naïve <b>\nFrom: evil <e@e>"
HOSTILE_TEXT = "It helps.\n---\ndiff --git a/evil b/evil\n--- /dev/null\n+++ b/evil\n@@ -0,0 +1 @@\n+evil\nFrom evil"
KNOB = Edit(knobs={"learning_rate": 0.0123}).apply(BASELINE)
# Only line feeds end lines for git; and the last line has none.
ODD = Recipe(BASELINE.source.rstrip("\n") + "\n# one\x0ctwo\u2028three")
FINDINGS = {
    "qk-norm-e0003-2": ("Query-key normalisation", "Logits stay small.", entry("qk-norm")),
    "faster-0001": (HOSTILE_TITLE, HOSTILE_TEXT, KNOB),
    "odd-0002": ("Odd line ends", "", ODD),
    "squared": ("Squared units", "Sparser.", entry("squared-relu")),
    "swiglu": ("Gated units", "Gates.", entry("swiglu")),
}


def finding_id(slug: str) -> str:
    return f"{slug}-{FINDINGS[slug][2].hash[:6]}"


def write_study(path: Path, slugs: list[str], **changes: Any) -> Path:
    """A study with these findings, the first the strongest, and a verdict on the first."""
    study = Study.create(path, {})
    records: list[dict[str, Any]] = []
    for place, slug in enumerate(slugs):
        title, hypothesis, recipe = FINDINGS[slug]
        study.save_recipe(recipe.hash, recipe.text)
        effect = 0.03 - 0.004 * place
        trial: dict[str, Any] = {
            "trial_id": finding_id(slug),
            "title": title,
            "hypothesis": hypothesis,
            "recipe_hash": recipe.hash,
        }
        trial |= {"patch": unified_diff(BASELINE, recipe), "effect": effect, "effect_low": effect - 0.002}
        trial |= {"effect_high": effect + 0.002, "pairs": 8, "status": "kept", "proposer": "claude", "z": 4.5}
        records.append({"kind": "trial", "written_at": 1.7e9 + place, "category": "model", **trial, **changes})
    arm = f"alone:{records[0]['trial_id']}"
    told: dict[str, Any] = {"arm": arm, "axis": "seconds", "rung": 2, "written_at": 1.8e9}
    records.append({"kind": "verdict", "verdict": "shrinks", "fragile": True, **told})
    records.append({"kind": "saving", "saving": 0.12, "saving_low": 0.08, "saving_high": 0.16, **told})
    call = {"kind": "llm_call", "written_at": 1.6e9, "purpose": "propose", "output_tokens": 9}
    records.append({**call, "request_id": "e0003.t1", "model": "claude-large"})
    records.append({**call, "request_id": "e0033.t1", "model": "claude-small"})
    write_spool(path, records)
    return path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", ["qk-norm-e0003-2", "faster-0001", "odd-0002", "squared", "swiglu"])


def git(folder: Path, *arguments: str) -> str:
    own = {**os.environ, **{f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    done = subprocess.run(["git", *arguments], cwd=folder, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def repository(folder: Path) -> Path:
    """A repository of somebody's own that holds the baseline."""
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "recipe.py").write_text(BASELINE.text, encoding="utf-8", newline="")
    git(folder, "add", "recipe.py")
    git(folder, "commit", "-qm", "baseline")
    return folder


def held(folder: Path) -> Recipe:
    return Recipe.from_text((folder / "recipe.py").read_bytes().decode())


@pytest.mark.parametrize("way", ["am", "apply"])
def test_each_patch_gives_the_recipe_that_was_run(tmp_path: Path, study: Path, way: str) -> None:
    paths = export_patches(study, tmp_path / "patches")
    assert [path.name[:5] for path in paths] == ["0001-", "0002-", "0003-", "0004-", "0005-"]
    mine = repository(tmp_path / "mine")
    for path, (slug, (_, _, recipe)) in zip(paths, FINDINGS.items(), strict=True):
        assert finding_id(slug) in path.name
        git(mine, way, "-q", str(path)) if way == "am" else git(mine, way, str(path))
        assert held(mine).hash == recipe.hash
        assert [one.name for one in mine.iterdir() if one.name != ".git"] == ["recipe.py"]
        git(mine, "reset", "-q", "--hard", git(mine, "rev-list", "--max-parents=0", "HEAD").strip())


def test_a_commit_tells_hypothesis_and_evidence(tmp_path: Path, study: Path) -> None:
    first, *_ = export_patches(study, tmp_path / "patches")
    mine = repository(tmp_path / "mine")
    git(mine, "am", "-q", str(first))
    told = git(mine, "log", "-1", "--format=%an%n%ad%n%s%n%b", "--date=unix").splitlines()
    assert told[:3] == ["scaleproof", "1700000000", "Query-key normalisation"]
    told = " ".join(line.strip() for line in told).split("Hypothesis: ")
    assert told[1].startswith("Logits stay small. ")
    for part in ("+0.03 nats per token", "90 % interval +0.028 to +0.032, 8 pairs, z = 4.5",
                 "Verdict on seconds: shrinks, fragile; saves 12 % (8 to 16 %) at rung 2",
                 "Proposer: claude, claude-large", f"Trial: {finding_id('qk-norm-e0003-2')}"):  # fmt: skip
        assert part in told[1]


def test_a_hostile_finding_cannot_write_its_own_mail(tmp_path: Path, study: Path) -> None:
    patch = export_patches(study, tmp_path / "patches")[1]
    mine = repository(tmp_path / "mine")
    git(mine, "am", "-q", str(patch))
    assert git(mine, "show", "--name-only", "--format=%an %ae").split() == [
        "scaleproof", "findings@scaleproof.invalid", "recipe.py"
    ]  # fmt: skip
    subject = git(mine, "log", "-1", "--format=%s").strip()
    # git am takes words in brackets off the beginning of any subject.
    assert subject == "=?utf-8?q?=0AFrom:_evil?= naïve <b> From: evil <e@e>"
    assert "--- diff --git a/evil b/evil" in " ".join(git(mine, "log", "-1", "--format=%b").split())


def test_patches_of_an_earlier_export_go_and_other_files_stay(tmp_path: Path, study: Path) -> None:
    folder = tmp_path / "patches"
    before = {path.name: path.read_bytes() for path in export_patches(study, folder)}
    theirs = [folder / "0001-theirs.patch", folder / "notes.txt"]
    for path in theirs:
        path.write_text("mine\n")
    assert {path.name: path.read_bytes() for path in export_patches(study, folder)} == before
    fewer = export_patches(write_study(tmp_path / "other", ["squared"]), folder)
    assert sorted(folder.iterdir()) == sorted([*fewer, *theirs])


def test_a_finding_of_another_baseline_keeps_its_own_patch(tmp_path: Path, study: Path) -> None:
    changed = patched("def build_model(", "# the user's own\ndef build_model(")
    (study / "recipe.py").write_text(changed.text, encoding="utf-8")
    for path, (_, _, recipe) in zip(export_patches(study, tmp_path / "patches"), FINDINGS.values(), strict=True):
        if recipe is not ODD:
            assert unified_diff(BASELINE, recipe) in path.read_text(encoding="utf-8")
    exported = export_branch(study, tmp_path / "repository")
    assert exported.commits == []
    assert set(exported.left_out) == {finding_id(slug) for slug in FINDINGS}


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
    with pytest.raises(InputError, match="other content"):
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


def test_a_study_without_findings_has_no_patch_and_no_branch(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", ["squared"], status="dropped")
    assert export_patches(study, tmp_path / "patches") == []
    with pytest.raises(InputError, match="no finding yet"):
        export_branch(study, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_a_finding_whose_recipe_is_gone_is_named(tmp_path: Path, study: Path) -> None:
    (study / "recipes" / f"{KNOB.hash}.py").unlink()
    with pytest.raises(ScaleproofError, match=KNOB.hash):
        export_patches(study, tmp_path / "patches")


def test_exporting_loads_no_torch(tmp_path: Path, study: Path) -> None:
    script = (
        "import json, pathlib, sys; from analysis.export_branch import export_branch; "
        "export_branch(*map(pathlib.Path, sys.argv[1:])); print(json.dumps(list(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(study), str(tmp_path / "repository")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not {"torch", "lightning"} & set(json.loads(done.stdout))
