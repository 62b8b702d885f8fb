"""A unified diff, read as exact-text replacements of the file that it was made from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scaling.edits import EditError, Replacement

_HEADER = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
_OF_A_FILE = ("diff ", "index ", "--- ", "+++ ", "new file", "deleted file", "old mode", "new mode", "similarity ")


@dataclass(frozen=True, slots=True)
class Hunk:
    """A piece of a diff: lines as they are, lines as they shall be, and where it says that they stand, from 1."""

    line: int
    old: str
    new: str


def replacements(diff: str, source: str) -> tuple[Replacement, ...]:
    """The replacements that do to `source` what the diff says; each text is widened until it stands there once.

    A hunk whose lines are not in the source is given as it is, for the edit to say so when it is applied.

    Raises EditError for text that is no diff of one file, and for two hunks that would change the same lines.
    """
    lines = source.splitlines(keepends=True)
    made, free_from = [], 0
    for hunk in sorted(_hunks(diff), key=lambda one: one.line):
        found = _place(hunk, lines, free_from)
        if found is None:
            made.append(Replacement(hunk.old, hunk.new))
            continue
        start, end = found, found + len(hunk.old.splitlines())
        first, last = _widened(lines, start, end, free_from)
        before, after = "".join(lines[first:start]), "".join(lines[end:last])
        made.append(Replacement("".join(lines[first:last]), before + hunk.new + after))
        free_from = last
    return tuple(made)


def _hunks(diff: str) -> list[Hunk]:
    hunks: list[tuple[int, list[str], list[str]]] = []
    for line in diff.splitlines():
        if match := _HEADER.match(line):
            hunks.append((int(match[1]), [], []))
        elif not hunks or line.startswith("\\"):
            if line.strip() and not line.startswith((*_OF_A_FILE, "\\")):
                raise EditError(
                    "The diff cannot be read: its first line is neither a file's name nor '@@ -line,count ...'."
                )
        elif line.startswith("diff ") or (line.startswith("--- ") and not hunks[-1][1]):
            raise EditError("The diff changes more than one file; the recipe is one.")
        else:
            _add(hunks[-1], line)
    if not hunks:
        raise EditError("The diff cannot be read: it has no hunk that begins with '@@ -line,count +line,count @@'.")
    return [Hunk(line, "".join(old), "".join(new)) for line, old, new in hunks]


def _add(hunk: tuple[int, list[str], list[str]], line: str) -> None:
    _, old, new = hunk
    mark, text = line[:1], f"{line[1:]}\n"
    if mark not in {"", " ", "-", "+"}:
        raise EditError(f"The diff cannot be read: the line {line[:60]!r} begins with neither a blank, '-' nor '+'.")
    if mark != "+":
        old.append(text)
    if mark != "-":
        new.append(text)


def _place(hunk: Hunk, lines: list[str], free_from: int) -> int | None:
    """The place, from 0, of the hunk's old lines that is nearest to where it says; None when they are nowhere."""
    old = hunk.old.splitlines(keepends=True)
    if not old:
        # Nothing but new lines: the header names the line after which they come.
        return hunk.line if free_from <= hunk.line <= len(lines) else None
    whole = [*lines[:-1], lines[-1].rstrip("\n") + "\n"] if lines else []
    places = [at for at in range(free_from, len(whole) - len(old) + 1) if whole[at : at + len(old)] == old]
    return min(places, key=lambda at: abs(at - (hunk.line - 1)), default=None)


def _widened(lines: list[str], start: int, end: int, free_from: int) -> tuple[int, int]:
    """The lines around [start, end) whose text stands in the source once, none of them before `free_from`."""
    source = "".join(lines)
    first, last = start, end
    while first == last or source.count("".join(lines[first:last])) > 1:
        if first == free_from and last == len(lines):
            break
        first, last = max(free_from, first - 1), min(len(lines), last + 1)
    return first, last
