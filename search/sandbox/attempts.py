"""What an escaping program would try, each harmless where it succeeds; run inside a cell by its self-test."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from search.sandbox.namespaces import libc
from search.sandbox.sight import WHY

_PTRACE_ATTACH = 16
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_MS_REMOUNT_BIND = 32 | 4096
_AF_VSOCK, _ANY_HOST = 40, 2


@dataclass(frozen=True, slots=True)
class Outside:
    """What was set up outside for the attempts to reach.

    secret: a word in a file's name, in a process's environment and its call. folder: where that file is. port: of a
    server on 127.0.0.1. address: of one on an abstract unix socket. process: another process. home: the user's folder,
    when it has something to hide; shown: the names in it that a cell has, since the interpreter is below them. hidden:
    folders that a cell hides.
    """

    secret: str
    folder: Path
    port: int
    address: str
    process: int
    home: Path | None
    shown: frozenset[str]
    hidden: Sequence[Path]


def not_refused(outside: Outside) -> list[str]:
    """What could be done, one phrase each; none in a cell that holds."""
    return [*_written(), *_read(outside), *_reached(outside), *_rights()]


def _succeeds(attempt: Callable[[], object]) -> bool:
    with suppress(OSError):
        attempt()
        return True
    return False


def _written() -> Iterator[str]:
    folders = ["/", "/usr", "/etc", "/dev", "/proc", "/sys", sys.prefix, sys.base_prefix, str(Path(__file__).parent)]
    for folder in dict.fromkeys(folders):
        probe = Path(folder, "scaleproof-probe")
        if _succeeds(probe.touch):
            probe.unlink()
            yield f"write in {folder}"
    # Opening alone is what is refused, and changes nothing where it is not.
    for name in ("sys/kernel/hostname", "sys/kernel/core_pattern", "sys/vm/drop_caches", "sysrq-trigger", "1/mem"):
        if _opens(f"/proc/{name}", os.O_WRONLY):
            yield f"open /proc/{name} for writing"
    if _succeeds(lambda: os.mknod("/tmp/probe", stat.S_IFBLK | 0o600, os.makedev(8, 0))):
        yield "make a device node"
    for node in Path("/dev").iterdir():
        if stat.S_ISBLK(node.lstat().st_mode):
            yield f"see the disk {node}"


def _opens(path: str, flags: int) -> bool:
    try:
        os.close(os.open(path, flags))
    except OSError:
        return False
    return True


def _read(outside: Outside) -> Iterator[str]:
    if any([one.name for one in path.iterdir()] != [WHY.name] for path in outside.hidden):
        yield "read text that is held out of installed packages"
    if _succeeds(lambda: next(outside.folder.iterdir())):
        yield "list a folder outside"
    if outside.home is not None:
        names = set()
        with suppress(OSError):
            names = {one.name for one in outside.home.iterdir()}
        if names - outside.shown:
            yield "look into the home folder"
    secret = outside.secret.encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if secret in (process / "environ").read_bytes():
                yield "read the environment of a process outside"
    if any(outside.secret in value for value in os.environ.values()):
        yield "read the environment of its owner"
    for name in ("kcore", "kmsg"):
        if _opens(f"/proc/{name}", os.O_RDONLY):
            yield f"open /proc/{name}"


def _reached(outside: Outside) -> Iterator[str]:
    for name, family, address in (
        ("127.0.0.1", socket.AF_INET, ("127.0.0.1", outside.port)),
        ("an abstract unix socket", socket.AF_UNIX, outside.address),
    ):
        if _succeeds(lambda family=family, address=address: _connect(family, address)):  # type: ignore[misc]
            yield f"connect to {name}"
    if _succeeds(lambda: socket.socket(_AF_VSOCK, socket.SOCK_STREAM)):
        yield "open a socket to the host of a virtual machine"
    if [name for _, name in socket.if_nameindex() if name != "lo"] if _succeeds(socket.if_nameindex) else []:
        yield "see a network device"
    visible = outside.secret.encode() in _words_of(outside.process)
    if visible:
        yield "see a process outside"
    # Otherwise a number that is also one of the cell's own processes says nothing.
    hidden = not Path("/proc", str(outside.process)).exists()
    if (visible or hidden) and _succeeds(lambda: os.kill(outside.process, 0)):
        yield "signal a process outside"


def _words_of(process: int) -> bytes:
    with suppress(OSError):
        return Path("/proc", str(process), "cmdline").read_bytes()
    return b""


def _connect(family: int, address: tuple[str, int] | str) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(1)
        one.connect(address)


def _rights() -> Iterator[str]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")):
        yield "keep a capability"
    if status["NoNewPrivs"] != "1":
        yield "gain privileges from a program"
    if status["Seccomp"] != "2":
        yield "make any system call: there is no filter of them on this processor"
    library = libc()
    calls: dict[str, Callable[[], int]] = {
        "trace another process": lambda: library.ptrace(_PTRACE_ATTACH, 1, None, None),
        "enter the namespaces of another process": lambda: _enter_another(library),
        "set its user": lambda: library.setuid(1 if os.getuid() != 1 else 2),
        "remount the root": lambda: library.mount(b"none", b"/", None, _MS_REMOUNT_BIND, None),
        "mount a file system": lambda: library.mount(b"none", b"/tmp", b"tmpfs", 0, None),
        "make a mount namespace": lambda: library.unshare(_CLONE_NEWNS),
        "make a user namespace": lambda: library.unshare(_CLONE_NEWUSER),
        "unmount /proc": lambda: library.umount2(b"/proc", 2),
        "change its root": lambda: library.chroot(b"/tmp"),
    }
    for name, call in calls.items():
        if call() == 0:
            yield name


def _enter_another(library: ctypes.CDLL) -> int:
    try:
        namespace = os.open("/proc/1/ns/mnt", os.O_RDONLY)
    except OSError:
        return -1
    result = int(library.setns(namespace, 0))
    os.close(namespace)
    return result
