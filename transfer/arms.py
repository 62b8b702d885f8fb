"""Arms: the baseline, each finding alone, the stack of all, and the stack without one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from data.errors import ScaleproofError
from data.store import Store
from data.study import Study
from scaling.edits import MergeConflictError, Recipe, merge, merge_all
from transfer.words import STACK


@dataclass(frozen=True, slots=True)
class Finding:
    """A kept trial. `base` is the recipe that its edit was made from, `recipe` what it yielded."""

    finding_id: str
    title: str
    base: Recipe
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Arm:
    """What is run against the baseline."""

    name: str
    recipe: Recipe
    finding_id: str | None = None


@dataclass(frozen=True, slots=True)
class Arms:
    """The arms of a promotion.

    `not_alone`: findings that no longer apply to the baseline alone, with the reason; they are measured in the stack.
    `not_stacked`: findings that conflict with stronger ones, with the reason; they are measured alone.
    """

    alone: list[Arm]
    stack: Arm | None
    members: list[Finding]
    not_alone: Mapping[str, str]
    not_stacked: Mapping[str, str]


def read_findings(study: Study, store: Store, baseline: Recipe, most: int | None) -> list[Finding]:
    """The study's findings, strongest first, at most `most` of them."""
    rows = store.rows(
        "select f.finding_id, f.title, t.recipe_hash from findings f join trials t using (trial_id) "
        "order by f.effect desc, f.finding_id"
    )
    return [
        Finding(row["finding_id"], row["title"], baseline, read_recipe(study, row["recipe_hash"]))
        for row in rows[:most]
    ]


def read_recipe(study: Study, recipe_hash: str) -> Recipe:
    """Read a recipe that was run; raises ScaleproofError when its file is gone."""
    path = study.recipes / f"{recipe_hash}.py"
    try:
        return Recipe.from_text(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ScaleproofError(f"The recipe {path} is missing from the study; restore it or search again.") from error


def make_arms(baseline: Recipe, findings: Sequence[Finding]) -> Arms:
    """Bring every finding onto the baseline alone, and all together, by git's three-way merge."""
    alone: list[Arm] = []
    not_alone: dict[str, str] = {}
    for finding in findings:
        try:
            recipe = merge(baseline, finding.base, finding.recipe)
        except MergeConflictError as error:
            not_alone[finding.finding_id] = f"It does not apply to the baseline alone: {error}"
            continue
        alone.append(Arm(f"alone:{finding.finding_id}", recipe, finding.finding_id))
    stacked, left_out = merge_all(baseline, [(finding.base, finding.recipe) for finding in findings])
    members = [finding for index, finding in enumerate(findings) if index not in left_out]
    not_stacked = {
        findings[index].finding_id: f"It conflicts with stronger findings of the stack: {reason}"
        for index, reason in left_out.items()
    }
    # A stack of one is its finding alone: the same runs, and a claim that a landing run can test.
    stack = Arm(STACK, stacked) if members else None
    return Arms(alone, stack, members, not_alone, not_stacked)


def without(baseline: Recipe, members: Sequence[Finding], left_out: Collection[str]) -> tuple[Recipe, tuple[str, ...]]:
    """The stack of `members` without those whose finding_id is in `left_out`.

    Returns the recipe, and the members that fell with them because their edits do not apply any more.
    """
    kept = [finding for finding in members if finding.finding_id not in left_out]
    recipe, conflicts = merge_all(baseline, [(finding.base, finding.recipe) for finding in kept])
    return recipe, tuple(kept[index].finding_id for index in sorted(conflicts))
