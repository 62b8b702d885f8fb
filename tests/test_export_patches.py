"""Findings leave a study as patches; git itself says whether they are what was found."""

import re
from pathlib import Path

import pytest
from findings_study import FINDINGS, KNOB, ODD, finding_id, git, held, repository, write_study
from tiny import BASELINE, patched

from analysis.export_branch import export_branch
from analysis.export_findings import message
from analysis.export_patches import export_patches
from data.errors import InputError, ScaleproofError
from scaling.edits import unified_diff


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study", ["qk-norm-e0003-2", "faster-e0033-1", "odd-0002", "squared", "swiglu"])


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


@pytest.mark.parametrize(
    ("low", "high", "said"), [(0.875, None, "saves at least 87.5 %"), (None, -0.12, "loses at least 12 %")]
)
def test_a_saving_of_which_a_bound_is_known_is_told_as_one(low: float | None, high: float | None, said: str) -> None:
    finding = dict.fromkeys(("finding_id", "hypothesis", "category", "proposer", "scale_rule", "source", "model"), "x")
    unknown = dict.fromkeys(("effect", "effect_low", "effect_high", "pairs", "z", "q_value", "expected_effect"))
    verdict = {"axis": "seconds", "verdict": "gains", "fragile": False, "rung": 2, "saving": None, "bound": "at least"}
    told = message(finding | unknown, [verdict | {"saving_low": low, "saving_high": high}])
    assert f"Verdict on seconds: gains; {said} at rung 2" in told


def test_no_model_is_credited_with_what_stood_in_for_it(tmp_path: Path, study: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in export_patches(study, tmp_path / "patches")]
    assert [re.findall("^Proposer: (.*)$", text, re.M) for text in texts[:2]] == [["claude, claude-large"], ["claude"]]


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
