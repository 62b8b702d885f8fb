"""Short runs in cells, and recipes that do in them what they should not."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from tiny import BASELINE, Bench, ladder, rung

from data.study import Study
from scaling.edits import Recipe
from scaling.executor import main_hidden
from scaling.runs import RunSpec
from search.sandbox import minder

CONTEXT = multiprocessing.get_context("forkserver")
SHORT = ladder(rung(tokens=64 * 30))
EMBEDDED = "        x = self.tokens(ids)  # (B, T, W)\n"
HEAD = "logits: Tensor = self.head(x)  # (B, T, V)"
INIT = "        self.initialise(rung, knobs)\n"
BUILD = "    return Model(rung, knobs, vocab_size)\n"
SCORES = "functional.scaled_dot_product_attention(q, k, v, is_causal=True)"


def started(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process forked from the warm parent, as every minder is."""
    CONTEXT.set_forkserver_preload(["search.sandbox.worker"])
    process = CONTEXT.Process(target=target, args=arguments)
    with main_hidden():
        process.start()
    return process


def with_sandbox(bench: Bench, table: str) -> Bench:
    """The same study with another table [sandbox]."""
    bench.study.settings_file.write_text(f"schema_version = 1\n[sandbox]\n{table}\n", encoding="utf-8")
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
    """The baseline, with code that runs in the first step that is taken, and has the wire in its hands.

    Not while FLOPs are counted, which asks for the schedule too.
    """
    grip = (
        "    import gc, traceback\n"
        "    if any(one.filename.endswith('scaling/shape.py') for one in traceback.extract_stack()):\n"
        "        return _schedule(progress, knobs)\n"
        "    wires = [one for one in gc.get_objects() if type(one).__name__ == 'Wire']\n"
    )
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return top(
        f"_schedule = schedule\n\n\ndef schedule(progress, knobs):\n{grip}{body}    return _schedule(progress, knobs)\n"
    )
