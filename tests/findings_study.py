"""A study with findings, written as records, and git to look at what is exported of it."""

import os
import subprocess
from pathlib import Path
from typing import Any

from report_fixture import write_spool
from tiny import BASELINE, entry

from data.study import Study
from scaling.edits import Edit, Recipe, unified_diff

HOSTILE_TITLE = "[x] =?utf-8?q?=0AFrom:_evil?= \u202e naïve <b>\nFrom: evil <e@e>"
HOSTILE_TEXT = "It helps.\n---\ndiff --git a/evil b/evil\n--- /dev/null\n+++ b/evil\n@@ -0,0 +1 @@\n+evil\nFrom evil"
KNOB = Edit(knobs={"learning_rate": 0.0123}).apply(BASELINE)
# Only line feeds end lines for git; and the last line has none.
ODD = Recipe(BASELINE.source.rstrip("\n") + "\n# one\x0ctwo\u2028three")
FINDINGS = {
    "qk-norm-e0003-2": ("Query-key normalisation", "Logits stay small.", entry("qk-norm")),
    "faster-e0033-1": (HOSTILE_TITLE, HOSTILE_TEXT, KNOB),
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
            "exchange": {"qk-norm-e0003-2": "e0003"}.get(slug),
        }
        trial |= {"patch": unified_diff(BASELINE, recipe), "effect": effect, "effect_low": effect - 0.002}
        trial |= {"effect_high": effect + 0.002, "pairs": 8, "status": "kept", "proposer": "claude", "z": 4.5}
        records.append({"kind": "trial", "written_at": 1.7e9 + place, "category": "model", **trial, **changes})
    arm = f"alone:{records[0]['trial_id']}"
    told: dict[str, Any] = {"arm": arm, "axis": "seconds", "rung": 2, "written_at": 1.8e9}
    records.append({"kind": "verdict", "verdict": "shrinks", "fragile": True, **told})
    records.append({"kind": "saving", "saving": 0.12, "saving_low": 0.08, "saving_high": 0.16, **told})
    call = {"kind": "llm_call", "written_at": 1.6e9, "purpose": "propose", "output_tokens": 9}
    records.append({**call, "request_id": "e0003.t1", "exchange": "e0003", "model": "claude-large"})
    records.append({**call, "request_id": "e0033.t1", "exchange": "e0033", "model": "claude-small"})
    repair = {"request_id": "r.x.1", "slug": "x", "exchange": "e0003", "model": "claude-small"}
    records.append({**call, **repair, "written_at": 1.61e9})
    write_spool(path, records)
    return path


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
