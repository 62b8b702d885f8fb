"""The process that holds a cell open: bubblewrap, with nothing in it yet."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from data.errors import ScaleproofError
from search.sandbox.bubblewrap import MEMORY_FOLDERS, arguments
from search.sandbox.limits import Limits

READY_SECONDS = 30.0


class Holder:
    """An open cell without an inmate; `init` is the first process of its pid namespace, as numbered here.

    It ends with its owner: when the thread that opened it ends, and when the owner's end of its input is closed.
    """

    def __init__(self, command: list[str]) -> None:
        """Open the cell and wait until it stands; raises ScaleproofError with bubblewrap's own words otherwise."""
        told, telling = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command[:1], "--info-fd", str(telling), *command[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[telling],
                env={"PATH": "/usr/bin:/bin"},
            )
        except OSError as error:
            os.close(told)
            raise ScaleproofError(f"bubblewrap cannot be started: {error.strerror}.") from error
        finally:
            os.close(telling)
        try:
            self._wait_until_ready()
            self.init: int = json.loads(os.read(told, 4096))["child-pid"]
            self._init = os.pidfd_open(self.init)
            root = f"/proc/{self.init}/root"
            self._processes = os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY)
            self._memory_folders = [os.open(root + path, os.O_RDONLY | os.O_DIRECTORY) for path in MEMORY_FOLDERS]
        except BaseException:
            self._process.kill()
            self._close_pipes()
            raise
        finally:
            os.close(told)

    @property
    def processes(self) -> int:
        """The cell's own /proc, opened: it shows the processes within and no others."""
        return self._processes

    @property
    def memory_folders(self) -> Sequence[int]:
        """The cell's folders that are memory, opened."""
        return self._memory_folders

    def kill(self) -> None:
        """End the cell: the kernel kills all of a pid namespace with its first process."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init, signal.SIGKILL)

    def close(self) -> None:
        """End it and wait for its end; whoever entered it from outside must have been waited for by their parent."""
        self.kill()
        self._close_pipes()
        for descriptor in (self._init, self._processes, *self._memory_folders):
            os.close(descriptor)

    def _wait_until_ready(self) -> None:
        entry, answer, said = self._process.stdin, self._process.stdout, self._process.stderr
        assert entry is not None
        assert answer is not None
        assert said is not None
        with suppress(BrokenPipeError):
            entry.write(b"?")
            entry.flush()
        ready, _, _ = select.select([answer], [], [], READY_SECONDS)
        if ready and os.read(answer.fileno(), 1):
            return
        if not ready:
            raise ScaleproofError(f"bubblewrap opened no cell within {READY_SECONDS:.0f} s.")
        words = said.read().decode(errors="replace").strip().removeprefix("bwrap: ")
        raise ScaleproofError(f"bubblewrap cannot open a cell: {words.rstrip('.') or 'it gave no reason'}.")

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()


def available() -> str | None:
    """None when cells can be opened here, else one sentence that says why not and what to do."""
    if sys.platform != "linux":
        return "Cells need Linux with bubblewrap; this is another system."
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: install Debian's package bubblewrap (apt install bubblewrap)."
    try:
        Holder(arguments([], Limits(), gpu=False)).close()
    except ScaleproofError as error:
        return f"{error} The machine may forbid user namespaces: see kernel.apparmor_restrict_unprivileged_userns."
    return None
