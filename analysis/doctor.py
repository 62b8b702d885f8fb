"""What this machine has of what scaleproof needs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata, util

NEEDED = ("torch", "lightning", "duckdb", "scipy", "numpy", "altair", "vl-convert-python", "pyarrow")
EXTRAS = {"optuna": "scaleproof[optuna]", "tokenizers": "scaleproof[bpe]"}
LEAST_MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for; `needed` when commands fail without it."""

    name: str
    ok: bool
    found: str
    needed: bool = True


def examine() -> list[Finding]:
    """Look at interpreter, packages, git, cores and memory, without importing any of the packages."""
    findings = [Finding("python", sys.version_info >= (3, 11), platform.python_version())]
    findings += [_package(name, f"pip install '{name}'", needed=True) for name in NEEDED]
    findings += [_package(name, f"pip install '{extra}'", needed=False) for name, extra in EXTRAS.items()]
    git = shutil.which("git")
    findings.append(Finding("git", git is not None, git or "not found; edits are put together with it, install it"))
    findings.append(Finding("cores", True, str(os.cpu_count())))
    findings.append(_memory())
    return findings


def _package(name: str, remedy: str, *, needed: bool) -> Finding:
    try:
        return Finding(name, True, metadata.version(name), needed)
    except metadata.PackageNotFoundError:
        return Finding(name, False, f"not installed; {remedy}", needed)


def _memory() -> Finding:
    if util.find_spec("psutil") is None:
        return Finding("memory", False, "unknown; pip install psutil")
    import psutil

    free = psutil.virtual_memory().available
    return Finding("memory", free >= LEAST_MEMORY_BYTES, f"{free / 2**30:.1f} GiB free, 3 wanted", needed=False)
