"""Which folders of this machine every cell sees, and what in them stays out of sight."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.apart import folders_apart
from data.errors import InputError
from data.study import Study

SYSTEM = Path("/usr")
OWN_PACKAGES = ("data", "scaling", "search")
INSTALLED = frozenset({"site-packages", "dist-packages"})
PACKAGE_FOLDERS = ("lib*/python3*/*-packages", "pkgs/*/lib/python3*/*-packages", "envs/*/lib/python3*/*-packages")
"""Where a prefix, conda's too, has packages installed."""
WHY = Path(__file__).parent / "hidden" / "why.txt"
"""What a cell sees in the place of a hidden file; of a hidden folder it sees the one that holds it."""


@functools.cache
def shown_folders() -> tuple[Path, ...]:
    """The system's folder, and those of Python that do not lie in it."""
    return tuple(_outermost([SYSTEM, *_python_folders()]))


def hidden_paths(more: Sequence[Path] = ()) -> list[Path]:
    """Files and folders to hide, as a cell would see them: text held out of installed packages, and `more`.

    Raises:
        InputError: when one of `more` holds what a cell must show.
    """
    found = [seen for path in more for seen in _as_seen(path)]
    for needed in _python_folders():
        for path in found:
            if needed.is_relative_to(path):
                raise InputError(f"{path} holds {needed}, which recipes need, and text that none may see: move one.")
    return _outermost([*found, *_hidden_packages()])


def out_of_sight(study: Study) -> list[Path]:
    """Where the text that a study's models are judged by can be read: the study, and its corpus."""
    source = study.settings.get("corpus", {}).get("source", "python")
    return [study.path, *([] if source == "python" else [Path(source)])]


@functools.cache
def _hidden_packages() -> tuple[Path, ...]:
    """In every copy of the packages that a cell sees, not only in the one that is imported."""
    prefixes = {Path(prefix).resolve() for prefix in (sys.base_prefix, sys.prefix, SYSTEM, SYSTEM / "local")}
    packages = {found for prefix in prefixes for pattern in PACKAGE_FOLDERS for found in prefix.glob(pattern)}
    packages.update(path for path in _python_folders() if path.name in INSTALLED)
    return tuple({seen for one in packages for folder in folders_apart(one) for seen in _as_seen(folder)})


def _as_seen(path: Path) -> list[Path]:
    """The paths by which a cell sees a file or folder of this machine; none where nothing that is shown holds it."""
    if not path.exists():
        return []
    path, shown = path.resolve(), [(one, one.resolve()) for one in shown_folders()]
    return [one / path.relative_to(real) for one, real in shown if path.is_relative_to(real)]


@functools.cache
def _python_folders() -> tuple[Path, ...]:
    """The interpreter, what is installed for it, and of this project the packages alone."""
    folders = [Path(sys.base_prefix), Path(sys.prefix)]
    folders += [Path(entry) for entry in sys.path if Path(entry).name in INSTALLED]
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        folders += map(Path, (spec.submodule_search_locations or ()) if spec else ())
    there = [folder for folder in folders if folder.is_dir()]
    return tuple({named for folder in there for named in (folder.absolute(), folder.resolve())})


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that do not lie in another one, in order."""
    chosen: list[Path] = []
    for path in sorted(paths):
        if not any(path.is_relative_to(other) for other in chosen):
            chosen.append(path)
    return chosen
