"""Ladders: every preset rises, and a wrong setting is named."""

import itertools
from pathlib import Path

import pytest
from tiny import rung

from data.errors import InputError
from scaling.ladder import PRESETS, Ladder, load_ladder

GOOD = """
name = "mine"
[[rungs]]
name = "a"
depth = 2
width = 32
context = 64
batch_size = 8
tokens = 10240
[[rungs]]
name = "b"
depth = 3
width = 48
context = 64
batch_size = 8
tokens = 20480
[target]
name = "t"
depth = 4
width = 64
context = 64
batch_size = 8
tokens = 40960
"""


def written(folder: Path, text: str) -> str:
    path = folder / "ladder.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_rises_in_what_a_run_costs(name: str) -> None:
    ladder = load_ladder(name)
    assert ladder.name == name
    costs = []
    for one in (*ladder.rungs, ladder.target):
        params = 12 * one.depth * one.width**2
        costs.append((params, one.tokens, 6 * params * one.tokens))
        assert one.steps >= 100
        assert one.tokens / one.batch_tokens == pytest.approx(one.steps, rel=0.01)
    for before, after in itertools.pairwise(costs):
        assert all(small < large for small, large in zip(before, after, strict=True))


def test_a_ladder_is_read_from_a_file(tmp_path: Path) -> None:
    ladder = load_ladder(written(tmp_path, GOOD))
    assert [one.name for one in ladder.rungs] == ["a", "b"]
    assert (ladder.base.width, ladder.top.width, ladder.target.width) == (32, 48, 64)
    assert (ladder.base.batch_tokens, ladder.base.steps, ladder.base.devices) == (512, 20, 1)
    assert ladder.accelerator == "cpu"
    assert Ladder.model_validate(ladder.model_dump(mode="json")) == ladder


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("depth = 2", "depth = 0", r"not valid at rungs\.0\.depth"),
        ("depth = 2", "depht = 2", r"not valid at rungs\.0\."),
        ('name = "b"', "", r"not valid at rungs\.1\.name"),
        ("tokens = 20480", 'tokens = "many"', r"not valid at rungs\.1\.tokens"),
        ("width = 64", "width = 48.5", r"not valid at target\.width"),
        ('name = "mine"', 'name = "mine"\nprecision = "16"', "not valid at precision"),
        ('name = "mine"', 'name = "mine"\ncheckpoint_seconds = -1', "not valid at checkpoint_seconds"),
        ("depth = 3\nwidth = 48", "depth = 1\nwidth = 32", "must rise"),
        ("depth = 4\nwidth = 64", "depth = 1\nwidth = 64", "must rise"),
        ('name = "b"', 'name = "a"', "two rungs have the same name"),
        ("tokens = 10240", "tokens = 10240\ndevices = 3", "batch_size 8 is no multiple of devices 3"),
        ("[target]", "[target", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1
    with pytest.raises(InputError, match=said):
        load_ladder(written(tmp_path, GOOD.replace(old, new)))


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no ladder 'gpu'; use one of demo, cpu, h100, h100x8"):
        load_ladder("gpu")


def test_a_horizon_changes_the_steps_alone() -> None:
    one = rung(tokens=6400, batch_size=4, context=16)
    assert (one.steps, one.at_horizon(12800).steps) == (100, 200)
    assert one.at_horizon(12800).at_horizon(6400) == one
    assert one.at_horizon(1).steps == 1
