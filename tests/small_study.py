"""A study so small that search, promotion and report take seconds, and the real command line to work on it."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tomli_w

from data.locks import exclusive
from data.store import Store
from data.study import Study
from scaleproof import main
from transfer.presets import check_settings

SCALEPROOF = Path(sys.executable).with_name("scaleproof")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
LOOK_SECONDS = 0.02
WORDS = ["the", "a", "of", "to", "in", "that", "is", "was", "for", "on", "are", "with", "as", "his", "they"]
WORK = (("search", "--workers", "2"), ("promote", "--workers", "2"), ("report",))


def rung(name: str, depth: int, width: int, tokens: int = 2560) -> dict[str, Any]:
    """20 steps of 128 tokens, unless said otherwise."""
    return {"name": name, "depth": depth, "width": width, "context": 16, "batch_size": 8, "tokens": tokens}


LADDER: dict[str, Any] = {
    "name": "small",
    "rungs": [rung("a", 1, 16), rung("b", 2, 16)],
    "target": rung("c", 3, 32),
    "evaluation_sequences": 16,
    "checkpoint_seconds": 0,  # after every chunk of steps, so that a killed run has something to continue from
}
SEARCH: dict[str, Any] = {
    "trials": 4,
    "placebo_every": 3,
    "calibration_seeds": 4,
    "confirm_looks": [2, 4],
    # Two that win on a schedule this short, so that there is a stack, and one that does not.
    "only": ["learning-rate-double", "warmup-stable-decay", "dropout-heavy"],
}
# On the axis of seconds the gates and the verdicts would depend on the clock.
TRANSFER: dict[str, Any] = {"pairs": [2], "landing_pairs": 5, "axis": "tokens", "smallest_saving": 0.05}

OWN_RECIPE = '''
"""A recipe that has nothing in common with the packaged one: the mean of all tokens so far, and a linear map."""
import torch
from torch import nn

from scaling.knobs import Knob

KNOBS = {"learning_rate": Knob(1e-2, "constant", low=1e-3, high=1e-1), "final_share": Knob(0.1)}


class Means(nn.Module):
    def __init__(self, width, vocab_size):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(2 * width, vocab_size)

    def forward(self, ids):
        x = self.tokens(ids)
        count = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return self.head(torch.cat([x, x.cumsum(1) / count[:, None]], -1))


def build_model(rung, knobs, vocab_size):
    return Means(rung.width, vocab_size)


def build_optimizer(model, rung, knobs):
    return torch.optim.Adam(model.parameters(), lr=knobs["learning_rate"])


def schedule(progress, knobs):
    return 1 - (1 - knobs["final_share"]) * progress
'''


def write_corpus(path: Path, documents: int = 600) -> Path:
    """Documents of few words, the same on every call."""
    choose = random.Random(1)
    texts = (" ".join(choose.choices(WORDS, k=40)) for _ in range(documents))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def write_ladder(path: Path) -> Path:
    """The small ladder as a file."""
    path.write_text(tomli_w.dumps(LADDER), encoding="utf-8")
    return path


def make_study(path: Path, corpus: Path, recipe: str | None = None, **search: Any) -> Study:
    """An unworked study; `search` overrides the settings of its search."""
    settings = {
        "corpus": {"source": str(corpus)},
        "search": {**SEARCH, **search},
        "transfer": TRANSFER,
        "ladder": LADDER,
    }
    check_settings(settings)
    return Study.create(path, settings, recipe)


def scaleproof(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [SCALEPROOF, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=1200
    )


def called(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command in this process; returns its exit status, and what it wrote to standard output and error."""
    capsys.readouterr()
    with mock.patch.object(sys, "argv", ["scaleproof", *map(str, arguments)]), pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own."""
    return subprocess.Popen(
        [SCALEPROOF, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended_within(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether a command ends in so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def ended_before(process: subprocess.Popen[str], happened: Callable[[], bool]) -> bool:
    """Whether a command ends before something has happened; leaves the machine to it between two looks."""
    while not happened():
        if ended_within(process, LOOK_SECONDS):
            return True
    return False


def spool_bytes(study: Study) -> int:
    """How much runs and commands have left so far."""
    return sum(entry.stat().st_size for folder in (study.spool, study.runs) for entry in os.scandir(folder))


def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study that was searched, promoted and reported in peace: made once, whatever number of processes test."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path = shared / "finished"
    with exclusive(shared / "finished.lock", 600.0, "Process {pid} has been making the study for too long."):
        if not path.exists():
            study = make_study(path, write_corpus(shared / "corpus.jsonl"))
            for command, *options in WORK:
                done = scaleproof(command, study.path, *options)
                assert done.returncode == 0, done.stderr
    return Study.open(path)


# What the clock, the machine's memory and the number of attempts decide; every other column must come out the same.
CLOCKED = {
    "written_at",
    "started_at",
    "ended_at",
    "attempt",
    "seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "seconds_per_token",
    "baseline_seconds_per_token",
    "ln_ratio",
    "cpu_seconds",
    "clock",
    "wall_seconds_per_token",
    "baseline_wall_seconds_per_token",
    "ln_wall_ratio",
    "load",
    "seconds_ratio",
    "s_time",
}
ON_THE_CLOCKS_AXIS = {"saving", "saving_low", "saving_high", "ln_speedup", "ln_speedup_se", "dof"}
ON_THE_CLOCKS_AXIS |= {"leave_top_rung_out_error", "smallest_saving", "bound"}


def rows_without_clock(study: Study, view: str) -> list[str]:
    """All rows of a view, in a fixed order, without what the clock decides."""
    rows = Store(study.path).rows(f"select * from {view}")
    return sorted(repr(_without_clock(row)) for row in rows if not str(row.get("name")).startswith("worked:"))


def _without_clock(row: dict[str, Any]) -> dict[str, Any]:
    left_out = CLOCKED | ON_THE_CLOCKS_AXIS if row.get("axis") == "seconds" else CLOCKED
    return {name: value for name, value in row.items() if name not in left_out}
