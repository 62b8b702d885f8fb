"""What all commands share: arguments, a console, and what is said of work that is done already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def console() -> Console:
    """A console on stderr, so that stdout holds the answer alone."""
    from rich.console import Console

    return Console(stderr=True)


def nothing_to_do(why: str, as_json: bool) -> None:
    """Say that the work is done already; on stderr where stdout is to be JSON."""
    typer.echo(f"Nothing to do: {why}.", err=as_json)
