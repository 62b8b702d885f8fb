"""The spool: whole lines, attempts, and what a crash or a full disk leaves."""

import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.errors import ScaleproofError
from data.spool import SpoolWriter, new_attempt
from data.store import Store
from data.study import Study

WRITE_FOREVER = """
import sys
import time
from pathlib import Path
from data.spool import SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]))
step = 0
while True:
    writer.append("point", run_id="r", attempt=1, name="loss", step=step, value=1.0)
    step += 1
    if step % 500 == 0:
        print(step, flush=True)
"""


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def test_numbers_that_json_cannot_hold_become_null_or_plain(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with SpoolWriter(path) as writer:
        writer.append(
            "run", val_loss=math.nan, seconds=np.float32(math.inf), rung=np.int64(3), knobs={"a": [math.inf, 1]}
        )
    (record,) = lines(path)
    assert record | {"written_at": 0} == {
        "kind": "run",
        "written_at": 0,
        "val_loss": None,
        "seconds": None,
        "rung": 3,
        "knobs": {"a": [None, 1]},
    }


def test_a_crashed_writers_torn_line_does_not_spoil_the_next_record(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"kind":"run","ru')
    with SpoolWriter(path) as writer:
        writer.append("run", run_id="a")
        writer.append("run", run_id="b")
    torn, *whole = path.read_text().splitlines()
    assert torn == '{"kind":"run","ru'
    assert [json.loads(line)["run_id"] for line in whole] == ["a", "b"]


def test_later_records_of_a_file_always_carry_a_later_time(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with SpoolWriter(path) as writer:
        for step in range(200):
            writer.append("point", step=step)
    times = [record["written_at"] for record in lines(path)]
    assert all(isinstance(time, float) for time in times)
    assert len(set(times)) == 200
    assert times == sorted(times, key=lambda time: float(str(time)))


def test_a_clock_set_back_between_two_commands_lets_no_older_record_pass_for_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, now = Study.create(tmp_path / "study", {}), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600.0)
    with study.writer() as first, study.run_writer("r")[1] as timed:
        first.append("trial", trial_id="a", status=None)
        first.append("trial", trial_id="b", reason="long " * 50_000)
        timed.append("timing", run_id="r", seconds_per_token=1.0)
    with first.path.open("ab") as torn:
        torn.write(b'{"kind":"trial","wr')
    monkeypatch.setattr(time, "time", lambda: now)
    for status in ("unresolved", "kept"):
        with study.writer() as later:
            later.append("trial", trial_id="a", status=status)
    with study.run_writer("r")[1] as timed:
        timed.append("timing", run_id="r", seconds_per_token=2.0)
    store = Store(study.path)
    assert store.rows("select status from trials where trial_id = 'a'") == [{"status": "kept"}]
    assert store.rows("select seconds_per_token from timings") == [{"seconds_per_token": 2.0}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_so() -> None:
    writer = SpoolWriter(Path("/dev/full"))
    with pytest.raises(ScaleproofError, match="disk is full"):
        writer.append("run", run_id="a")
    writer.close()


def test_a_spool_that_cannot_be_opened_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(ScaleproofError, match="Cannot write results"):
        SpoolWriter(tmp_path / "nowhere" / "run.jsonl")


def test_attempts_count_up_and_are_never_given_twice(tmp_path: Path) -> None:
    claimed = [new_attempt(tmp_path, "runs/a") for _ in range(12)]
    assert [attempt for attempt, _ in claimed] == list(range(1, 13))
    assert new_attempt(tmp_path, "runs/b")[0] == 1
    assert new_attempt(tmp_path, "runs/a.b")[0] == 1
    assert claimed[-1][1] == tmp_path / "runs" / "a.12.jsonl"


def test_a_killed_writer_leaves_every_line_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    child = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(4)][-1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    steps = [json.loads(line)["step"] for line in whole.split(b"\n")]
    assert steps == list(range(len(steps)))
    assert len(steps) >= acknowledged
