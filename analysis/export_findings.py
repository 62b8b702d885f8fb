"""A study's findings as changes to its baseline: what each edits, and the words that go with it."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from pathlib import Path
from typing import Any

from analysis.evidence import Row, Rows, clean
from analysis.grid import one_line
from analysis.wording import bounded, count_of, measured_text, shortened
from data.store import Store
from data.study import Study
from scaling import edits
from scaling.edits import Recipe
from scaling.lab import baseline_recipe
from transfer.arms import read_recipe

AUTHOR = "scaleproof"
EMAIL = "findings@scaleproof.invalid"
FILE = "recipe.py"
LINE = 76
LONGEST_SUBJECT = 100

# What stands in for a model that proposed nothing has no exchange, so that no model is credited with it.
_FINDINGS = """
WITH made AS (SELECT trial_id, min(written_at) AS made_at FROM record_trial GROUP BY trial_id),
     asked AS (SELECT exchange, arg_max(model, written_at) AS model
               FROM llm_calls WHERE exchange IS NOT NULL AND slug IS NULL AND output_tokens > 0 GROUP BY ALL)
SELECT finding_id, f.title, f.hypothesis, f.category, f.proposer, f.scale_rule, f.patch, f.recipe_hash, source,
       f.effect, f.effect_low, f.effect_high, pairs, z, q_value, expected_effect, expected_scaling, model,
       coalesce(made_at, 0) AS made_at
FROM findings f JOIN trials USING (trial_id) LEFT JOIN made USING (trial_id)
     LEFT JOIN asked ON asked.exchange = trials.exchange
ORDER BY f.effect DESC NULLS LAST, finding_id"""
_VERDICTS = """
SELECT substr(arm, 7) AS finding_id, axis, verdict, coalesce(fragile, false) AS fragile, verdicts.rung,
       saving, saving_low, saving_high, bound
FROM verdicts LEFT JOIN savings USING (arm, axis, rung)
WHERE starts_with(arm, 'alone:') ORDER BY finding_id, axis"""


@dataclass(frozen=True, slots=True)
class Change:
    """A finding to be written out: `patch` turns `base` into `recipe`; made_at in Unix seconds.

    current: whether `base` is the baseline that the study has now; where it is not, only the patch is known.
    """

    finding_id: str
    subject: str
    body: str
    made_at: int
    patch: str
    base: Recipe
    recipe: Recipe
    current: bool


def read_changes(study_path: Path) -> list[Change]:
    """Read the study's findings, strongest first.

    Raises InputError where the folder is no study, ScaleproofError when a finding's recipe is missing from it.
    """
    study = Study.open(study_path)
    store, baseline = Store(study_path), baseline_recipe(study)
    by_finding = groupby(clean(store.rows(_VERDICTS)), key=lambda row: row["finding_id"])
    verdicts: dict[str, Rows] = {finding: list(rows) for finding, rows in by_finding}
    return [
        _change(row, verdicts.get(row["finding_id"], []), baseline, read_recipe(study, row["recipe_hash"]))
        for row in clean(store.rows(_FINDINGS))
    ]


def _change(row: Row, verdicts: Rows, baseline: Recipe, recipe: Recipe) -> Change:
    current = not row["patch"] or row["patch"] == edits.unified_diff(baseline, recipe)
    return Change(
        finding_id=row["finding_id"],
        subject=shortened(one_line(row["title"] or row["finding_id"]), LONGEST_SUBJECT),
        body=message(row, verdicts),
        made_at=int(row["made_at"]),
        patch=git_diff(baseline.text, recipe.text) if current else f"diff --git a/{FILE} b/{FILE}\n{row['patch']}",
        base=baseline,
        recipe=recipe,
        current=current,
    )


def git_diff(before: str, after: str) -> str:
    """The patch from one text of the recipe to another, as git reads it: lines end at line feeds alone."""
    lines = unified_diff(_lines(before), _lines(after), f"a/{FILE}", f"b/{FILE}")
    marked = (line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return f"diff --git a/{FILE} b/{FILE}\n{''.join(marked)}"


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def message(row: Row, verdicts: Rows) -> str:
    """What a commit says below its subject: the hypothesis and the evidence.

    No line of it begins with what a trial wrote: that could end the message, or begin a patch of its own.
    """
    facts = "\n".join(_paragraph(name, text) for name, text in _facts(row, verdicts) if text)
    hypothesis = _paragraph("Hypothesis", str(row["hypothesis"] or ""))
    return f"{hypothesis}\n\n{facts}\n" if row["hypothesis"] else f"{facts}\n"


def _facts(row: Row, verdicts: Rows) -> Iterator[tuple[str, str]]:
    yield "Effect on rung 0", _effect(row)
    for one in verdicts:
        yield f"Verdict on {one['axis']}", _verdict(one)
    if not verdicts:
        yield "Verdict", "none yet: it has not been measured up the ladder"
    if row["expected_effect"] is not None:
        yield "Expected", f"{row['expected_effect']:+.4g} nats per token, with scale: {row['expected_scaling']}"
    yield "Scale rule", str(row["scale_rule"] or "")
    yield "Category", str(row["category"] or "")
    yield "Proposer", f"{row['proposer']}, {row['model']}" if row["model"] else str(row["proposer"] or "")
    yield "Source", str(row["source"] or "")
    yield "Trial", str(row["finding_id"])


def _effect(row: Row) -> str:
    if row["effect"] is None:
        return ""
    parts = [f"{row['effect']:+.4g} nats per token (positive is better)"]
    if row["effect_low"] is not None and row["effect_high"] is not None:
        parts.append(f"90 % interval {row['effect_low']:+.4g} to {row['effect_high']:+.4g}")
    if row["pairs"]:
        parts.append(count_of(row["pairs"], "pair"))
    parts += [
        f"{name} = {row[column]:.3g}" for name, column in (("z", "z"), ("q", "q_value")) if row[column] is not None
    ]
    return ", ".join(parts)


def _verdict(row: dict[str, Any]) -> str:
    word = f"{row['verdict']}, fragile" if row["fragile"] else str(row["verdict"])
    if row["saving"] is None and not bounded(row):
        return word
    said = measured_text(row)
    return f"{word}; {said if said.startswith('loses') else f'saves {said}'} at rung {row['rung']}"


def _paragraph(name: str, text: str) -> str:
    told = f"{name}: {one_line(text)}"
    return textwrap.fill(told, LINE, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
