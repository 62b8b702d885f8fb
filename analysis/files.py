"""Files replaced whole: a reader sees the old bytes or the new ones, never half of them."""

import os
import tempfile
from pathlib import Path

from data.errors import InputError


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` aside, flush it to the disk and rename it to `path`.

    Raises InputError when the folder is missing or may not be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): name a folder that exists.") from error
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.chmod(0o644)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def replace_if_changed(path: Path, content: bytes) -> bool:
    """Replace `path` unless it holds `content` already; True when it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    replace_file(path, content)
    return True
