"""Hostile edits: what each tries, what names it, how its run must end, and what tells whether it got out."""

from __future__ import annotations

import os
import secrets
import socket
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from tiny import BASELINE

from data.tokens import TokenSet
from scaling.edits import Edit, Recipe, Replacement

Row = dict[str, Any]
ORPHAN = "hostile-orphan"
FAKE = 0.0123456


class Stage:
    """The machine outside of a run's cell, with everything there that a hostile edit would like to reach."""

    def __init__(self, folder: Path, study: Path) -> None:
        """Put a key, a home folder and listening sockets there."""
        self.study = study
        # The digits stand in no source, so that an edit can look for the key and not find itself.
        self.key = f"sk-ant-canary-{secrets.randbelow(10**12):012d}"
        self.home = folder / "home"
        self.outside = folder / "outside"
        for path in (self.home, self.outside):
            path.mkdir()
            path.chmod(0o777)
        (self.home / "credentials").write_text(self.key)
        self.text = judged_text(study)
        self.tcp = listener(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = listener(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.unix = listener(socket.AF_UNIX, socket.SOCK_STREAM, str(self.outside / "socket"))
        self.abstract = listener(socket.AF_UNIX, socket.SOCK_STREAM, f"\0hostile-{os.getpid()}")

    def close(self) -> None:
        """Stop listening."""
        for one in (self.tcp, self.udp, self.unix, self.abstract):
            one.close()

    @property
    def names(self) -> dict[str, str]:
        """What stands for `$name` in the edits."""
        return {
            "$study": str(self.study),
            "$home": str(self.home),
            "$outside": str(self.outside),
            "$tcp": str(self.tcp.getsockname()[1]),
            "$udp": str(self.udp.getsockname()[1]),
            "$abstract": self.abstract.getsockname()[1:].decode(),
            "$fake": str(FAKE),
            "$orphan": ORPHAN,
            "$text": self.text,
        }


def judged_text(study: Path) -> str:
    """The first tokens that runs are judged by, in decimal: not as they lie in memory, so that none finds itself."""
    return ",".join(map(str, TokenSet.open(study / "tokens").shard("search")[:40]))


def listener(family: int, kind: int, address: Any) -> socket.socket:
    """A socket that can be asked later whether it was reached."""
    made = socket.socket(family, kind)
    made.bind(address)
    made.setblocking(False)
    if kind == socket.SOCK_STREAM:
        made.listen()
    return made


def reached(heard: socket.socket) -> bool:
    """Whether anyone connected to a listener, or sent it anything."""
    try:
        if heard.type == socket.SOCK_DGRAM:
            heard.recv(100)
        else:
            heard.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def orphans() -> list[int]:
    """Processes on this machine that call themselves what the detached ones do."""
    return [one.pid for one in psutil.process_iter(["name"]) if one.info["name"] == ORPHAN]


def silent(stage: Stage) -> bool:
    """The witness of an edit that can be judged by its row alone."""
    return False


@dataclass(frozen=True, slots=True)
class Hostile:
    """One edit of the packaged recipe.

    tries: what it is after. named: what the door says of it, None where it passes. status and reason: how its run ends,
    as patterns. got_out: whether it reached what it was after. honest: whether the run must finish with the very number
    of the baseline, or else what must be true of its row beside the baseline's.
    """

    slug: str
    tries: str
    edits: tuple[Replacement, ...]
    named: str | None
    status: str
    reason: str = ""
    got_out: Callable[[Stage], bool] = silent
    honest: bool = False
    truly: Callable[[Row, Row], bool] | None = None

    def recipe(self, stage: Stage) -> Recipe:
        """The edited recipe, aimed at a stage."""
        return Edit(tuple(Replacement(one.old, aimed(one.new, stage)) for one in self.edits)).apply(BASELINE)


def aimed(code: str, stage: Stage) -> str:
    """Code with the stage's names filled in."""
    for name, value in stage.names.items():
        code = code.replace(name, value)
    return code


def at_import(code: str) -> Replacement:
    """Code that runs when the recipe is loaded."""
    return _before("class Attention(nn.Module):\n", code, 0)


def in_training(code: str) -> Replacement:
    """Code that runs before the steps past a third of the training, when FLOPs are counted and all checks are done."""
    late = 'if progress > 0.3 and torch.get_default_device().type != "meta":\n'
    return _before('    warmup = knobs["warmup_share"]\n', late + _indented(code, 4), 4)


def in_building(code: str) -> Replacement:
    """Code that runs when the model has been built, and may change `self`."""
    return _before("        self.initialise(rung, knobs)\n", code, 8)


def before_blocks(code: str) -> Replacement:
    """Code that runs in every forward pass, with `ids` (B, T) and `x` (B, T, W)."""
    return _before("        for block in self.blocks:\n            # (B, T, W)", code, 8)


def on_logits(code: str) -> Replacement:
    """Code that runs in every forward pass, with `ids` (B, T) and `logits` (B, T, V)."""
    return _before("        return logits\n", code, 8)


def _before(anchor: str, code: str, indent: int) -> Replacement:
    return Replacement(anchor, _indented(code, indent) + "\n" + anchor)


def _indented(code: str, spaces: int) -> str:
    return textwrap.indent(textwrap.dedent(code).strip("\n"), " " * spaces)
