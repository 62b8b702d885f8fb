"""Folders of installed packages that no program needs: text held out lies there, where a sandbox can hide it."""

from pathlib import Path

# The largest of their kind. Few, since a sandbox takes some tenths of a millisecond to hide one.
_TESTED = {
    "numpy": ("_core", "core", "lib"),
    "scipy": ("interpolate", "linalg", "ndimage", "optimize", "signal", "sparse", "special", "stats"),
}


def folders_apart(packages: Path) -> list[Path]:
    """Those that there are in a folder of installed packages."""
    folders = [Path(packages, name, part, "tests") for name, parts in _TESTED.items() for part in parts]
    return [folder for folder in folders if folder.is_dir()]
