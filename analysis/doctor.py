"""What this machine has of what scaleproof needs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata, util

from data.errors import ScaleproofError

NEEDED = ("torch", "lightning", "safetensors", "duckdb", "scipy", "numpy", "altair", "vl-convert-python", "pyarrow")
EXTRAS = {"optuna": "scaleproof[optuna]", "tokenizers": "scaleproof[bpe]"}
KEY = "ANTHROPIC_API_KEY"
LEAST_MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked for; `needed` when commands fail without it."""

    name: str
    ok: bool
    found: str
    needed: bool = True


def examine() -> list[Finding]:
    """Look at interpreter, packages, git, cores, memory and the sandbox, importing none of what trains."""
    findings = [Finding("python", sys.version_info >= (3, 11), platform.python_version())]
    findings += [_package(name, f"pip install '{name}'", needed=True) for name in NEEDED]
    findings += [_package(name, f"pip install '{extra}'", needed=False) for name, extra in EXTRAS.items()]
    git = shutil.which("git")
    findings.append(Finding("git", git is not None, git or "not found; edits are put together with it, install it"))
    findings.append(Finding("cores", True, str(os.cpu_count())))
    findings.append(_memory())
    return [*findings, *_researcher()]


def _researcher() -> list[Finding]:
    """What a model that proposes needs, and the other proposers do not."""
    from search.sandbox.bubblewrap import version

    bubblewrap = version()
    key = "set" if os.environ.get(KEY) else f"not set; export {KEY}=... before a search with the proposer claude"
    return [
        Finding("bubblewrap", bubblewrap is not None, bubblewrap or "not found; apt install bubblewrap", needed=False),
        _sandbox(),
        _package("anthropic", "pip install 'anthropic'", needed=False),
        Finding(KEY, key == "set", key, needed=False),
    ]


def _sandbox() -> Finding:
    from search.sandbox.holder import available

    missing = available()
    if missing is not None:
        return Finding("sandbox", False, missing, needed=False)
    from search.sandbox.selftest import require_sandbox

    try:
        require_sandbox()
    except ScaleproofError as error:
        return Finding("sandbox", False, str(error), needed=False)
    return Finding("sandbox", True, "holds: nothing got out of it in its self-test", needed=False)


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
