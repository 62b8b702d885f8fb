"""A run in cells: it comes out as it would without, and whatever its recipe does ends in a row that names it."""

import signal
from pathlib import Path

import psutil
import pytest
from cells import needs_bubblewrap
from minded import CONTEXT, EMBEDDED, HEAD, INIT, SCORES, SHORT, ended, minded, started, top, while_training
from tiny import BASELINE, Bench, entry, ladder, patched, rung

import scaling.training
from data.store import Store
from scaling.edits import Recipe
from search.sandbox import minder, timed
from search.sandbox.worker import work

pytestmark = [needs_bubblewrap, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("slug", ["", "muon", "dropout-heavy"])
def test_a_run_in_cells_comes_out_as_it_would_without(bench: Bench, slug: str) -> None:
    spec = bench.spec(entry(slug) if slug else BASELINE, seed=70)
    scaling.training.train(bench.study.path, spec)
    without = bench.row(spec)
    within = minded(bench, spec)
    same = {"val_loss", "val_bpb", "params", "params_non_embedding", "tokens", "flops", "status", "reason", "device"}
    assert {name: within[name] for name in same} == {name: without[name] for name in same}
    assert bench.curve(spec, 2) == bench.curve(spec, 1)
    assert bench.curve(spec, 2, "val_loss") == bench.curve(spec, 1, "val_loss")
    assert within["seconds"] > 0 < within["tokens_per_second"]
    assert 0.2 * without["cpu_seconds"] < within["cpu_seconds"], "the minder has seen what the inmate computed"
    assert within["peak_memory_bytes"] > 0
    assert minded(bench, spec)["val_loss"] == without["val_loss"]


def test_tied_weights_and_buffers_cross_the_border(bench: Bench) -> None:
    tied = patched(INIT, INIT + "        self.head.weight = self.tokens.weight\n")
    counting = patched(INIT, INIT + "        self.register_buffer('scale', torch.ones(()))\n", tied)
    recipe = patched(HEAD, "self.scale += 0.01 * self.training\n        logits = self.head(x) * self.scale", counting)
    spec = bench.spec(recipe, SHORT)
    scaling.training.train(bench.study.path, spec)
    without = bench.row(spec)
    assert minded(bench, spec)["val_loss"] == without["val_loss"]


def test_a_mixed_precision_run_in_cells_passes_and_comes_out_the_same(bench: Bench) -> None:
    spec = bench.spec(BASELINE, ladder(rung(tokens=64 * 30), precision="bf16-mixed"))
    scaling.training.train(bench.study.path, spec)
    without = bench.row(spec)
    assert minded(bench, spec)["val_loss"] == without["val_loss"]


CHEATS = [
    (patched(EMBEDDED, EMBEDDED + "        x = x + x.roll(-1, 1)\n"), "looks ahead"),
    (patched(SCORES, SCORES.replace(", is_causal=True", "")), "looks ahead"),
    (patched(EMBEDDED, EMBEDDED + "        x = x - x.mean(1, keepdim=True)\n"), "looks ahead"),
    (patched(EMBEDDED, EMBEDDED + "        x = x - x.mean(0, keepdim=True)\n"), "looks sideways"),
    (patched(HEAD, "logits = self.head(functional.dropout(x, 0.5))"), "remembers"),
    (
        patched(
            HEAD,
            "logits = self.head(x)\n"
            "        self.calls = getattr(self, 'calls', 0) + 1\n"
            "        logits = logits * (1 + 0.01 * self.calls * (not self.training))",
        ),
        "remembers",
    ),
    (patched(HEAD, "logits = self.head(x) if self.training else self.head(x) * 0"), "same logits whatever it reads"),
    # Only where nothing is trained, so that no preflight would see it.
    (
        patched(EMBEDDED, EMBEDDED + "        x = x if self.training else x + x.roll(-2, 1)\n"),
        "looks ahead",
    ),
]


@pytest.mark.parametrize(("recipe", "name"), CHEATS)
def test_a_model_that_cheats_is_rejected_by_name(bench: Bench, recipe: Recipe, name: str) -> None:
    status, reason = ended(bench, recipe, seed=71)
    assert status == "failed"
    assert reason.startswith("rejected: The recipe's model")
    assert name in reason


LEARNED = "            {0} = 0.9 * {0} + 0.1 * x.detach().mean((0, 1))\n        logits = self.head(x - {0})"


def averaging(kept: str, name: str) -> Recipe:
    """The baseline, with a running mean of its features that is taken off them; `kept` makes it."""
    held = patched(INIT, INIT + f"        {kept}\n")
    return patched(HEAD, "if self.training and not x.is_meta:\n" + LEARNED.format(name), held)


FORGETFUL = {
    "a plain attribute": averaging("self.mean = [torch.zeros(rung.width)]", "self.mean[0]"),
    "a buffer that is not persistent": averaging(
        "self.register_buffer('mean', torch.zeros(rung.width), persistent=False)", "self.mean"
    ),
    "a global that the schedule sets": patched(
        "def schedule(progress",
        "SCALE = [1.0]\n\n\ndef schedule(progress",
        patched(
            '    warmup = knobs["warmup_share"]\n',
            '    SCALE[0] = 1 + progress\n    warmup = knobs["warmup_share"]\n',
            patched(HEAD, "logits = self.head(x) * SCALE[0]"),
        ),
    ),
}


@pytest.mark.parametrize("kind", FORGETFUL)
def test_a_model_that_is_more_than_its_weights_is_named(bench: Bench, kind: str) -> None:
    status, reason = ended(bench, FORGETFUL[kind], seed=73, preflight=True)
    assert status == "failed"
    assert reason.startswith("rejected: The recipe's model gives other logits when it is built anew from its weights: ")


def test_a_running_mean_in_a_buffer_is_part_of_the_weights(bench: Bench) -> None:
    recipe = averaging("self.register_buffer('mean', torch.zeros(rung.width))", "self.mean")
    spec = bench.spec(recipe, SHORT, seed=73)
    scaling.training.train(bench.study.path, spec)
    assert minded(bench, spec)["val_loss"] == bench.row(spec)["val_loss"]


@pytest.mark.parametrize("shard", ["search", "confirm"])
def test_an_evaluation_tells_nothing_of_what_it_read(bench: Bench, shard: str) -> None:
    judged = "        if torch.is_inference_mode_enabled() and len(ids) != 2:\n"
    tell = "            raise ValueError(bytes(ids.flatten().clamp(max=127).tolist()).decode())\n"
    ending = ended(bench, patched(EMBEDDED, judged + tell + EMBEDDED), seed=74, shard=shard, preflight=True)
    assert ending == ("failed", "rejected: The trained model fails in evaluation: ValueError.")


def test_a_model_that_fails_outside_of_training_is_told_why(bench: Bench) -> None:
    """On training text, which its traceback may quote."""
    recipe = patched(HEAD, "logits = self.head(x if self.training else x[..., 1:])")
    status, reason = ended(bench, recipe, seed=75)
    assert status == "failed"
    assert "mat1 and mat2 shapes" in reason
    assert "> line " in reason


def test_a_finished_loss_that_is_not_finite_diverges(bench: Bench) -> None:
    recipe = patched(HEAD, "logits = self.head(x) if self.training else self.head(x) * torch.nan")
    assert ended(bench, recipe) == ("diverged", "The finished loss is not finite.")
    flat = top("def training_loss(model, inputs, targets):\n    return model(inputs).log().sum()\n")
    assert ended(bench, flat) == ("diverged", "The training loss is not finite at step 10.")


def test_what_a_recipe_does_wrong_is_said_as_without_a_sandbox(bench: Bench) -> None:
    no_mask = patched(SCORES, SCORES.replace(", is_causal=True", ""))
    status, reason = ended(bench, no_mask, seed=72, preflight=True)
    assert (status, reason[:42]) == ("failed", "rejected: The recipe's model looks ahead: ")
    assert ended(bench, top("import no_such_library"), preflight=True)[1].startswith(
        "rejected: The recipe does not import: ModuleNotFoundError"
    )


def test_two_devices_share_a_cell_and_come_out_as_they_would_without(bench: Bench) -> None:
    two = ladder(rung(tokens=64 * 30, devices=2))
    inside, outside = bench.spec(BASELINE, two, seed=31), bench.spec(BASELINE, two, seed=31, shard="confirm")
    # From a worker: what multiprocessing remembers of helpers outside must not be asked for in the cell.
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = started(work, bench.study.path, inside, {}, sender)
    assert receiver.recv() is None
    process.join()
    caged = bench.row(inside)
    assert (caged["status"], caged["devices"]) == ("finished", 2), caged["reason"]
    scaling.training.train(bench.study.path, outside)
    assert bench.curve(inside, 1) == bench.curve(outside, 1)
    free = bench.spec(BASELINE, two, seed=31, arm="again")
    assert free.run_id == inside.run_id
    scaling.training.train(bench.study.path, free)
    assert bench.row(free)["attempt"] == 2
    assert bench.row(free)["val_loss"] == caged["val_loss"]


REPOSITORY = Path(scaling.training.__file__).parent.parent
LOOKS = f"""
import os, glob
files = [one for one in glob.glob({str(Path.home())!r} + "/.*") if os.path.isfile(one)]
seen = [dict(os.environ).get("SECRET"), files, glob.glob({str(REPOSITORY)!r} + "/*.md")]
shards = [line.split()[-1] for line in open("/proc/self/maps") if "study" in line or "tokens/" in line]
raise ValueError(repr(("seen", seen, shards)))
"""


def test_a_recipe_sees_neither_environment_nor_home_nor_shards(bench: Bench) -> None:
    spec = bench.spec(top(LOOKS), SHORT)
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = started(work, bench.study.path, spec, {"SECRET": "sk-key"}, sender)
    assert receiver.recv() is None
    process.join()
    seen = "The recipe does not import: ValueError: ('seen', [None, [], []], []) (line "
    assert bench.row(spec)["reason"].startswith(seen)


def test_an_evaluated_model_holds_no_shard_in_its_memory(bench: Bench) -> None:
    look = (
        "maps = open('/proc/self/maps').read()\n        assert self.training or 'tokens/' not in maps, maps\n        "
    )
    spec = bench.spec(patched(HEAD, look + HEAD), SHORT)
    started(minder.train, bench.study.path, spec).join()
    assert bench.row(spec)["status"] == "finished"


PATCHES = """
import sys, time
import torch.nn.functional
import scaling.evaluation, scaling.module, search.sandbox.probes
print("val_loss 0.001")
def _cheap(*arguments, **named):
    return torch.zeros(()) if named.get("reduction") != "none" else torch.zeros(arguments[1].shape)
for module in (scaling.evaluation, search.sandbox.probes):
    module.token_losses = _cheap
scaling.evaluation.mean_loss = lambda *a: 0.001
search.sandbox.probes.Examination.evaluated = lambda self: 0.001
sys.modules["scaling.evaluation"] = type(sys)("nothing")
time.perf_counter = time.time = time.monotonic = lambda: 0.0
"""


def test_patching_the_harness_changes_no_number(bench: Bench) -> None:
    honest, patching = bench.spec(BASELINE, SHORT, seed=80), bench.spec(top(PATCHES), SHORT, seed=80)
    rows = [minded(bench, spec) for spec in (honest, patching)]
    assert rows[1]["val_loss"] == rows[0]["val_loss"]
    assert bench.curve(patching, 1) == bench.curve(honest, 1)
    assert rows[1]["seconds"] > 0


def test_reseeding_does_not_reorder_the_data(bench: Bench) -> None:
    code = "import random, numpy\nrandom.seed(0)\nnumpy.random.seed(0)\ntorch.manual_seed(0)"
    honest, reseeding = bench.spec(BASELINE, SHORT, seed=81), bench.spec(while_training(code), SHORT, seed=81)
    assert minded(bench, reseeding)["val_loss"] == minded(bench, honest)["val_loss"]


def test_a_malicious_checkpoint_and_links_touch_nothing_outside(bench: Bench, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").touch()
    victim.chmod(0o500)
    code = (
        "import os, pickle\n"
        f"class Bomb:\n    def __reduce__(self):\n        return os.system, ('touch {victim}/bombed /run/bombed',)\n"
        "if os.path.isdir('/run') and not os.path.exists('/run/run.ckpt'):\n"
        "    try:\n"
        f"        os.symlink({str(victim)!r}, '/run/link')\n"
        "        os.makedirs('/run/locked/inner')\n"
        "        os.chmod('/run/locked', 0)\n"
        "        with open('/run/run.ckpt', 'wb') as out:\n            pickle.dump(Bomb(), out)\n"
        "    except OSError:\n        pass\n"
    )
    status, _ = ended(bench, top(code))
    assert status in {"finished", "failed"}
    assert [one.name for one in victim.iterdir()] == ["kept"]
    assert victim.stat().st_mode & 0o777 == 0o500


def test_a_killed_minder_leaves_nothing_running_and_its_run_goes_on(bench: Bench) -> None:
    spec = bench.spec(BASELINE, ladder(rung(tokens=64 * 200), checkpoint_seconds=0), seed=82)
    process = started(minder.train, bench.study.path, spec)
    spool = bench.study.runs / f"{spec.run_id}.1.jsonl"
    while process.is_alive() and (not spool.exists() or spool.read_text().count("train_loss") < 3):
        process.join(0.02)
    inmates = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(inmates) > 2
    assert psutil.wait_procs(inmates, timeout=120)[1] == []
    assert bench.row(spec)["status"] == "running"

    resumed = minded(bench, spec)
    assert (resumed["status"], resumed["attempt"]) == ("finished", 2)
    undisturbed = minded(bench, spec)
    assert resumed["val_loss"] == undisturbed["val_loss"]
    steps = bench.curve(spec, 2)
    assert 0 < len(steps) < 20
    assert steps == bench.curve(spec, 3)[-len(steps) :]


def test_what_a_recipe_compiles_by_itself_runs_as_it_is_written(bench: Bench) -> None:
    compiled = patched(HEAD, "logits: Tensor = torch.compile(self.head)(x)  # (B, T, V)")
    plain = minded(bench, bench.spec(BASELINE, SHORT, seed=84))
    made = minded(bench, bench.spec(compiled, SHORT, seed=84))
    assert (made["status"], made["val_loss"]) == ("finished", plain["val_loss"])


def test_two_recipes_are_timed_in_cells(bench: Bench) -> None:
    slow = patched(EMBEDDED, EMBEDDED + "        for _ in range(200):\n            x = x + 0.0\n")
    spec = bench.timing(slow, BASELINE)
    timed.time_pair(bench.study.path, spec)
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": spec.run_id})
    assert row["ln_ratio"] > 0.2
    assert row["seconds_per_token"] > row["baseline_seconds_per_token"] > 0


def test_a_recipe_that_cannot_be_timed_is_named(bench: Bench) -> None:
    spec = bench.timing(while_training("raise ValueError('no luck')"), BASELINE)
    timed.time_pair(bench.study.path, spec)
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": spec.run_id})
    assert row["ln_ratio"] is None
    assert row["reason"].startswith("ValueError: no luck")
