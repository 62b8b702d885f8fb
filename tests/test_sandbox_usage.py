"""What an inmate takes of the machine is counted to it, or refused, however it goes about it."""

import ctypes
import json
import mmap
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from cells import SMALL, needs_bubblewrap, said_in_a_cell, wait

from search.sandbox import cell
from search.sandbox.bubblewrap import Mount
from search.sandbox.cell import Cell
from search.sandbox.limits import CellError, Limits, in_units

pytestmark = needs_bubblewrap

Channel = socket.socket

CHUNK = b"x" * 2**19
BURNT_SECONDS = 0.15
LIBRARY = ctypes.CDLL(None, use_errno=True)
RUN = "/made"


def opened_and_removed() -> int:
    file = os.open("given", os.O_CREAT | os.O_RDWR)
    Path("given").unlink()
    return file


def opened_without_a_name() -> int:
    try:
        return os.open(".", os.O_TMPFILE | os.O_RDWR)
    except OSError:  # not every file system has such files
        return opened_and_removed()


def opened_and_lost() -> int:
    """In folders so deep that no path can name them, which are gone too."""
    names = ["n" * 250] * 20
    for name in names:
        Path(name).mkdir()
        os.chdir(name)
    file = opened_and_removed()
    for name in names:
        os.chdir("..")
        Path(name).rmdir()
    return file


def fill(make: Callable[[], int], channel: Channel) -> None:
    """Nobody looks before the word; then all folders are gone."""
    files = [make() for _ in range(8)]
    channel.sendall(b"?")
    for file in files:
        os.write(file, CHUNK)
    channel.recv(1)


def by_another_thread(work: Callable[[Channel], None], channel: Channel) -> None:
    """Of a process whose first thread has ended, its own folder in /proc tells nothing."""

    def work_alone() -> None:
        while b") Z " not in Path("/proc/self/stat").read_bytes():
            pass
        work(channel)

    threading.Thread(target=work_alone).start()
    LIBRARY.pthread_exit(None)


def look_after_its_word(work: Callable[[Channel], None], mounts: Sequence[Mount], limits: Limits = SMALL) -> None:
    with Cell(mounts, limits) as one:
        channel = one.run(work)
        assert channel.recv(1) == b"?"
        wait(one, channel)


WAYS = [partial(fill, make) for make in (opened_and_removed, opened_without_a_name, opened_and_lost)]


@pytest.mark.parametrize("work", [*WAYS, partial(by_another_thread, WAYS[0])])
def test_files_without_a_name_count(work: Callable[[Channel], None], tmp_path: Path) -> None:
    with pytest.raises(CellError, match=r"^It wrote more than 3\.0 MiB of files\.$"):
        look_after_its_word(work, [Mount(tmp_path, RUN, writable=True)])


def test_files_without_a_name_are_too_many_where_those_with_one_are(tmp_path: Path) -> None:
    def make(channel: Channel) -> None:
        for _ in range(200):
            opened_and_removed()
        channel.recv(1)

    with pytest.raises(CellError, match=r"^It made more than 100 files and folders\.$"):
        said_in_a_cell(make, [Mount(tmp_path, RUN, writable=True)], replace(SMALL, names=100))


def map_a_removed_file(channel: Channel) -> None:
    file = opened_and_removed()
    os.truncate(file, 2**19)
    assert LIBRARY.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, file, 0) != -1
    os.close(file)
    channel.recv(1)


def test_a_file_that_is_mapped_alone_is_named(tmp_path: Path) -> None:
    with pytest.raises(CellError) as caught:
        said_in_a_cell(map_a_removed_file, [Mount(tmp_path, RUN, writable=True)])
    assert (caught.value.kind, str(caught.value)) == ("files", "It mapped a file of its folder and removed it.")


def test_files_that_are_mapped_and_open_or_have_a_name_are_no_breach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell, "CLOSE_LOOK_SECONDS", 0.0)

    def work(channel: Channel) -> None:
        # As multiprocessing has its arenas, and as data are read.
        file = opened_and_removed()
        os.truncate(file, 2**19)
        arena = mmap.mmap(file, 2**19)
        Path("kept").write_bytes(CHUNK)
        with Path("kept").open("r+b") as opened:
            kept = mmap.mmap(opened.fileno(), 2**19)
        if not (child := os.fork()):
            os._exit(0)  # an ended process that nobody waits for yet
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        channel.sendall(b"?")
        channel.recv(len(arena) + len(kept))

    with Cell([Mount(tmp_path, RUN, writable=True)], SMALL) as one:
        channel = one.run(work)
        assert channel.recv(1) == b"?"
        for _ in range(3):
            one.check()
        channel.sendall(b"!")
        wait(one, channel)


def allocate(size: int, channel: Channel) -> None:
    channel.sendall(b"?")
    held = b"x" * size
    channel.recv(len(held))


def test_memory_counts_where_the_first_thread_has_ended() -> None:
    most = psutil.Process().memory_info().rss + 2**27
    work = partial(by_another_thread, partial(allocate, most))
    with pytest.raises(CellError, match=rf"^It used more than {in_units(most)} of memory\.$"):
        look_after_its_word(work, [], replace(SMALL, memory_bytes=most))


OWN_FILES, MEMORY_SIGNALS_AND_THREAD = 2, 0x100 | 0x800 | 0x10000
SHARED_VALIDATE = 3
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine(), 0)
CLOSE_RANGE = 436


def called(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def send_a_file() -> None:
    one, _ = socket.socketpair()
    socket.send_fds(one, [b"!"], [0])


BESIDE_LIMITS: dict[str, Callable[[], object]] = {
    "shared memory without a name": lambda: mmap.mmap(-1, mmap.PAGESIZE),
    "the same, asked for in the other way": lambda: mmap.mmap(-1, mmap.PAGESIZE, SHARED_VALIDATE | mmap.MAP_ANONYMOUS),
    "the same, by a device": lambda: os.open("/dev/zero", os.O_RDWR),
    "a segment of shared memory": lambda: called(LIBRARY.shmget(0, 4096, 0o600)),
    "semaphores": lambda: called(LIBRARY.semget(0, 32, 0o600)),
    "a queue of messages": lambda: called(LIBRARY.msgget(0, 0o600)),
    "a table of open files for one thread": lambda: called(LIBRARY.syscall(CLOSE_RANGE, 900, 901, OWN_FILES)),
    "a thread that has one from its start": lambda: called(
        LIBRARY.syscall(CLONE, MEMORY_SIGNALS_AND_THREAD, 0, 0, 0, 0)
    ),
    "open files on their way": send_a_file,
}


def test_what_nobody_counts_is_refused() -> None:
    def work(channel: Channel) -> None:
        said = []
        for name, attempt in BESIDE_LIMITS.items():
            try:
                attempt()
                said.append(name)
            except PermissionError:
                pass
        channel.sendall(json.dumps(said).encode())

    assert json.loads(said_in_a_cell(work)[0]) == []


def test_private_memory_and_threads_are_had_as_ever() -> None:
    def work(channel: Channel) -> None:
        private = mmap.mmap(-1, 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        private[0] = 1
        thread = threading.Thread(target=channel.sendall, args=(b"!",))
        thread.start()
        thread.join()
        os.closerange(900, 901)

    assert said_in_a_cell(work)[0] == b"!"


def burn() -> None:
    started = time.thread_time()
    while time.thread_time() - started < BURNT_SECONDS:
        pass


def in_a_thread() -> None:
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()


def in_a_child() -> None:
    if not (child := os.fork()):
        burn()
        os._exit(0)
    os.waitpid(child, 0)


def in_an_orphan() -> None:
    told, telling = os.pipe()
    if not (child := os.fork()):
        if not os.fork():
            burn()
            os.write(telling, b".")
        os._exit(0)
    os.waitpid(child, 0)
    os.read(told, 1)
    time.sleep(0.2)  # until it has ended


@pytest.mark.parametrize("somewhere", [burn, in_a_thread, in_a_child, in_an_orphan])
def test_cpu_time_is_counted_wherever_it_was_used(somewhere: Callable[[], None]) -> None:
    def work(channel: Channel) -> None:
        channel.send(b"r")
        while channel.recv(1):
            somewhere()
            channel.send(b"d")

    with Cell([], SMALL) as one, one.run(work) as channel:
        channel.recv(1)
        time.sleep(0.05)
        before = one.cpu_seconds()
        channel.send(b"g")
        channel.recv(1)
        time.sleep(0.05)
        assert BURNT_SECONDS - 0.03 < one.cpu_seconds() - before < BURNT_SECONDS + 0.1
