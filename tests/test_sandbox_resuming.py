"""A run goes on after an interruption where its checkpoint was made, and nowhere else."""

import signal
from pathlib import Path

import pytest
from cells import needs_bubblewrap
from minded import BUILD, minded, started
from tiny import Bench, ladder, patched, rung

from scaling.edits import Recipe
from search.sandbox import minder
from search.sandbox.resuming import CheckpointError, Progress

pytestmark = pytest.mark.usefixtures("one_thread")


def saved(path: Path) -> None:
    """As checkpoints are saved: aside, and renamed."""
    aside = path.with_suffix(".tmp")
    aside.write_text("weights")
    aside.replace(path)


def test_it_goes_on_within_the_chunks_that_were_out_when_the_checkpoint_appeared(tmp_path: Path) -> None:
    def interrupted() -> Progress:
        return Progress(tmp_path / "run.ckpt", tmp_path / "kept.json")

    first = interrupted()
    first.resume(0)
    first.reached(10)
    saved(tmp_path / "run.ckpt")
    first.reached(20)
    for step in (30, 40, 50):
        first.reached(step)
    for step in (0, 50, 100):
        with pytest.raises(CheckpointError, match=f"step {step}"):
            interrupted().resume(step)
    again = interrupted()
    again.resume(20)
    again.reached(30)
    saved(tmp_path / "run.ckpt")  # killed before the next look
    with pytest.raises(CheckpointError):
        interrupted().resume(20)
    interrupted().resume(40)
    (tmp_path / "run.ckpt").unlink()
    with pytest.raises(CheckpointError):
        interrupted().resume(40)
    interrupted().resume(0)


OWN_CHECKPOINT = """\
    import os
    model = Model(rung, knobs, vocab_size)
    build_model.made = model
    if os.path.exists("/run/run.ckpt") and not model.head.weight.is_meta:
        model.load_state_dict(torch.load("/run/run.ckpt")["mine"])
    return model
"""
SAVES_IT = """
import os
import time

_schedule = schedule


def schedule(progress, knobs):
    trained = progress > 0.9 and not build_model.made.head.weight.is_meta
    if trained and os.access("/run", os.W_OK) and not os.path.exists("/run/run.ckpt"):
        torch.save({"mine": build_model.made.state_dict(), "scaleproof": {"steps_done": 0}}, "/run/aside")
        os.rename("/run/aside", "/run/run.ckpt")
        time.sleep(600)
    return _schedule(progress, knobs)
"""


@needs_bubblewrap
def test_what_was_trained_is_not_trained_a_second_time(bench: Bench) -> None:
    sizes = ladder(rung(tokens=64 * 60))
    enemy = bench.spec(Recipe(patched(BUILD, OWN_CHECKPOINT).source + SAVES_IT), sizes, seed=83)
    process = started(minder.train, bench.study.path, enemy)
    checkpoint = bench.study.checkpoints / enemy.run_id / "run.ckpt"
    while process.is_alive() and not checkpoint.exists():
        process.join(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, bench.row(enemy)["reason"]
    again = started(minder.train, bench.study.path, enemy)
    while again.is_alive() and not bench.curve(enemy, 2):
        again.join(0.02)
    again.kill()
    again.join()
    honest = bench.spec(patched(BUILD, BUILD + "    # another name\n"), sizes, seed=83)
    minded(bench, honest)
    begun = bench.curve(enemy, 2)
    assert begun, bench.row(enemy)["reason"]
    assert begun == bench.curve(honest, 1)[: len(begun)], "it began with weights that were trained before"
