"""One query result, written out as text: a table for the terminal, CSV, JSON or Markdown."""

import csv
import datetime
import decimal
import io
import json
import math
import re
import shutil
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

TABLE_ROWS = 500
NARROWEST_COLUMN = 6
# An underscore within a word is no markup, and names of columns read better without backslashes.
MARKUP = re.compile(r"[\\|`*\[\]#~$!]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True, slots=True)
class Grid:
    """Column names and rows of equal length; names may repeat, as they may in SQL."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]


def plain(value: object) -> object:
    """Return what JSON can hold: non-finite numbers become null, dates ISO text, decimals floats."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: object) -> object:
    if isinstance(value, float | decimal.Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def cell(value: object, *, digits: int = 17) -> str:
    """Return the text of one value: empty for NULL, JSON for what is nested."""
    if isinstance(value, float):
        return f"{value:.{digits}g}" if digits < 17 else repr(value)
    held = plain(value)
    if held is None:
        return ""
    if isinstance(held, bool):
        return "true" if held else "false"
    return json.dumps(held, ensure_ascii=False) if isinstance(held, dict | list) else str(held)


def one_line(text: str) -> str:
    """Return `text` on one line and without control characters: a title must not steer the terminal."""
    spaced = " ".join(text.split())
    return "".join(letter for letter in spaced if unicodedata.category(letter)[0] != "C")


def to_csv(grid: Grid) -> str:
    """Return comma-separated lines with a header; NULL is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(grid.columns)
    writer.writerows([cell(value) for value in row] for row in grid.rows)
    return text.getvalue()


def to_json(grid: Grid) -> str:
    """Return a JSON array with one object per row; a repeated column name gets a number."""
    names = _unique(grid.columns)
    rows = [dict(zip(names, map(plain, row), strict=True)) for row in grid.rows]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(grid: Grid) -> str:
    """Return a Markdown table; whatever a cell holds stays inside its cell."""
    lines = [
        grid.columns,
        ["---"] * len(grid.columns),
        *([cell(value, digits=6) for value in row] for row in grid.rows),
    ]
    escaped = ([*map(escape_markdown, line)] if place != 1 else line for place, line in enumerate(lines))
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def escape_markdown(text: str) -> str:
    """Return `text` on one line, without any power to be markup, HTML or a new table cell."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", line)


def to_bare_table(columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> str:
    """Return `to_table` without the count of its rows."""
    return to_table(Grid(tuple(columns), rows)).rstrip("\n").rpartition("\n")[0] + "\n"


def to_table(grid: Grid, width: int | None = None) -> str:
    """Return a table no wider than the terminal; one block per row where the columns cannot fit beside each other."""
    room = width or shutil.get_terminal_size((100, 24)).columns
    shown = [[one_line(cell(value, digits=6)) for value in row] for row in grid.rows[:TABLE_ROWS]]
    narrowest = sum(
        min(_natural_width(place, name, shown), max(NARROWEST_COLUMN, len(name)))
        for place, name in enumerate(grid.columns)
    ) + 2 * len(grid.columns)
    body = _beside(grid, shown, room) if narrowest <= room else _stacked(grid, shown, room)
    hidden = len(grid.rows) - len(shown)
    count = f"{len(grid.rows)} row{'' if len(grid.rows) == 1 else 's'}"
    return body + (f"{count}, the first {len(shown)} shown: --format csv prints all\n" if hidden else f"{count}\n")


def _natural_width(place: int, name: str, rows: Sequence[Sequence[str]]) -> int:
    return max(len(name), *(len(row[place]) for row in rows), 0)


def _beside(grid: Grid, shown: Sequence[Sequence[str]], room: int) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place, name in enumerate(grid.columns):
        number = all(isinstance(row[place], int | float | None) for row in grid.rows[:TABLE_ROWS])
        table.add_column(
            Text(name),
            justify="right" if number else "left",
            overflow="ellipsis",
            no_wrap=number,
            min_width=min(len(name), room),
        )
    for row in shown:
        table.add_row(*map(Text, row))
    console = Console(width=room, file=io.StringIO(), color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _stacked(grid: Grid, shown: Sequence[Sequence[str]], room: int) -> str:
    wide = max(len(name) for name in grid.columns)
    lines = []
    for number, row in enumerate(shown, start=1):
        lines.append(f"-- {number} " + "-" * max(0, min(room, 60) - len(str(number)) - 4))
        for name, text in zip(grid.columns, row, strict=True):
            fits = text if wide + 2 + len(text) <= room else text[: max(1, room - wide - 3)] + "…"
            lines.append(f"{name.ljust(wide)}  {fits}".rstrip())
    return "".join(f"{line}\n" for line in lines)


def _unique(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
