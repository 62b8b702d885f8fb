"""What an inmate leaves behind is bounded while it lives, and gone afterwards."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from cells import SMALL, needs_bubblewrap, said_in_a_cell
from minded import SHORT, ended, minded, top, with_sandbox
from tiny import BASELINE, Bench, make_bench

from scaling.evaluation import Evaluated
from search.sandbox import judging, minder
from search.sandbox.bubblewrap import Mount
from search.sandbox.limits import CellError

pytestmark = pytest.mark.usefixtures("one_thread")

Channel = socket.socket


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A study whose settings these tests may change."""
    return make_bench(tmp_path_factory.mktemp("leftovers"))


@needs_bubblewrap
def test_what_a_killed_attempt_left_half_written_takes_no_room(own: Bench) -> None:
    bench = with_sandbox(own, "file_bytes = 1_048_576")
    spec = bench.spec(BASELINE, SHORT, seed=7)
    left = bench.study.checkpoints / spec.run_id
    (left / "folder" / "inner").mkdir(parents=True)
    (left / "tmp1").write_bytes(bytes(4 * 2**20))
    (left / "folder" / "tmp2").write_bytes(bytes(4 * 2**20))
    assert minded(bench, spec)["status"] == "finished"


def touch(folder: str, channel: Channel) -> None:
    for number in range(200):
        Path(folder, str(number)).touch()
    channel.recv(1)


@needs_bubblewrap
@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm", "/made"])
def test_who_makes_too_many_names_is_named(folder: str, tmp_path: Path) -> None:
    with pytest.raises(CellError) as caught:
        said_in_a_cell(partial(touch, folder), [Mount(tmp_path, "/made", writable=True)], replace(SMALL, names=100))
    assert (caught.value.kind, str(caught.value)) == ("names", "It made more than 100 files and folders.")


TABLES = """
import mmap
from dataclasses import replace
from cells import SMALL, said_in_a_cell
from search.sandbox.limits import CellError

def fill(channel):
    # All pages that are only read show the one page of zeros; what they cost is their place in a table.
    region = mmap.mmap(-1, 2**37, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ)
    region.madvise(15)  # no huge pages
    for at in range(0, 2**37, 2**21):
        region[at]
    channel.recv(1)

try:
    said_in_a_cell(fill, limits=replace(SMALL, memory_bytes=2**27))
except CellError as error:
    print(error)
"""


@needs_bubblewrap
def test_tables_of_pages_are_memory() -> None:
    # A process without torch, whose own memory is small beside the tables.
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", TABLES],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert ran.stdout == "It used more than 128.0 MiB of memory.\n", ran.stderr


LINGERS = """
import ctypes, os, time
if os.access("/run", os.W_OK) and not os.path.exists("/run/left") and not os.fork():
    ctypes.CDLL(None).prctl(15, b"lingerer")
    time.sleep(600)
"""


@needs_bubblewrap
def test_nothing_of_the_training_lives_while_its_weights_are_judged(
    own: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: Callable[..., Evaluated] = judging.judged
    alive: list[psutil.Process] = []

    def watched(*arguments: Any) -> Evaluated:
        lingering = [one for one in psutil.Process().children(recursive=True) if named(one) == "lingerer"]
        alive.extend(psutil.wait_procs(lingering, timeout=60)[1])
        return judged(*arguments)

    monkeypatch.setattr(minder, "judged", watched)
    bench = with_sandbox(own, "")
    assert ended(bench, top(LINGERS), seed=8)[0] == "finished"
    assert alive == []


def named(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def test_a_folder_is_removed_in_a_number_of_looks_that_follows_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, seen, folders = 50, [], minder._folders
    for number in range(count):
        (tmp_path / "made" / str(number) / "inner").mkdir(parents=True)

    def looked(folder: Path) -> list[Path]:
        found = folders(folder)
        seen.extend(found)
        return found

    monkeypatch.setattr(minder, "_folders", looked)
    minder._remove(tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert len(seen) == 2 * count


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_locked_and_deep_folders_are_removed_by_others_than_root() -> None:
    top_folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder = top_folder / "made"
    top_folder.chmod(0o777)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            make_locked_and_deep(folder)
            minder._remove(folder)
            status = int(folder.exists())
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    shutil.rmtree(top_folder)


def make_locked_and_deep(folder: Path) -> None:
    (folder / "locked" / "inner").mkdir(parents=True)
    (folder / "locked" / "inner" / "file").touch()
    (folder / "locked" / "inner").chmod(0)
    (folder / "locked").chmod(0)
    os.chdir(folder)
    for _ in range(50):
        inner = Path("d" * 200)
        inner.mkdir()
        os.chdir(inner)
