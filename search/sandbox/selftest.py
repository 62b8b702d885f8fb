"""Does a cell hold on this machine? Something tries to get out of one before any foreign code is let in."""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import ScaleproofError
from search.sandbox.attempts import Outside, not_refused
from search.sandbox.bubblewrap import Mount
from search.sandbox.cell import Cell
from search.sandbox.holder import available
from search.sandbox.limits import CellError, Limits
from search.sandbox.sight import hidden_paths, shown_folders

LIMITS = Limits(memory_bytes=2**33, processes=8, file_bytes=2**20, output_bytes=2**16, wall_seconds=20.0)
LOOK_SECONDS = 0.02
UNSAFE = "--unsafe-no-sandbox"


def self_test() -> list[str]:
    """What a program in a cell could do here that it must not, one phrase each; takes a tenth of a second.

    Raises ScaleproofError when no cell can be opened, or when the attempts do not come to their end.
    """
    with _outside() as outside, Cell([Mount(outside.folder / "shown", "/shown")], LIMITS) as cell:
        channel = cell.run(lambda inside: inside.sendall(json.dumps(_all_attempts(outside)).encode()))
        try:
            return [str(one) for one in json.loads(_answer(cell, channel))]
        except (CellError, json.JSONDecodeError) as error:
            last = cell.output_tail.strip().rpartition("\n")[2]
            raise ScaleproofError(f"The self-test of the sandbox came to no end: {error} {last!r}") from error


def require_sandbox() -> None:
    """Raise ScaleproofError unless cells can be opened here and hold."""
    missing = available()
    if missing is not None:
        raise ScaleproofError(f"{missing} Without it, only {UNSAFE} runs what a model wrote, with all rights of yours.")
    possible = self_test()
    if possible:
        raise ScaleproofError(
            f"The sandbox does not hold on this machine: a program in it could {', '.join(possible)}. "
            f"Only {UNSAFE} goes on without it."
        )


def _all_attempts(outside: Outside) -> list[str]:
    found = not_refused(outside)
    try:
        Path("/shown/probe").touch()
        found.append("write where it may only read")
    except OSError:
        pass
    return found


def _answer(cell: Cell, channel: socket.socket) -> bytes:
    """All that comes on the channel until the inmate ends."""
    said = b""
    while cell.ended is None:
        cell.check()
        if select.select([channel], [], [], LOOK_SECONDS)[0]:
            said += channel.recv(2**16)
    cell.check()
    return said


@contextmanager
def _outside() -> Iterator[Outside]:
    """Things that a cell must hide: a file, two servers, a process with a word in its environment, the home folder."""
    secret = f"scaleproof-{secrets.token_hex(8)}"
    home = _home()
    hides = home.is_dir() and home != Path("/") and not home.is_relative_to("/usr")
    with tempfile.TemporaryDirectory() as folder, _server(socket.AF_INET, ("127.0.0.1", 0)) as network:
        (Path(folder) / "shown").mkdir()
        (Path(folder) / secret).write_text(secret)
        address = f"\0{secret}-socket"
        with _server(socket.AF_UNIX, address), _bystander(secret) as process:
            port = network.getsockname()[1]
            yield Outside(
                secret, Path(folder), port, address, process, home if hides else None, _shown(home), hidden_paths()
            )


def _home() -> Path:
    """The user's home folder; the root where the user has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")


def _shown(home: Path) -> frozenset[str]:
    below = [path for path in shown_folders() if path.is_relative_to(home)]
    return frozenset(path.relative_to(home).parts[0] for path in below if path != home)


@contextmanager
def _server(family: int, address: tuple[str, int] | str) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.bind(address)
        server.listen()
        yield server


@contextmanager
def _bystander(secret: str) -> Iterator[int]:
    """A process that waits for the end of its input."""
    command = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()", secret]
    environment = {**os.environ, "SECRET": secret}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        yield process.pid
        process.kill()
