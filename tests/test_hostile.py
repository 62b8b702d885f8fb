"""Every hostile edit is named at the door where the door can know, and contained where it runs."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cells import needs_bubblewrap
from hostile import FAKE, Hostile, Row, Stage, listener, orphans, reached
from hostile_machine import MACHINE
from hostile_numbers import NUMBERS
from hostile_words import WORDS
from small_study import ENVIRONMENT, SCALEPROOF, make_study, write_corpus
from tiny import BASELINE, Bench, ladder, make_bench, rung

import scaleproof
from data.store import Store
from data.study import Study
from scaling.runs import RunSpec
from search.door import refuse

HOSTILE = (*MACHINE, *NUMBERS, *WORDS)
SLUGS = [one.slug for one in HOSTILE]
LADDER = ladder(rung(tokens=64 * 20)).model_copy(update={"evaluation_sequences": 64})
SANDBOX = {"wall_seconds": 10.0, "memory_bytes": 2**31, "processes": 24, "file_bytes": 2**26}
SEED = 1
NEIGHBOURS = (2, 3, 4)
LONGEST_REASON = 2500

DRIVER = """
import pickle, sys
from scaling.executor import LocalExecutor, run_all
ladder, parts = pickle.load(sys.stdin.buffer)
errors = {}
for study, worker, specs in parts:
    for ended in run_all(LocalExecutor(study, ladder, workers=2, worker=worker), specs):
        errors[worker, ended.job.run_id] = ended.error
sys.stdout.buffer.write(pickle.dumps(errors))
"""


@dataclass(frozen=True)
class Played:
    """What all edits left, each run once, with honest runs among them."""

    stage: Stage
    rows: dict[str, Row]
    neighbours: dict[int, Row]
    trusted: dict[int, Row]
    errors: dict[Any, str | None]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("hostile")
    made = make_bench(folder)
    made.study.settings_file.write_text(
        "schema_version = 1\n[sandbox]\n" + "".join(f"{name} = {value}\n" for name, value in SANDBOX.items())
    )
    opened = Stage(folder, made.study.path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def played(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Played:
    plain = make_bench(tmp_path_factory.mktemp("plain"))
    bench = Bench(Study.open(stage.study), plain.digest)
    hostile = {one.slug: bench.spec(one.recipe(stage), LADDER, seed=SEED, preflight=True) for one in HOSTILE}
    neighbours = {seed: bench.spec(BASELINE, LADDER, seed=seed) for seed in (SEED, *NEIGHBOURS)}
    trusted = {seed: plain.spec(BASELINE, LADDER, seed=seed) for seed in neighbours}
    # The honest runs begin, go on beside and come after the hostile ones.
    jobs = list(hostile.values())
    for place, spec in zip((0, 12, 36, len(jobs) + 3), neighbours.values(), strict=True):
        jobs.insert(place, spec)
    errors = drive(
        stage,
        [
            (plain.study.path, "scaling.worker", list(trusted.values())),
            (stage.study, "search.sandbox.worker", jobs),
        ],
    )
    return Played(
        stage,
        {slug: bench.row(spec) for slug, spec in hostile.items()},
        {seed: bench.row(spec) for seed, spec in neighbours.items()},
        {seed: plain.row(spec) for seed, spec in trusted.items()},
        errors,
    )


def drive(stage: Stage, parts: list[tuple[Path, str, list[RunSpec]]]) -> dict[Any, str | None]:
    """Do all runs in a process that holds the key, as the driver of a search does."""
    environment = {**os.environ, "ANTHROPIC_API_KEY": stage.key, "HOME": str(stage.home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=pickle.dumps((LADDER, parts)),
        env=environment,
        capture_output=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr.decode()
    errors: dict[Any, str | None] = pickle.loads(done.stdout)
    return errors


def test_there_are_many_and_each_says_what_it_tries() -> None:
    assert len(set(SLUGS)) == len(SLUGS) >= 34
    assert all(one.tries and one.status for one in HOSTILE)


@pytest.mark.parametrize("hostile", HOSTILE, ids=SLUGS)
def test_the_door_names_what_it_can_know(hostile: Hostile, stage: Stage) -> None:
    said = refuse(hostile.recipe(stage), BASELINE)
    if hostile.named is None:
        assert said is None
    else:
        assert said is not None
        assert re.search(hostile.named, said)


@needs_bubblewrap
@pytest.mark.parametrize("hostile", HOSTILE, ids=SLUGS)
def test_with_the_door_open_it_is_contained_and_its_row_says_how_it_ended(hostile: Hostile, played: Played) -> None:
    row, baseline = played.rows[hostile.slug], played.neighbours[SEED]
    assert re.fullmatch(hostile.status, row["status"]), row["reason"]
    reason = row["reason"] or ""
    assert re.search(hostile.reason, reason), reason
    assert bool(reason) == (row["status"] != "finished")
    assert all(line.isprintable() for line in reason.split("\n"))
    assert reason.isascii()
    assert len(reason) <= LONGEST_REASON
    assert "ESCAPED" not in reason
    assert not hostile.got_out(played.stage)
    if hostile.honest:
        assert row["val_loss"] == baseline["val_loss"]
    if hostile.truly is not None and row["status"] == "finished":
        assert hostile.truly(row, baseline)


@needs_bubblewrap
def test_every_run_ended_in_a_row_and_none_broke_its_harness(played: Played) -> None:
    assert {error for error in played.errors.values() if error} == set()
    assert {row["status"] for row in played.rows.values()} <= {"finished", "failed", "diverged"}
    assert {row["attempt"] for row in played.rows.values()} == {1}


@needs_bubblewrap
def test_honest_runs_beside_them_come_out_as_without_a_sandbox(played: Played) -> None:
    for seed, row in played.neighbours.items():
        assert (row["status"], row["val_loss"]) == ("finished", played.trusted[seed]["val_loss"])
        assert row["params"] == played.trusted[seed]["params"]


@needs_bubblewrap
def test_nothing_got_out(played: Played) -> None:
    stage = played.stage
    assert not any(map(reached, (stage.tcp, stage.udp, stage.unix, stage.abstract)))
    assert sorted(path.name for path in stage.outside.iterdir()) == ["socket"]
    assert sorted(path.name for path in stage.home.iterdir()) == ["credentials"]
    assert orphans() == []


@needs_bubblewrap
def test_neither_the_key_nor_a_fake_result_is_in_anything_that_was_left(played: Played) -> None:
    study = Study.open(played.stage.study)
    left = [path for path in study.path.rglob("*") if path.is_file()]
    assert len(left) > len(HOSTILE)
    assert [path for path in left if played.stage.key.encode() in path.read_bytes()] == []
    spoken = [path for path in left if not path.is_relative_to(study.recipes)]
    assert [path for path in spoken if str(FAKE).encode() in path.read_bytes()] == []
    assert Store(study.path).rows(f"select run_id from runs where val_loss < {FAKE * 2}") == []


def test_where_there_is_no_sandbox_nothing_runs(tmp_path: Path) -> None:
    """Neither a request nor a run, so neither money nor code that a model wrote."""
    study = make_study(tmp_path / "study", write_corpus(tmp_path / "corpus.jsonl"), only=None)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(str(shutil.which("git")))
    api = listener(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    environment = {
        **ENVIRONMENT,
        "PATH": str(tools),
        "ANTHROPIC_API_KEY": "sk-ant-canary",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{api.getsockname()[1]}",
    }
    call = [str(SCALEPROOF), "search", str(study.path), "--proposer", "claude", "--workers", "1"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode in {1, 2}
    assert "bubblewrap" in done.stderr
    assert "Traceback" not in done.stderr
    assert not reached(api)
    api.close()
    assert list(study.runs.iterdir()) == []
    assert Store(study.path).rows("select * from runs") == []
    assert Store(study.path).rows("select * from llm_calls") == []


def test_the_table_in_the_docs_has_them_all_and_says_what_the_door_says() -> None:
    table = Path(scaleproof.__file__).with_name("docs") / "hostile.md"
    cells = [line.split(" | ") for line in table.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    rows = {row[0].removeprefix("| "): row[1:] for row in cells[1:]}
    assert list(rows) == SLUGS
    assert [(row[0], row[1] != "passes") for row in rows.values()] == [(one.tries, bool(one.named)) for one in HOSTILE]
