"""Enter the namespaces of a cell, and give up every right there and outside, for good."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from pathlib import Path

from search.sandbox import seccomp

_NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
_NS_GET_USERNS = 0xB701
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 1, 24, 38, 47, 4
_CAPABILITY_VERSION = 0x20080522

# Loaded at import: what a forked process loads, it would load from within the cell.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
if _libc is not None:
    _libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def libc() -> ctypes.CDLL:
    """The C library. Raises OSError where this is no Linux."""
    if _libc is None:
        raise OSError(errno.ENOSYS, "cells need Linux")
    return _libc


def enter(pid: int) -> None:
    """Move this process, of one thread, into the namespaces of `pid`; into that of pids goes its next child.

    The user namespace that owns the others comes first, since it gives the right to enter them; bubblewrap puts the
    processes themselves into one within it, so that comes last. Raises OSError.
    """
    import fcntl

    # Where bubblewrap could not make one of its own, this process is in it already, and has no right to enter it.
    apart = [name for name in _NAMESPACES if not Path(f"/proc/{pid}/ns/{name}").samefile(f"/proc/self/ns/{name}")]
    opened = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in (*apart, "user")}
    owner = fcntl.ioctl(opened["mnt"], _NS_GET_USERNS)
    _set(owner)
    for name in apart:
        _set(opened[name])
    if not os.path.sameopenfile(owner, opened["user"]):
        _set(opened["user"])
    for descriptor in (owner, *opened.values()):
        os.close(descriptor)


def _set(descriptor: int) -> None:
    _must(libc().setns(descriptor, 0), "setns")


def drop_rights(*, gpu: bool, loopback: bool) -> None:
    """Give up all capabilities, the way back to them, and the system calls that no run needs. Raises OSError."""
    library = libc()
    for capability in range(64):
        library.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    library.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header = _Header(_CAPABILITY_VERSION, 0)
    _must(library.capset(ctypes.byref(header), (ctypes.c_uint32 * 6)()), "capset")
    _must(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    seccomp.install(library, gpu=gpu, loopback=loopback)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; a later change of rights would undo it."""
    _must(libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    # Seen from a new pid namespace, a parent outside has no number.
    if os.getppid() not in {parent, 0}:
        os.kill(os.getpid(), signal.SIGKILL)


def _must(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what} failed: {os.strerror(ctypes.get_errno())}")
