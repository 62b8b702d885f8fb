"""A run in cells: it comes out as it would without, and whatever its recipe does ends in a row that names it."""

import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from cells import needs_bubblewrap
from tiny import BASELINE, Bench, entry, ladder, make_bench, patched, rung

import scaling.training
from data.errors import ScaleproofError
from data.store import Store
from data.study import Study
from scaling.edits import Recipe
from scaling.executor import main_hidden
from scaling.runs import RunSpec
from search.sandbox import minder, timed

pytestmark = needs_bubblewrap

SHORT = ladder(rung(tokens=64 * 30))
EMBEDDED = "        x = self.tokens(ids)  # (B, T, W)\n"
HEAD = "logits: Tensor = self.head(x)  # (B, T, V)"
INIT = "        self.initialise(rung, knobs)\n"
BUILD = "    return Model(rung, knobs, vocab_size)\n"
SCORES = "functional.scaled_dot_product_attention(q, k, v, is_causal=True)"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A study whose sandbox allows little."""
    bench = make_bench(tmp_path_factory.mktemp("strict"))
    table = "[sandbox]\nwall_seconds = 20.0\noutput_bytes = 100_000\nmemory_bytes = 1_500_000_000\nprocesses = 8\n"
    with bench.study.settings_file.open("a", encoding="utf-8") as settings:
        settings.write(table)
    return Bench(Study.open(bench.study.path), bench.digest)


def minded(bench: Bench, spec: RunSpec) -> dict[str, Any]:
    minder.train(bench.study.path, spec)
    assert not list(bench.study.checkpoints.glob(f"{spec.run_id}*"))
    return bench.row(spec)


def ended(bench: Bench, recipe: Recipe, **fields: Any) -> tuple[str, str]:
    """Status and reason of a short run."""
    row = minded(bench, bench.spec(recipe, SHORT, **fields))
    return row["status"], row["reason"] or ""


def top(code: str) -> Recipe:
    """The baseline, with code that runs when it is imported."""
    return Recipe(BASELINE.source + "\n\n" + code)


def while_training(code: str) -> Recipe:
    """The baseline, with code that runs in the first step of training, and has the wire in its hands."""
    grip = "    import gc\n    wires = [one for one in gc.get_objects() if type(one).__name__ == 'Wire']\n"
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return top(
        f"_schedule = schedule\n\n\ndef schedule(progress, knobs):\n{grip}{body}    return _schedule(progress, knobs)\n"
    )


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


def test_a_crash_is_quoted_with_the_recipe_s_own_lines(bench: Bench) -> None:
    recipe = patched(
        EMBEDDED,
        "        if ids.device.type != 'meta':\n            raise ValueError('no\\x1b[31m luck\\n' + 'x' * 9999)\n"
        + EMBEDDED,
    )
    status, reason = ended(bench, recipe)
    said, *tail = reason.split("\n")
    assert status == "failed"
    assert said.startswith(r"ValueError: no\x1b[31m luck\nxxx")
    assert len(reason) <= 1500
    assert all(line.startswith("> line ") for line in tail)
    assert "in forward: raise ValueError" in tail[-1]
    assert "in training_loss" not in reason


def test_a_recipe_of_several_devices_is_refused_in_a_sentence(bench: Bench) -> None:
    with pytest.raises(ScaleproofError, match="several devices.*--unsafe-no-sandbox"):
        minder.train(bench.study.path, bench.spec(BASELINE, ladder(rung(devices=2))))


SEND = "import json, struct\nchannel = wires[0]._channel\nchannel.setblocking(True)\n"
RAW = SEND + "def raw(head, body=b''):\n    channel.sendall(struct.pack('<IQ', len(head), len(body)) + head + body)\n"
WEIGHTS = "wires[0].send('loss', value=1.0)\n"

HOSTILE = [
    (top("import os\nos._exit(0)"), "It ended without giving its result."),
    (top("import os\nos._exit(3)"), "It ended with status 3 instead of its result."),
    (top("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"), "It died of signal 11 (SIGSEGV)"),
    (top("raise KeyboardInterrupt"), "KeyboardInterrupt: no message"),
    (top("while True:\n    print('x' * 1000)"), "It wrote more than 97.7 KiB to its output."),
    (top("import os, time\nfor _ in range(20):\n    os.fork()"), "It started more than 8 processes."),
    (top("hog = [torch.ones(2**26) for _ in range(100)]"), "memory"),
    (
        while_training("import os\nos.closerange(3, 100)\nwhile True:\n    pass"),
        "It closed its channel and did not end.",
    ),
    (while_training(RAW + "raw(b'not json')"), "It spoke out of turn: the head of its message is no JSON object."),
    (while_training(RAW + "raw(b'[' * 60000)"), "It spoke out of turn: the head of its message is no JSON object."),
    (while_training(RAW + 'raw(b\'{"kind": "loss", "value": NaN}\')'), "It spoke out of turn: the head"),
    (while_training(RAW + 'raw(b\'{"kind": "loss", "value": 1e999}\')'), "value of its message 'loss' is no number"),
    (
        while_training(SEND + "channel.sendall(b'\\xff' * 12)"),
        "It spoke out of turn: a message's head has 4294967295 bytes.",
    ),
    (
        while_training(RAW + 'raw(b\'{"kind": "loss", "value": 1}\', b\'x\' * 99)'),
        "99 bytes come with 'loss', 0 at most may",
    ),
    (while_training("for _ in range(99):\n    wires[0].send('loss', value=0.1)"), "loss of what it was not given"),
    (while_training("for _ in range(99):\n    wires[0].send('ask')"), "asks for more than it has used"),
    (
        while_training("wires[0].send('weights', b'x' * 99, peak=1, device='x')"),
        "'weights' where ask or loss or failed was due",
    ),
    (while_training("wires[0].send('begin', first=10**9)"), "'begin' where"),
    (
        while_training("wires[0].send('failed', contract=7, text='\\x1b[2J' + 'a' * 60000, frames=[[1], 'x', {}])"),
        r"\x1b[2Jaaa",
    ),
    (top("import search.sandbox.inside as inside\ninside.pack = lambda model: b'nonsense' * 9"), "no safetensors file"),
    (
        top("import pickle, search.sandbox.inside as inside\ninside.pack = lambda model: pickle.dumps(print)"),
        "no safetensors file",
    ),
    (
        top(
            "import search.sandbox.inside as inside\nfrom safetensors.torch import save\n"
            "inside.pack = lambda model: save({'x': torch.zeros(3)})\n"
        ),
        "parameters and gave fewer weights",
    ),
    (
        Recipe(
            BASELINE.source
            + "\n\nimport search.sandbox.inside as inside\nfrom safetensors.torch import save\n"
            + "inside.pack = lambda model: save({'x': torch.zeros(99999)})\n"
        ),
        "The weights do not fit the model that the recipe builds anew",
    ),
    (
        top(
            "import search.sandbox.inside as inside\ninside._answer = lambda wire, *rest: wire.send('logits', b'x' * 4)"
        ),
        "4 bytes come with 'logits'",
    ),
    (
        Recipe(
            BASELINE.source
            + "\n\nimport scaling.shape\n_own = scaling.shape.measure\n"
            + "scaling.shape.measure = lambda *a: scaling.shape.Shape(10**18, 1, 1.0)\n"
        ),
        "params of its message 'shape' is no number from 1 to",
    ),
    (
        Recipe(
            BASELINE.source
            + "\n\nimport os\nfor k in range(2000):\n    open(f'/run/{k}', 'w').close()\nwhile True:\n    pass\n"
        ),
        "It made more than 1000 files.",
    ),
]


@pytest.mark.parametrize(("recipe", "reason"), HOSTILE)
def test_a_hostile_recipe_ends_in_a_row_that_names_what_it_did(strict: Bench, recipe: Recipe, reason: str) -> None:
    status, said = ended(strict, recipe)
    assert status == "failed"
    assert reason in said
    assert said.isprintable() or "\n" in said
    assert len(said) <= 1500


LOOKS = """
import os, glob
seen = [dict(os.environ).get("SECRET"), glob.glob("/home/*/*") + glob.glob("/root/*"), glob.glob("/work/*/*.md")]
shards = [line.split()[-1] for line in open("/proc/self/maps") if "study" in line or "tokens/" in line]
secret = [name for name in os.listdir("/") if name in ("home", "etc")]
raise ValueError(repr(("seen", seen, shards)))
"""


def test_a_recipe_sees_neither_environment_nor_home_nor_shards(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "sk-key")
    status, reason = ended(bench, top(LOOKS))
    assert (status, reason.split(" (line")[0]) == (
        "failed",
        "The recipe does not import: ValueError: ('seen', [None, [], []], [])",
    )


def test_an_evaluated_model_holds_no_shard_in_its_memory(bench: Bench) -> None:
    look = (
        "maps = open('/proc/self/maps').read()\n        assert self.training or 'tokens/' not in maps, maps\n        "
    )
    assert ended(bench, patched(HEAD, look + HEAD))[0] == "finished"


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
search.sandbox.probes.Examination.finished_loss = lambda self: 0.001
sys.modules["scaling.evaluation"] = None
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
    victim.mkdir(mode=0o500)
    (victim / "kept").touch()
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
    spec = bench.spec(BASELINE, ladder(rung(tokens=64 * 600), checkpoint_seconds=0), seed=82)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["search.sandbox.worker"])
    process = context.Process(target=minder.train, args=(bench.study.path, spec))
    with main_hidden():
        process.start()
    spool = bench.study.runs / f"{spec.run_id}.1.jsonl"
    while process.is_alive() and (not spool.exists() or spool.read_text().count("train_loss") < 4):
        process.join(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert bench.row(spec)["status"] == "running"

    resumed = minded(bench, spec)
    assert (resumed["status"], resumed["attempt"]) == ("finished", 2)
    undisturbed = minded(bench, spec)
    assert resumed["val_loss"] == undisturbed["val_loss"]
    steps = bench.curve(spec, 2)
    assert 0 < len(steps) < 60
    assert steps == bench.curve(spec, 3)[-len(steps) :]


def test_two_recipes_are_timed_in_cells(bench: Bench) -> None:
    slow = patched(EMBEDDED, EMBEDDED + "        for _ in range(200):\n            x = x + 0.0\n")
    spec = bench.timing(slow, BASELINE)
    timed.time_pair(bench.study.path, spec)
    (row,) = Store(bench.study.path).rows("select * from timings where run_id = $id", {"id": spec.run_id})
    assert row["ln_ratio"] > 0.2
    assert row["seconds_per_token"] > row["baseline_seconds_per_token"] > 0


def test_a_recipe_that_cannot_be_timed_is_named(bench: Bench) -> None:
    spec = bench.timing(while_training("raise ValueError('no luck')"), BASELINE)
    with pytest.raises(ScaleproofError, match="ValueError: no luck"):
        timed.time_pair(bench.study.path, spec)
