"""`scaleproof export --patches`: one patch file per finding, as `git am` takes it."""

import re
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from pathlib import Path

from analysis.export_findings import AUTHOR, EMAIL, Change, read_changes
from data.errors import InputError
from data.locks import write_aside

_NAME = re.compile(r"\d{4}-.*\.patch")
_SENDER = f"From: {AUTHOR} <{EMAIL}>"
# What git itself writes in the place of a date that nobody reads.
_FIRST_LINE = f"From {'0' * 40} Mon Sep 17 00:00:00 2001"


def export_patches(study_path: Path, folder: Path) -> list[Path]:
    """Write `<folder>/0001-<finding>.patch` and so on, the strongest finding first; return the paths.

    Each applies to the study's baseline as `recipe.py`, by `git am` or `git apply`. The folder is made where it is
    missing; patches that an earlier export left there go, so that the folder holds these findings alone. Raises
    InputError where the folder is no study or cannot be written, ScaleproofError when a finding's recipe is missing.
    """
    changes = read_changes(study_path)
    named = {_name(number, change): mail(change, number, len(changes)) for number, change in enumerate(changes, 1)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in named.items():
            write_aside(folder / name, text.encode())
        for old in folder.iterdir():
            if old.name not in named and _NAME.fullmatch(old.name) and _is_ours(old):
                old.unlink()
    except OSError as error:
        raise InputError(
            f"The patches cannot be written to {folder} ({error.strerror}): name a folder that you may write to."
        ) from error
    return [folder / name for name in named]


def mail(change: Change, number: int = 1, total: int = 1) -> str:
    """The finding as a mail that holds a patch."""
    count = f"PATCH {number:0{len(str(total))}d}/{total}" if total > 1 else "PATCH"
    date = format_datetime(datetime.fromtimestamp(change.made_at, UTC))
    head = [
        _FIRST_LINE,
        _SENDER,
        f"Date: {date}",
        f"Subject: [{count}] {_encoded(change.subject)}",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8",
        "Content-Transfer-Encoding: 8bit",
    ]
    return "\n".join([*head, "", change.body + "---", "", change.patch + "-- ", AUTHOR, ""])


def _encoded(subject: str) -> str:
    """The subject for a header; one that only looks encoded is encoded too, so that it is read as it was written."""
    if subject.isascii() and "=?" not in subject:
        return subject
    return Header(subject, "utf-8", maxlinelen=10_000).encode()


def _name(number: int, change: Change) -> str:
    return f"{number:04d}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', change.finding_id)[:120]}.patch"


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return f"\n{_SENDER}\n".encode() in file.read(4096)
