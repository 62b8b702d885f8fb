"""What runs in a cell sees, reaches and leaves nothing outside it, and is stopped and named when it takes too much."""

import ctypes
import io
import json
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from cells import SMALL, needs_bubblewrap, said_in_a_cell, wait
from pyarrow import csv
from torch._C._distributed_c10d import TCPStore

import scaling
from data.errors import InputError, ScaleproofError
from search.sandbox import bubblewrap
from search.sandbox.bubblewrap import Mount, arguments
from search.sandbox.cell import Cell, Ended
from search.sandbox.limits import CellError, Limits, SandboxSettings, in_units

pytestmark = needs_bubblewrap

Channel = socket.socket


def open_files() -> list[int]:
    """Of this process, but for those that are open on nothing."""
    links = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return sorted(int(one.name) for one in links if one.readlink() != Path(os.devnull))


def describe(channel: Channel) -> None:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    told = {
        "root": sorted(one.name for one in Path("/").iterdir()),
        "processes": sorted(one.name for one in Path("/proc").iterdir() if one.name.isdecimal()),
        "variables": dict(os.environ),
        "started_with": Path("/proc/self/environ").read_bytes().strip(b"\0").decode(),
        "capabilities": [line.split()[1] for line in status if line.startswith("Cap")],
        "files": open_files(),
        "channel": channel.fileno(),
        "recipe": (Path(scaling.__file__).with_name("recipe.py")).is_file(),
        "project": sorted(one.name for one in Path(scaling.__file__).parents[1].iterdir()),
        "folder": str(Path.cwd()),
    }
    channel.sendall(json.dumps(told).encode())


def test_an_inmate_sees_the_system_and_the_packages_and_nothing_of_its_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a secret")
    with (tmp_path / "opened.txt").open("w"):
        told = json.loads(said_in_a_cell(describe)[0])
    assert not {"home", "var", "mnt", "sys", "srv"} & set(told["root"])
    assert set(told["processes"]) == {"1", "2", "3"}
    assert set(told["variables"]) <= {"PATH", "HOME", "TMPDIR", "USER", "LANG", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    assert told["started_with"] == ""
    assert set(told["capabilities"]) == {"0" * 16}
    assert set(told["files"]) == {1, 2, told["channel"]}
    assert told["recipe"] and "pyproject.toml" not in told["project"] and "tests" not in told["project"]
    assert told["folder"] == "/"


def in_a_process_where_libraries_act_on_forks(ask: Callable[[], bytes]) -> bytes:
    """Gloo's store and Arrow's reader of CSV each keep a pipe, which they close and open anew in every fork."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(_ask_beside_libraries, ask).result()


def _ask_beside_libraries(ask: Callable[[], bytes]) -> bytes:
    store = TCPStore("127.0.0.1", 0, is_master=True)
    csv.read_csv(io.BytesIO(b"loss\n1\n"))
    said = ask()
    del store
    return said


def ask_for_a_description() -> bytes:
    return said_in_a_cell(describe)[0]


def test_what_libraries_open_in_a_fork_is_closed_to_an_inmate() -> None:
    told = json.loads(in_a_process_where_libraries_act_on_forks(ask_for_a_description))
    assert set(told["files"]) == {1, 2, told["channel"]}


def ask_a_child() -> bytes:
    with Cell([], SMALL) as cell:
        return wait_for_word(cell.run(detach))


def test_an_inmate_may_fork_although_libraries_miss_what_they_had_open() -> None:
    assert in_a_process_where_libraries_act_on_forks(ask_a_child) == b"!"


def test_an_inmate_is_in_no_session_of_its_owners() -> None:
    def stay(channel: Channel) -> None:
        channel.sendall(b"!")
        channel.recv(1)

    with Cell([], SMALL) as cell:
        others = set(psutil.Process().children(recursive=True))
        assert wait_for_word(cell.run(stay))
        mine = set(psutil.Process().children(recursive=True)) - others
        assert len(mine) == 2 and os.getsid(0) not in {os.getsid(one.pid) for one in mine}


def test_a_mount_is_read_only_unless_said_otherwise_and_the_writable_one_is_where_it_starts(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "data.txt").write_text("tokens")
    (tmp_path / "made").mkdir()

    def work(channel: Channel) -> None:
        given = Path("/given/data.txt")
        Path("result.txt").write_text(given.read_text())
        try:
            given.write_text("changed")
        except OSError as error:
            channel.sendall(str(error.strerror).encode())

    mounts = [Mount(tmp_path / "given", "/given"), Mount(tmp_path / "made", "/made", writable=True)]
    assert said_in_a_cell(work, mounts)[0] == b"Read-only file system"
    assert (tmp_path / "made" / "result.txt").read_text() == "tokens"
    assert (tmp_path / "given" / "data.txt").read_text() == "tokens"


def test_words_go_both_ways_and_what_is_printed_is_kept_apart() -> None:
    def answer(channel: Channel) -> None:
        sys.stdout.write("\x1b[31mnoise\n")
        channel.sendall(channel.recv(100).upper())

    with Cell([], SMALL) as cell:
        channel = cell.run(answer)
        channel.sendall(b"question")
        assert wait(cell, channel) == b"QUESTION"
        assert cell.ended == Ended(status=0, signal=None)
        assert cell.output_tail == "\x1b[31mnoise\n"


def test_tmp_is_writable_up_to_the_limit_and_gone_afterwards() -> None:
    name = f"/tmp/scaleproof-{os.getpid()}"

    def fill(channel: Channel) -> None:
        with Path(name).open("wb") as file:
            file.write(b"x" * 2**19)
            file.flush()
            try:
                for number in range(3):
                    Path(f"{name}.{number}").write_bytes(b"x" * 2**19)
            except OSError as error:
                channel.sendall(str(error.strerror).encode())

    assert said_in_a_cell(fill)[0] == b"No space left on device"
    assert not Path(name).exists()


def allocate(size: int, channel: Channel) -> None:
    held = [b"x" * 2**24 for _ in range(size // 2**24)]
    channel.recv(len(held))


def fork(channel: Channel) -> None:
    for _ in range(SMALL.processes):
        if not os.fork():
            channel.recv(1)
    channel.recv(1)


def start_threads(channel: Channel) -> None:
    threading.stack_size(2**16)
    for _ in range(SMALL.threads + 1):
        threading.Thread(target=channel.recv, args=(1,)).start()
    channel.recv(1)


def loop(channel: Channel) -> None:
    while True:
        pass


def flood(channel: Channel) -> None:
    while True:
        os.write(2, b"noise" * 1000)


def crash(channel: Channel) -> None:
    ctypes.string_at(0)


def leave(channel: Channel) -> None:
    sys.exit(3)


def kill_all(channel: Channel) -> None:
    os.kill(-1, signal.SIGKILL)
    channel.recv(1)


@pytest.mark.parametrize(
    ("work", "kind", "sentence"),
    [
        (fork, "processes", "It started more than 8 processes."),
        (loop, "time", "It ran longer than 0.5 s."),
        (flood, "output", "It wrote more than 16.0 KiB to its output."),
        (crash, "died", "It died of signal 11 (SIGSEGV)."),
        (leave, "died", "It ended with status 3 instead of its result."),
        (kill_all, "died", "It died of signal 9 (SIGKILL); the machine may have run out of memory."),
    ],
)
def test_who_takes_too_much_or_dies_is_named(work: Callable[[Channel], None], kind: str, sentence: str) -> None:
    limits = replace(SMALL, wall_seconds=0.5) if work is loop else SMALL
    with pytest.raises(CellError) as caught:
        said_in_a_cell(work, limits=limits)
    assert (caught.value.kind, str(caught.value)) == (kind, sentence)


def test_who_takes_too_much_memory_is_named() -> None:
    # An inmate is a fork: it starts with all that this process has loaded.
    most = psutil.Process().memory_info().rss + 2**27
    with pytest.raises(CellError) as caught:
        said_in_a_cell(partial(allocate, most + 2**26), limits=replace(SMALL, memory_bytes=most))
    assert (caught.value.kind, str(caught.value)) == ("memory", f"It used more than {in_units(most)} of memory.")


def test_too_many_threads_are_refused_or_named() -> None:
    # The kernel may refuse the last one before the owner looks: either way it ends with a name.
    with pytest.raises(CellError) as caught:
        said_in_a_cell(start_threads)
    assert caught.value.kind in {"threads", "died"}


def test_a_writable_folder_is_bounded_in_all_its_files(tmp_path: Path) -> None:
    def fill(channel: Channel) -> None:
        for number in range(8):
            Path(f"{number}.bin").write_bytes(b"x" * 2**19)
        channel.recv(1)

    with pytest.raises(CellError, match=r"^It wrote more than 3\.0 MiB of files\.$"):
        said_in_a_cell(fill, [Mount(tmp_path, "/made", writable=True)])


def test_no_file_grows_beyond_the_limit(tmp_path: Path) -> None:
    def grow(channel: Channel) -> None:
        with Path("large.bin").open("wb") as file:
            try:
                file.truncate(SMALL.file_bytes + 1)
            except OSError as error:
                channel.sendall(str(error.strerror).encode())

    assert said_in_a_cell(grow, [Mount(tmp_path, "/made", writable=True)])[0] == b"File too large"


def detach(channel: Channel) -> None:
    """Leave a grandchild of its own session behind, which outlives its parents."""
    if not os.fork():
        os.setsid()
        if not os.fork():
            channel.sendall(b"!")
            time.sleep(600)
        os._exit(0)


def test_a_detached_child_is_dead_when_the_cell_is_closed() -> None:
    others = {one.pid for one in psutil.Process().children(recursive=True)}  # other tests' helpers live on
    with Cell([], SMALL) as cell:
        assert wait_for_word(cell.run(detach))
        mine = {one.pid for one in psutil.Process().children(recursive=True)} - others
        watched = [os.pidfd_open(pid) for pid in mine]
        assert len(watched) >= 4
    assert_ended(watched)


def wait_for_word(channel: Channel) -> bytes:
    assert select.select([channel], [], [], 20)[0]
    return channel.recv(1)


def assert_ended(watched: list[int]) -> None:
    for process in watched:
        assert select.select([process], [], [], 20)[0]
        os.close(process)


OWNER = """
import sys
from search.sandbox.cell import Cell
from test_sandbox_cell import SMALL, detach, loop

with Cell([], SMALL) as one, Cell([], SMALL) as two:
    one.run(detach).recv(1)
    two.run(loop)
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_of_a_cell_whose_owner_is_killed() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        watched = [os.pidfd_open(one.pid) for one in psutil.Process(owner.pid).children(recursive=True)]
        assert len(watched) >= 8
        owner.kill()
    assert_ended(watched)


def test_a_cell_that_cannot_be_opened_says_why_in_bubblewraps_words(tmp_path: Path) -> None:
    with (
        pytest.raises(ScaleproofError, match=r"^bubblewrap cannot open a cell: Can't find source path .*missing"),
        Cell([Mount(tmp_path / "missing", "/missing")], SMALL),
    ):
        pass


def test_devices_of_a_gpu_follow_dev_and_a_cell_for_one_opens_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm", "tty9"):
        (tmp_path / name).touch()
    (tmp_path / "nvidia-caps").mkdir()
    monkeypatch.setattr(bubblewrap, "DEVICES", tmp_path)
    command = arguments([], Limits(), gpu=True)
    bound = [command[at + 1] for at, word in enumerate(command) if word == "--dev-bind-try"]
    assert [Path(one).name for one in bound] == ["nvidia-caps", "nvidia-uvm", "nvidia0", "nvidiactl"]
    assert command.index("--dev") < command.index("--dev-bind-try")
    assert command[command.index("/sys") - 1] == "--ro-bind-try" and "/sys" not in arguments([], Limits(), gpu=False)
    monkeypatch.undo()
    with Cell([], SMALL, gpu=True) as cell:
        assert wait(cell, cell.run(lambda channel: channel.sendall(b"!"))) == b"!"


def test_settings_are_the_limits_and_a_wrong_one_is_named() -> None:
    settings = SandboxSettings.read({"memory_bytes": 2**30, "wall_seconds": 60.0})
    assert settings.limits == Limits(memory_bytes=2**30, wall_seconds=60.0)
    assert SandboxSettings().limits == Limits()
    with pytest.raises(InputError, match=r"\[sandbox\].*'memory' is not a setting \(did you mean 'memory_bytes'"):
        SandboxSettings.read({"memory": 2**30})


@needs_bubblewrap
def test_devices_meet_by_loopback_of_their_own_and_reach_no_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        port = outside.getsockname()[1]

        def work(channel: socket.socket) -> None:
            said = []
            with socket.create_server(("127.0.0.1", 0)) as own, socket.create_connection(own.getsockname()):
                said.append("met")
            for family, address in ((socket.AF_INET, ("127.0.0.1", port)), (40, (2, port))):  # 40 is AF_VSOCK
                try:
                    socket.socket(family, socket.SOCK_STREAM).connect(address)
                except OSError:
                    said.append("refused")
            channel.sendall(" ".join(said).encode())

        with Cell([], SMALL, loopback=True) as cell:
            assert wait(cell, cell.run(work)) == b"met refused refused"
