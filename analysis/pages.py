"""Pages that are written to where the user says: aside and renamed, or one clear sentence."""

from pathlib import Path

from data.errors import InputError
from data.locks import write_aside


def write_page(page: str, path: Path) -> Path:
    """Write a page to `path` and return the path. Raises InputError where it cannot be written."""
    try:
        write_aside(path, page.encode())
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {path} ({error.strerror}): name a file in a folder that is there and "
            "that you may write."
        ) from error
    return path
