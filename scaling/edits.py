"""Edits: what changes a recipe, and how several of them are put together."""

from __future__ import annotations

import difflib
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import ScaleproofError

_OVERLAY = re.compile(r"^KNOBS\['(\w+)'\] = KNOBS\['\1'\]\.at\((-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\)\n$")


class EditError(ScaleproofError):
    """An edit does not apply to the recipe it was given."""


class MergeConflictError(ScaleproofError):
    """Two edits change the same lines, or the same knob."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe's source and the knob values laid over it.

    `text` is what is written and run: the source with the knob values appended, so that one file says it all.
    """

    source: str
    knobs: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_text(cls, text: str) -> Recipe:
        """Read back what `text` gave; lines that look like it but are the source's own stay in the source."""
        lines = text.splitlines(keepends=True)
        knobs: dict[str, float] = {}
        while lines and (match := _OVERLAY.match(lines[-1])):
            number = match[2]
            knobs[match[1]] = int(number) if number.lstrip("-").isdigit() else float(number)
            lines.pop()
        recipe = cls("".join(lines).removesuffix("\n"), knobs)
        return recipe if recipe.text == text else cls(text)

    @property
    def text(self) -> str:
        """The whole recipe as one Python file."""
        lines = [f"KNOBS[{name!r}] = KNOBS[{name!r}].at({value!r})\n" for name, value in sorted(self.knobs.items())]
        return self.source + ("\n" + "".join(lines) if lines else "")

    @property
    def hash(self) -> str:
        """The identity of the recipe: 16 hexadecimal digits of the hash of its text."""
        return hashlib.blake2b(self.text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Replacement:
    """Exact text of the recipe, found once, and what stands there instead."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A source patch, knob values, or both."""

    replacements: tuple[Replacement, ...] = ()
    knobs: Mapping[str, float] = field(default_factory=dict)

    @property
    def written(self) -> str:
        """The replacements as they were written, for edits that do not apply and so have no patch."""
        return "\n".join(f"<<<<<<<\n{one.old}\n=======\n{one.new}\n>>>>>>>" for one in self.replacements)

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this edit made.

        Raises:
            EditError: when a replacement's text is missing from the source or stands there more than once, or when the
                edit changes nothing.
        """
        source = recipe.source
        for replacement in self.replacements:
            count = source.count(replacement.old)
            if count != 1:
                found = "is not in the recipe" if count == 0 else f"stands in the recipe {count} times, not once"
                raise EditError(f"The edit does not apply: its text {_excerpt(replacement.old)} {found}.")
            source = source.replace(replacement.old, replacement.new)
        edited = Recipe(source, {**recipe.knobs, **self.knobs})
        if edited.text == recipe.text:
            raise EditError("The edit changes nothing.")
        return edited


def unified_diff(before: Recipe, after: Recipe) -> str:
    """The patch from one recipe's text to another's."""
    lines = difflib.unified_diff(
        before.text.splitlines(keepends=True), after.text.splitlines(keepends=True), "a/recipe.py", "b/recipe.py"
    )
    return "".join(lines)


def merge(ours: Recipe, base: Recipe, theirs: Recipe) -> Recipe:
    """Bring the change from `base` to `theirs` onto `ours`, by git's three-way merge.

    Raises:
        MergeConflictError: when both sides changed the same lines, or the same knob to different values.
    """
    knobs = dict(ours.knobs)
    for name in sorted({*base.knobs, *theirs.knobs}):
        before, after = base.knobs.get(name), theirs.knobs.get(name)
        if before == after:
            continue
        if ours.knobs.get(name) not in (before, after):
            raise MergeConflictError(f"Both edits set the knob {name!r}, to {ours.knobs.get(name)} and {after}.")
        if after is None:
            knobs.pop(name, None)
        else:
            knobs[name] = after
    return Recipe(_merge_text(ours.source, base.source, theirs.source), knobs)


def merge_all(baseline: Recipe, edits: Sequence[tuple[Recipe, Recipe]]) -> tuple[Recipe, dict[int, str]]:
    """Merge several changes onto `baseline`, in order; each is a pair of recipes, before and after the edit.

    Returns the stack, and those left out because they conflict with what was merged before them: index and reason.
    """
    stack, left_out = baseline, {}
    for index, (before, after) in enumerate(edits):
        try:
            stack = merge(stack, before, after)
        except MergeConflictError as error:
            left_out[index] = str(error)
    return stack, left_out


def _merge_text(ours: str, base: str, theirs: str) -> str:
    if theirs in (base, ours):
        return ours
    if ours == base:
        return theirs
    with tempfile.TemporaryDirectory(prefix="scaleproof-merge-") as folder:
        paths = []
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            paths.append(str(path))
        try:
            done = subprocess.run(["git", "merge-file", "-p", "-q", *paths], capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ScaleproofError("git is needed to put edits together; install it and try again.") from error
    if done.returncode < 0 or done.returncode > 127:
        raise ScaleproofError(f"git merge-file failed: {done.stderr.decode(errors='replace').strip()}.")
    if done.returncode:
        raise MergeConflictError(f"The edits change the same lines in {done.returncode} places.")
    return done.stdout.decode("utf-8")


def _excerpt(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else ""
    return repr(first[:60])
