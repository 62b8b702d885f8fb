"""Several devices in one run give what one gives."""

from pathlib import Path

import pytest
from tiny import BASELINE, STEPS, Bench, entry, killed_once, ladder, rung
from torch import distributed

from data.errors import ScaleproofError
from scaling.edits import Recipe
from scaling.executor import DIED
from scaling.training import train

pytestmark = pytest.mark.usefixtures("one_thread")

TWO = ladder(rung(devices=2), checkpoint_seconds=0)


def test_two_devices_end_where_one_does_whatever_is_killed_on_the_way(bench: Bench, tmp_path: Path) -> None:
    recipe = killed_once(entry("muon"), tmp_path / "killed", place="1")
    one, two = bench.spec(recipe), bench.spec(recipe, TWO)
    with pytest.raises(ScaleproofError, match=f"^{DIED}$"):
        train(bench.study.path, two)
    assert bench.row(two)["status"] == "running"
    train(bench.study.path, two)
    resumed = bench.row(two)
    train(bench.study.path, two)
    undisturbed = bench.row(two)
    train(bench.study.path, one)
    alone = bench.row(one)

    assert (resumed["status"], resumed["attempt"], resumed["devices"]) == ("finished", 2, 2)
    assert resumed["val_loss"] == undisturbed["val_loss"]
    assert [step for step, _ in bench.curve(two, 2)] == [40, 50, 60]
    assert bench.curve(two, 2) == bench.curve(two, 3)[3:]
    assert not list(bench.study.checkpoints.glob(f"{two.run_id}*"))

    assert undisturbed["val_loss"] == pytest.approx(alone["val_loss"], abs=1e-4)
    assert (two.rung.steps, undisturbed["tokens"], undisturbed["flops"], undisturbed["params"]) == (
        STEPS,
        alone["tokens"],
        alone["flops"],
        alone["params"],
    )
    assert [step for step, _ in bench.curve(two, 3)] == [step for step, _ in bench.curve(one, 1)]
    assert [value for _, value in bench.curve(two, 3)] == pytest.approx([v for _, v in bench.curve(one, 1)], abs=1e-4)
    assert not distributed.is_initialized()


def test_a_divergence_is_told_by_the_first_device_alone(bench: Bench) -> None:
    own = "\n\ndef training_loss(model, inputs, targets):\n    return model(inputs).log().sum()\n"
    spec = bench.spec(Recipe(BASELINE.source + own), TWO)
    train(bench.study.path, spec)
    assert (bench.row(spec)["status"], bench.attempts(spec)) == ("diverged", 1)
    assert "not finite" in bench.row(spec)["reason"]
