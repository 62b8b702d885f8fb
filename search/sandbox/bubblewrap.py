"""The arguments of bubblewrap: what a cell sees of the machine."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.sandbox.limits import Limits
from search.sandbox.sight import WHY, hidden_paths, shown_folders

ETC = ("ld.so.cache", "alternatives", "localtime")
SHARED_MEMORY_BYTES = 2**26
MEMORY_FOLDERS = ("/tmp", "/dev/shm")
"""Where a cell may write what goes with it."""
DEVICES = Path("/dev")


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or folder of this machine that an inmate sees at the absolute path `target`."""

    source: Path
    target: str
    writable: bool = False


def version() -> str | None:
    """The installed bubblewrap's version, as in "0.8.0"; None when there is none."""
    if shutil.which("bwrap") is None:
        return None
    return _said(_program(), "--version").removeprefix("bubblewrap").strip()


def _program() -> str:
    return shutil.which("bwrap") or "bwrap"


@functools.cache
def _said(program: str, question: str) -> str:
    return subprocess.run([program, question], capture_output=True, text=True, check=False).stdout


def _has(option: str) -> bool:
    """Whether the installed bubblewrap has an option: `--disable-userns` and `--size` came with 0.7 and 0.8."""
    return option in _said(_program(), "--help")


def arguments(mounts: Sequence[Mount], limits: Limits, *, gpu: bool, hidden: Sequence[Path] = ()) -> list[str]:
    """The command that opens a cell and holds it open until its input ends; it echoes what it is sent, to say ready.

    `hidden` are files and folders of this machine that stay out of sight where they lie in what every cell sees.
    """
    command = [_program(), "--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"]
    # Without it, the filter of system calls alone refuses new namespaces.
    command += ["--disable-userns"] if _has("--disable-userns") else []
    command += ["--cap-drop", "ALL", "--clearenv", "--hostname", "cell"]
    # All of it read-only: to root, what lies in /proc/sys is writable without any capability.
    command += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    # What is mapped of /dev/zero is memory that nobody counts. Bound as a file, a device cannot be opened.
    command += _devices() if gpu else ["--ro-bind", "/dev/null", "/dev/zero"]
    command += _memory_folder("/dev/shm", SHARED_MEMORY_BYTES)
    command += ["--remount-ro", "/dev", *_memory_folder("/tmp", limits.memory_folder_bytes)]
    # After /tmp, in which any of them may lie.
    command += _system()
    for path in hidden_paths(hidden):
        command += ["--ro-bind", str(WHY.parent if path.is_dir() else WHY), str(path)]
    for mount in mounts:
        command += ["--bind" if mount.writable else "--ro-bind", str(mount.source), mount.target]
    return [*command, "--remount-ro", "/", "--", "cat"]


def _memory_folder(path: str, size: int) -> list[str]:
    """A writable folder of bounded size; a read-only one where bubblewrap cannot bound it."""
    return ["--size", str(size), "--tmpfs", path] if _has("--size") else ["--dir", path]


def _system() -> list[str]:
    arguments = []
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    for name in ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for path in shown_folders():
        arguments += ["--ro-bind", str(path), str(path)]
    return arguments


def _devices() -> list[str]:
    """What CUDA opens; after --dev, which would hide it."""
    arguments: list[str] = []
    for node in sorted(DEVICES.glob("nvidia*")):
        arguments += ["--dev-bind-try", str(node), str(node)]
    return [*arguments, "--ro-bind-try", "/sys", "/sys"]
