"""Runs in processes of this machine: all end, the dead are started again, and nothing outlives its parent."""

import io
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from tiny import BASELINE, Bench, entry, killed_once, ladder, patched, rung

from data.errors import ScaleproofError
from data.store import Store
from scaling.edits import Recipe
from scaling.executor import LocalExecutor, run_all
from scaling.launcher import Launcher
from scaling.progress import RichProgress
from scaling.runs import Job

EACH_CHUNK = ladder(checkpoint_seconds=0)


@pytest.fixture
def executor(bench: Bench) -> Iterator[LocalExecutor]:
    made = LocalExecutor(bench.study.path, ladder(), workers=2)
    yield made
    made.close()


@pytest.fixture
def launcher(bench: Bench, executor: LocalExecutor) -> Iterator[Launcher]:
    with bench.study.writer() as writer:
        yield Launcher(Store(bench.study.path), executor, RichProgress(Console(file=io.StringIO())), writer)


def test_all_jobs_end_and_leave_their_rows(bench: Bench, executor: LocalExecutor) -> None:
    specs = [bench.spec(BASELINE, seed=seed) for seed in (50, 51, 52)]
    timing = bench.timing(entry("swiglu"), BASELINE)
    jobs: list[Job] = [*specs, timing]
    ended = list(run_all(executor, jobs))
    assert [one.error for one in ended] == [None] * 4
    assert {one.job.run_id for one in ended} == {one.run_id for one in jobs}
    assert [bench.row(spec)["status"] for spec in specs] == ["finished"] * 3
    assert len({bench.row(spec)["val_loss"] for spec in specs}) == 3
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": timing.run_id})
    assert (row["arm"], row["finding_id"], row["rung"], row["device"]) == ("alone:x", "x", 0, "cpu")
    assert row["seconds_per_token"] > 0 < row["baseline_seconds_per_token"]


def test_a_worker_that_was_killed_is_started_once_more(bench: Bench, executor: LocalExecutor, tmp_path: Path) -> None:
    spec = bench.spec(killed_once(BASELINE, tmp_path / "killed"), EACH_CHUNK)
    (ended,) = run_all(executor, [spec])
    assert ended.error is None
    assert (bench.row(spec)["status"], bench.row(spec)["attempt"]) == ("finished", 2)
    assert bench.curve(spec, 2)[0][0] == 40


def test_a_run_that_dies_each_time_is_given_up(bench: Bench, launcher: Launcher, tmp_path: Path) -> None:
    deadly = Recipe(killed_once(BASELINE, tmp_path / "killed").source.replace("marker.touch()", "pass"))
    spec = bench.spec(deadly)
    with pytest.raises(ScaleproofError, match=r"could not be made: The process died .*again to continue"):
        launcher.finish("Runs", [spec])
    assert bench.attempts(spec) == 2
    assert bench.row(spec)["status"] == "running"


def test_what_is_known_is_not_run_again(bench: Bench, launcher: Launcher) -> None:
    diverging = patched("return 1 - (1 - knobs", "return 1e6 * (1 - knobs")
    specs = [bench.spec(BASELINE, seed=54), bench.spec(diverging, seed=54)]
    first = launcher.finish("Runs", specs)
    assert [first[spec.run_id].status for spec in specs] == ["finished", "diverged"]
    assert first[specs[0].run_id].val_loss == bench.row(specs[0])["val_loss"]
    more = [*specs, bench.spec(BASELINE, seed=55), bench.spec(BASELINE, seed=54, arm="stack", purpose="aa")]
    again = launcher.finish("Runs", more)
    assert len(again) == 3
    assert [repr(again[key]) for key in first] == [repr(result) for result in first.values()]
    assert [bench.attempts(spec) for spec in more] == [1, 1, 1, 1]

    timing = bench.timing(entry("geglu"), BASELINE)
    ratios = launcher.finish_timings("Timings", [timing])
    assert launcher.finish_timings("Timings", [timing]) == ratios
    assert bench.attempts(timing) == 1


def test_what_the_machine_does_wrong_stops_the_work_and_is_made_good_by_the_next_call(
    bench: Bench, launcher: Launcher
) -> None:
    good, bad = bench.spec(BASELINE, seed=56), bench.spec(entry("rmsnorm"), seed=56)
    launcher.finish("Runs", [good])
    path = bench.study.recipes / f"{bad.recipe_hash}.py"
    text = path.read_text()
    path.unlink()
    path.mkdir()
    with pytest.raises(ScaleproofError, match=r"^A run at rung a could not be made: This machine could not"):
        launcher.finish("Runs", [good, bad])
    assert set(launcher.results([good.run_id, bad.run_id])) == {good.run_id}

    path.rmdir()
    path.write_text(text)
    assert launcher.finish("Runs", [good, bad])[bad.run_id].status == "finished"
    assert (bench.attempts(good), bench.attempts(bad)) == (1, 2)


PARENT = """
import pickle, sys
from scaling.executor import LocalExecutor, run_all
study, specs = pickle.load(sys.stdin.buffer)
for ended in run_all(LocalExecutor(study, specs[0].setting.ladder, workers=2), specs):
    raise SystemExit(f"ended: {ended.error}")
"""


def test_workers_do_not_outlive_their_parent(bench: Bench) -> None:
    endless = ladder(rung(tokens=10**12))
    specs = [bench.spec(BASELINE, endless, seed=seed) for seed in (57, 58)]
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        pickle.dump((bench.study.path, specs), parent.stdin)
        parent.stdin.close()
        try:
            for spec in specs:
                while not bench.attempts(spec):
                    with pytest.raises(subprocess.TimeoutExpired):
                        parent.wait(0.05)
            below = psutil.Process(parent.pid).children(recursive=True)
        finally:
            parent.kill()
    assert parent.returncode == -signal.SIGKILL
    assert len(below) >= 3
    _, alive = psutil.wait_procs(below, timeout=120)
    for process in alive:
        process.kill()
    assert alive == []
    assert [bench.row(spec)["status"] for spec in specs] == ["running", "running"]
