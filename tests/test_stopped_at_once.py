"""A second Ctrl-C, while a model is thinking: the command ends at once, and nothing is said after that."""

import signal
import threading
from pathlib import Path
from typing import Any

import psutil
from cells import needs_bubblewrap
from messages_server import MessagesServer, Reply
from test_claude_search import Script, command, make


class Silent(Script):
    """Says when it is asked, and answers nobody before the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.was_asked = threading.Event(), threading.Event()

    def __call__(self, body: dict[str, Any]) -> Reply:
        self.was_asked.set()
        return super().__call__(body)


@needs_bubblewrap
def test_a_command_that_is_stopped_at_once_ends_without_another_word(tmp_path: Path) -> None:
    script = Silent()
    assert script.gate is not None
    with MessagesServer(script) as server, command("search", make(tmp_path, server, trials=4)) as process:
        assert script.was_asked.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("Stopping" in line for line in process.stderr)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1]
        script.gate.set()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "Stopped. What has ended is kept; give the same command again to continue."
    assert not psutil.wait_procs(started, timeout=120)[1], "it left processes behind"
