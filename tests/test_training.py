"""One run: what it leaves, that it repeats, and that a kill changes nothing."""

import json
import math
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny import BASELINE, STEPS, Bench, entry, killed_once, ladder, patched

from data.store import Store
from data.tokens import TokenSet
from scaling.edits import Edit, Recipe
from scaling.executor import main_hidden
from scaling.loading import load
from scaling.runs import RunSpec
from scaling.training import train

pytestmark = pytest.mark.usefixtures("one_thread")

EACH_CHUNK = ladder(checkpoint_seconds=0)


def trained(bench: Bench, spec: RunSpec) -> dict[str, Any]:
    train(bench.study.path, spec)
    return bench.row(spec)


def exit_code(bench: Bench, spec: RunSpec) -> int | None:
    """Make the run in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scaling.worker"])
    process = context.Process(target=train, args=(bench.study.path, spec))
    with main_hidden():
        process.start()
    process.join()
    return process.exitcode


def test_a_run_learns_and_leaves_its_rows(bench: Bench) -> None:
    spec = bench.spec(BASELINE)
    row = trained(bench, spec)
    curve = bench.curve(spec, 1)
    assert [step for step, _ in curve] == list(range(10, STEPS + 1, 10))
    assert curve[0][1] > row["val_loss"] + 0.5
    assert bench.curve(spec, 1, "val_loss") == [(STEPS, row["val_loss"])]

    written = (bench.study.runs / f"{spec.run_id}.1.jsonl").read_text().splitlines()
    statuses = [line["status"] for line in map(json.loads, written) if line["kind"] == "run"]
    assert statuses == ["running", "finished"]

    model = load(BASELINE).build_model(spec.rung, load(BASELINE).resolve(spec.rung, spec.base), 257)
    assert row["params"] == sum(p.numel() for p in model.parameters())
    assert row["params_non_embedding"] == row["params"] - (257 + spec.rung.context) * spec.rung.width
    # Per token and block 12 W^2 multiply-adds, and W per score and per value looked up, in the head W per id; twice as
    # much again backward, where attention computes its scores once more.
    width, context = spec.rung.width, spec.rung.context
    products = 2 * 3 * (12 * width**2 + 257 * width)
    attention = row["flops"] / row["tokens"] - products
    assert 2 * 3 * 2 * width * context <= attention <= 2 * 4 * 2 * width * context

    tokens = TokenSet.open(bench.study.tokens)
    assert row["val_bpb"] == pytest.approx(row["val_loss"] / math.log(2) / tokens.bytes_per_token("search"))
    assert (row["tokens"], row["status"], row["attempt"]) == (STEPS * spec.rung.batch_tokens, "finished", 1)
    assert row["seconds"] > 0 < row["tokens_per_second"]
    # On one thread nobody computes longer than the clock runs, but for how finely both are read.
    assert 0 < row["cpu_seconds"] < 1.05 * row["seconds"] + 0.01
    assert row["peak_memory_bytes"] > 0
    assert row["ended_at"] > row["started_at"]


def test_the_same_spec_gives_the_same_loss_and_another_seed_another(bench: Bench) -> None:
    spec = bench.spec(BASELINE, seed=2)
    assert trained(bench, spec)["val_loss"] == trained(bench, spec)["val_loss"]
    assert bench.curve(spec, 1) == bench.curve(spec, 2)
    assert trained(bench, bench.spec(BASELINE, seed=3))["val_loss"] != bench.row(spec)["val_loss"]


def test_the_shard_decides_the_evaluation_alone(bench: Bench) -> None:
    one, other = (bench.spec(BASELINE, seed=4, shard=shard) for shard in ("search", "confirm"))
    assert trained(bench, one)["val_loss"] != trained(bench, other)["val_loss"]
    assert bench.curve(one, 1) == bench.curve(other, 1)


@pytest.mark.parametrize("slug", ["dropout-heavy", "muon"])
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(bench: Bench, slug: str, tmp_path: Path) -> None:
    spec = bench.spec(killed_once(entry(slug), tmp_path / "killed"), EACH_CHUNK)
    assert exit_code(bench, spec) == -signal.SIGKILL
    assert bench.row(spec)["status"] == "running"
    assert bench.checkpoint(spec).is_file()
    bench.checkpoint(spec).with_suffix(".tmp").write_bytes(b"torn by another kill")

    resumed = trained(bench, spec)
    assert (resumed["status"], resumed["attempt"]) == ("finished", 2)
    assert not list(bench.study.checkpoints.glob(f"{spec.run_id}*"))
    undisturbed = trained(bench, spec)
    assert resumed["val_loss"] == undisturbed["val_loss"]
    assert resumed["tokens"] == undisturbed["tokens"]
    assert bench.curve(spec, 1) == bench.curve(spec, 3)[:3]
    assert bench.curve(spec, 2) == bench.curve(spec, 3)[3:]
    assert [step for step, _ in bench.curve(spec, 2)] == [40, 50, 60]


def test_a_checkpoint_that_cannot_be_read_is_none(bench: Bench) -> None:
    spec = bench.spec(BASELINE, seed=5)
    bench.checkpoint(spec).write_bytes(b"PK\x03\x04 torn by a power cut")
    assert trained(bench, spec)["status"] == "finished"
    assert [step for step, _ in bench.curve(spec, 1)] == list(range(10, STEPS + 1, 10))
    assert not bench.checkpoint(spec).exists()


def test_a_learning_rate_without_measure_diverges(bench: Bench) -> None:
    row = trained(bench, bench.spec(Edit(knobs={"learning_rate": 1e6}).apply(BASELINE)))
    assert row["status"] == "diverged"
    assert row["val_loss"] is None
    assert "exploded" in row["reason"] or "not finite" in row["reason"]


def test_a_loss_that_is_not_finite_diverges_at_once(bench: Bench) -> None:
    own = "\n\ndef training_loss(model, inputs, targets):\n    return model(inputs).log().sum()\n"
    recipe = Recipe(BASELINE.source + own)
    row = trained(bench, bench.spec(recipe))
    assert (row["status"], row["reason"]) == ("diverged", "The training loss is not finite at step 10.")


FORWARD = "        x = self.tokens(ids)  # (B, T, W)\n"
ON_DATA = "ids.device.type != 'meta'"


@pytest.mark.parametrize(
    ("raises", "reason"),
    [
        (f"        if {ON_DATA}:\n            raise ValueError('no luck')\n", "ValueError: no luck"),
        (
            "        raise ValueError('no luck')\n",
            "The recipe does not run on the meta device at rung a: ValueError: no luck",
        ),
    ],
)
def test_a_recipe_that_raises_fails_with_its_own_line(bench: Bench, raises: str, reason: str) -> None:
    recipe = patched(FORWARD, raises + FORWARD)
    line = 1 + next(k for k, text in enumerate(recipe.text.splitlines()) if "no luck" in text)
    row = trained(bench, bench.spec(recipe))
    assert row["status"] == "failed"
    assert row["reason"].startswith(f"{reason} (line {line} of the recipe)")


def test_a_run_of_an_unknown_recipe_is_the_machine_s_fault(bench: Bench) -> None:
    spec = bench.spec(BASELINE, seed=6)
    lost = RunSpec(spec.setting, "0" * 16, 0, spec.horizon, 6, "search", "baseline", "pair")
    with pytest.raises(FileNotFoundError):
        train(bench.study.path, lost)
    assert bench.row(lost)["status"] == "running"
    assert Store(bench.study.path).rows("select 1 from runs where status = 'failed' and seed = 6") == []
