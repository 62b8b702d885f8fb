"""Limits fit the run that they bound, each names itself where it ends one, and a raised one is reason to try again."""

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from cells import SMALL, needs_bubblewrap, said_in_a_cell
from minded import SHORT, ended, minded, top, with_sandbox
from rich.console import Console
from tiny import BASELINE, Bench, ladder, make_bench, rung

from data.store import Store
from scaling.executor import LocalExecutor
from scaling.ladder import load_ladder
from scaling.launcher import Launcher
from scaling.loading import load
from scaling.progress import RichProgress
from scaling.runs import Job, Precedent, RunSpec, Stop
from search.sandbox import limits
from search.sandbox.limits import Limits, SandboxSettings
from search.sandbox.sizes import expected_params, limits_of
from search.trust import SANDBOXED_WORKER

pytestmark = pytest.mark.usefixtures("one_thread")

Channel = socket.socket
CHECKPOINT_BYTES_PER_PARAM = 12


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A study whose settings these tests may change."""
    return make_bench(tmp_path_factory.mktemp("limits"))


@pytest.mark.parametrize("preset", ["cpu", "h100", "h100x8"])
def test_a_checkpoint_and_an_evaluation_fit_at_every_rung_of_the_presets(own: Bench, preset: str) -> None:
    study, chosen, vocab = with_sandbox(own, "").study, load_ladder(preset), 4096
    recipe, plain = load(BASELINE.source), Limits()
    for index, one in enumerate(chosen.rungs):
        with torch.device("meta"):
            model = recipe.build_model(one, recipe.resolve(one, chosen.base), vocab)
        params = sum(parameter.numel() for parameter in model.parameters())
        assert math.isclose(params, expected_params(one, vocab), rel_tol=0.01)
        spec = replace(own.spec(BASELINE, chosen), rung_index=index, horizon=one.tokens)
        found = limits_of(study, spec, vocab)
        assert found.file_bytes >= max(plain.file_bytes, 1.5 * CHECKPOINT_BYTES_PER_PARAM * params)
        assert found.memory_bytes >= plain.memory_bytes + 4 * 4 * params + 4 * one.batch_tokens * vocab
        assert 4 * params < found.weights_bytes < found.memory_bytes


def test_what_a_study_sets_holds_whatever_the_run(own: Bench) -> None:
    table = "memory_bytes = 300_000_000\nfile_bytes = 2_000_000\nwall_seconds = 7.0\nweights_bytes = 5000"
    study = with_sandbox(own, table).study
    spec = replace(own.spec(BASELINE), precedent=Precedent(100.0, 10**9))
    found = limits_of(study, spec, 300)
    assert (found.memory_bytes, found.file_bytes, found.wall_seconds) == (300_000_000, 2_000_000, 7.0)
    assert (found.weights_bytes, found.names, found.silent_seconds) == (5000, Limits().names, 600.0)


def test_a_baseline_that_is_larger_than_expected_raises_what_follows_the_size(own: Bench) -> None:
    study, spec = with_sandbox(own, "").study, own.spec(BASELINE)
    found = limits_of(study, replace(spec, precedent=Precedent(1.0, 10**9)), 300)
    assert found.file_bytes >= 1.5 * CHECKPOINT_BYTES_PER_PARAM * 10**9
    assert found.memory_bytes > limits_of(study, spec, 300).memory_bytes


class Noting(LocalExecutor):
    """Keeps what it was given."""

    def submit(self, job: Job) -> None:
        self.jobs: list[Job] = [*getattr(self, "jobs", []), job]
        super().submit(job)


@contextmanager
def launched(bench: Bench) -> Iterator[tuple[Launcher, Noting]]:
    executor = Noting(bench.study.path, ladder(), workers=1, worker=SANDBOXED_WORKER)
    with bench.study.writer() as writer:
        progress = RichProgress(Console(file=io.StringIO()))
        yield Launcher(Store(bench.study.path), executor, progress, writer), executor
    executor.close()


@needs_bubblewrap
def test_a_run_is_bounded_by_what_the_baseline_took_at_its_rung(own: Bench) -> None:
    bench = with_sandbox(own, "")
    first, second = (bench.spec(BASELINE, SHORT, seed=seed) for seed in (1, 2))
    arm = bench.spec(top("# another"), SHORT, arm="trial:t1")
    longer = replace(arm, horizon=2 * arm.horizon)
    assert limits_of(bench.study, first, 300).wall_seconds == 86_400
    with launched(bench) as (launcher, executor):
        launcher.finish("Baselines", [first, second])
        launcher.start(arm)
    with launched(bench) as (launcher, again):
        assert launcher.results([arm.run_id]) == {}
        launcher.start(longer)
    assert all(isinstance(job, RunSpec) and job.precedent is None for job in executor.jobs[:2])
    rows = [bench.row(spec) for spec in (first, second)]
    took = sum(row["ended_at"] - row["started_at"] for row in rows) / 2
    for job, factor in zip([*executor.jobs[2:], *again.jobs], (1, 2), strict=True):
        assert isinstance(job, RunSpec)
        assert job.precedent is not None
        assert job.precedent.seconds == pytest.approx(factor * took)
        assert job.precedent.params == rows[0]["params"]
        assert limits_of(bench.study, job, 300).wall_seconds == math.ceil(20 * job.precedent.seconds + 60)


@needs_bubblewrap
def test_an_endless_recipe_costs_a_multiple_of_the_baseline(own: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STARTING_SECONDS", 1.0)
    bench = with_sandbox(own, "")
    spec = bench.spec(top("while True:\n    pass"), SHORT)
    row = minded(bench, replace(spec, precedent=Precedent(0.05, 1)))
    assert row["status"] == "failed"
    assert row["reason"] == "It ran longer than 2 s. Limit of [sandbox]: wall_seconds = 2.0, the default."


@needs_bubblewrap
def test_who_says_nothing_is_ended_and_who_speaks_is_not(own: Bench) -> None:
    bench = with_sandbox(own, "silent_seconds = 1.5")
    endless = ended(bench, top("while True:\n    pass"))
    assert endless == ("failed", "It said nothing for 1.5 s. Limit of [sandbox]: silent_seconds = 1.5, as set.")

    def speak(channel: Channel) -> None:
        for _ in range(50):
            channel.sendall(b".")
            time.sleep(0.05)

    assert said_in_a_cell(speak, limits=replace(SMALL, silent_seconds=1.5))[0] == b"." * 50


@needs_bubblewrap
def test_a_run_that_a_limit_ended_is_made_anew_once_it_is_raised(own: Bench) -> None:
    sizes = rung(tokens=64 * 16 * 30, width=64, depth=4, context=64, batch_size=16)
    rungs = ladder(sizes, checkpoint_seconds=0)

    def result(table: str) -> tuple[str, str | None, int]:
        bench = with_sandbox(own, table)
        spec = bench.spec(BASELINE, rungs)
        with launched(bench) as (launcher, _):
            found = launcher.finish("Runs", [spec])[spec.run_id]
        return found.status, found.reason, bench.attempts(spec)

    small = "file_bytes = 1_048_576"
    status, reason, attempts = result(small)
    assert (status, attempts) == ("failed", 1)
    assert reason is not None
    assert reason.endswith(" Limit of [sandbox]: file_bytes = 1048576, as set.")
    assert result(small) == (status, reason, 1)
    assert result(f"{small}\nmemory_bytes = 8_000_000_000")[2] == 1
    assert result("file_bytes = 104_857_600") == ("finished", None, 2)
    assert result(small) == ("finished", None, 2)


@needs_bubblewrap
def test_a_timing_that_a_limit_ended_is_taken_anew_once_it_is_raised(own: Bench) -> None:
    spec = own.timing(BASELINE, BASELINE, SHORT)
    reason = f"It used more than 2.0 GiB of memory. {Stop('memory_bytes', 2**31, chosen=False)}"
    with own.study.writer() as writer:
        writer.append("timing", **spec.columns(), run_id=spec.run_id, reason=reason, ln_ratio=None)
    for table, taken in (("", False), ("memory_bytes = 4_294_967_296", True)):
        with launched(with_sandbox(own, table)) as (launcher, executor):
            ratio = launcher.finish_timings("Timings", [spec])[spec.run_id]
        assert math.isfinite(ratio) == taken
        assert len(getattr(executor, "jobs", [])) == taken


@pytest.mark.parametrize(
    ("stop", "table", "lifted"),
    [
        (Stop("wall_seconds", 60.0, chosen=True), {"wall_seconds": 60.5}, True),
        (Stop("wall_seconds", 60.0, chosen=True), {"wall_seconds": 60.0}, False),
        (Stop("wall_seconds", 60.0, chosen=True), {"silent_seconds": 90.0}, True),
        (Stop("wall_seconds", 60.0, chosen=False), {}, False),
        (Stop("wall_seconds", 60.0, chosen=False), {"wall_seconds": 61}, True),
    ],
)
def test_a_limit_is_lifted_where_more_is_set_or_the_default_holds_again(
    stop: Stop, table: dict[str, Any], lifted: bool
) -> None:
    read = Stop.read(f"It ran longer than 60 s. {stop}")
    assert read == stop
    assert stop.is_lifted(table) == lifted
    assert Stop.read(f"{stop} And more.") is None
    assert Stop.read(None) is None


@needs_bubblewrap
def test_a_checkpoint_may_be_larger_than_tmp(own: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMORY_FOLDER_BYTES", 2**14)
    bench = with_sandbox(own, "")
    rungs = ladder(rung(tokens=64 * 30), checkpoint_seconds=0)
    row = minded(bench, bench.spec(BASELINE, rungs, seed=6))
    assert (row["status"], row["reason"]) == ("finished", None)


def test_settings_that_are_out_of_range_are_named() -> None:
    assert SandboxSettings(names=20).limits.names == 20
    with pytest.raises(ValueError, match="silent_seconds"):
        SandboxSettings(silent_seconds=0.0)
