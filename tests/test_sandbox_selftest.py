"""The self-test lets a cell pass that holds, names every hole of one that does not, and then nothing is let in."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cells import needs_bubblewrap

import scaling
from data.errors import ScaleproofError
from search.sandbox import cell, namespaces, selftest
from search.sandbox.bubblewrap import Mount, arguments
from search.sandbox.holder import available
from search.sandbox.limits import Limits
from search.sandbox.selftest import require_sandbox, self_test
from search.sandbox.sight import WHY

Weaker = Callable[[list[str]], list[str]]


@needs_bubblewrap
def test_nothing_gets_out_of_a_cell() -> None:
    assert self_test() == []
    require_sandbox()


def with_network(command: list[str]) -> list[str]:
    return [*command[:2], "--share-net", *command[2:]]


def with_other_files(command: list[str]) -> list[str]:
    folder = tempfile.gettempdir()
    return [*command[:-4], "--ro-bind", folder, folder, *command[-4:]]


def with_a_writable_system(command: list[str]) -> list[str]:
    return command[: command.index("--remount-ro", len(command) - 5)] + command[-2:]


def with_processes(command: list[str]) -> list[str]:
    apart = ["--unshare-ipc", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    return [command[0], *apart, *command[2:]]


def with_all_packages(command: list[str]) -> list[str]:
    hiding = {place + step for place, one in enumerate(command) if one == str(WHY.parent) for step in (-1, 0, 1)}
    return [one for place, one in enumerate(command) if place not in hiding]


@needs_bubblewrap
@pytest.mark.parametrize(
    ("weaker", "possible"),
    [
        (with_all_packages, "read text that is held out of installed packages"),
        (with_network, "connect to an abstract unix socket"),
        (with_other_files, "list a folder outside"),
        (with_a_writable_system, "write in /"),
        (with_processes, "signal a process outside"),
    ],
)
def test_a_weaker_cell_is_named_and_refused(weaker: Weaker, possible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def weakened(mounts: Sequence[Mount], limits: Limits, *, gpu: bool, hidden: Sequence[Path]) -> list[str]:
        return weaker(arguments(mounts, limits, gpu=gpu, hidden=hidden))

    monkeypatch.setattr(cell, "arguments", weakened)
    # Those of the whole machine would be counted where the cell shares its processes or its files.
    monkeypatch.setattr(selftest, "LIMITS", Limits(processes=2**20, memory_bytes=2**50, names=2**50))
    assert possible in self_test()
    with pytest.raises(ScaleproofError, match=rf"does not hold on this machine: .*{possible}.*--unsafe-no-sandbox"):
        require_sandbox()


@needs_bubblewrap
def test_rights_that_were_kept_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep_all(**_: Any) -> None:
        pass

    monkeypatch.setattr(namespaces, "drop_rights", keep_all)
    assert {"keep a capability", "gain privileges from a program", "make a mount namespace", "change its root"} <= set(
        self_test()
    )


def test_where_bubblewrap_is_missing_its_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = available()
    assert sentence is not None
    assert "package bubblewrap" in sentence or "need Linux" in sentence


@pytest.fixture
def readable_copy() -> Iterator[Path]:
    """The packages that a cell needs, where any user can read them."""
    folder = Path("/tmp", f"scaleproof-copy-{os.getpid()}")
    for name in ("data", "scaling", "search"):
        source = Path(scaling.__file__).parents[1] / name
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).with_name("cells.py"), folder)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    yield folder
    shutil.rmtree(folder)


AS_NOBODY = """
import ctypes, os, tempfile
from dataclasses import replace
from pathlib import Path
from cells import SMALL, said_in_a_cell
from search.sandbox.bubblewrap import Mount
from search.sandbox.limits import CellError
from search.sandbox.selftest import self_test

def allocate(channel):
    held = [b"x" * 2**24 for _ in range(18)]
    channel.recv(len(held))

def fill(channel):
    for _ in range(8):
        file = os.open("given", os.O_CREAT | os.O_RDWR)
        os.unlink("given")
        os.write(file, b"x" * 2**19)
    channel.recv(1)

def hide(channel):
    ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE: only root may look now
    fill(channel)

print(self_test())
for work, most in ((allocate, 2**28), (fill, 2**32), (hide, 2**32)):
    with tempfile.TemporaryDirectory() as folder:
        try:
            said_in_a_cell(work, [Mount(Path(folder), "/made", writable=True)], replace(SMALL, memory_bytes=most))
        except CellError as error:
            print(error)
"""


@needs_bubblewrap
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_rights_has_cells_that_hold_too(readable_copy: Path) -> None:
    path = os.pathsep.join([str(readable_copy), sysconfig.get_path("purelib")])
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", f"PYTHONPATH={path}"]
    user += ["PYTHONDONTWRITEBYTECODE=1", "PATH=/usr/bin:/bin", "HOME=/"]
    for python in (sys.executable, shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin") or ""):
        probe = subprocess.run([*user, python, "-c", "import cells"], capture_output=True, check=False)
        if probe.returncode == 0:
            break
    else:
        pytest.skip("no other user can run this Python or read its packages")
    ran = subprocess.run([*user, python, "-c", AS_NOBODY], capture_output=True, text=True, check=False)
    files = ["It wrote more than 3.0 MiB of files.", "It hid which files it has open."]
    assert ran.stdout.splitlines() == ["[]", "It used more than 256.0 MiB of memory.", *files], ran.stderr
