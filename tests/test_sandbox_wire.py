"""Whatever an inmate says on its wire, or does instead of speaking, ends its run by name."""

import socket
from collections.abc import Iterator

import pytest
import tomli_w
import torch
from cells import needs_bubblewrap
from minded import EMBEDDED, ended, top, while_training
from tiny import BASELINE, Bench, make_bench, patched

from data.study import Study
from scaling.edits import Recipe
from search.sandbox import weights
from search.sandbox.wire import ClosedError, Wire, WireError, escaped

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A study whose sandbox allows little."""
    bench = make_bench(tmp_path_factory.mktemp("strict"))
    sizes = {"output_bytes": 100_000, "memory_bytes": 1_500_000_000, "processes": 8, "file_bytes": 2**20}
    sizes |= {"weights_bytes": 2**20}
    table = tomli_w.dumps({"sandbox": {"wall_seconds": 120.0, **sizes}})
    with bench.study.settings_file.open("a", encoding="utf-8") as settings:
        settings.write(table)
    return Bench(Study.open(bench.study.path), bench.digest)


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
        while_training("import os\nos.closerange(3, 2**16)\nwhile True:\n    pass"),
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
        top("import search.sandbox.inside as inside\ninside.pack = lambda model: bytes(2**21)"),
        "2097152 bytes come with 'weights', 1048576 at most may. Limit of [sandbox]: weights_bytes = 1048576, as set.",
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
            + "scaling.shape.measure = lambda *a: scaling.shape.Shape(10**18, 1, 1.0, 0.0)\n"
        ),
        "params of its message 'shape' is no number from 1 to",
    ),
    (
        Recipe(
            BASELINE.source
            + "\n\nimport scaling.shape\n_own = scaling.shape.measure\n"
            + "scaling.shape.measure = lambda *a: scaling.shape.Shape(10, 1, 1.0, 2.0)\n"
        ),
        "its optimiser's FLOPs are no part of all",
    ),
    (
        Recipe(
            BASELINE.source
            + "\n\nimport os\nfor k in range(2000):\n    open(f'/run/{k}', 'w').close()\nwhile True:\n    pass\n"
        ),
        "It wrote more than 3.0 MiB of files.",
    ),
]


@needs_bubblewrap
@pytest.mark.parametrize(("recipe", "reason"), HOSTILE)
def test_a_hostile_recipe_ends_in_a_row_that_names_what_it_did(strict: Bench, recipe: Recipe, reason: str) -> None:
    status, said = ended(strict, recipe)
    assert status == "failed"
    assert reason in said
    assert said.isprintable() or "\n" in said
    assert len(said) <= 1500


@needs_bubblewrap
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


def file_of_weights(header: str) -> bytearray:
    return bytearray(len(header).to_bytes(8, "little") + header.encode() + bytes(64))


@pytest.mark.parametrize("places", ["[0, 1e999]", "[-1e999, 4]", "[0, 100]", "[8, 4]", "[0]", "null"])
def test_places_that_no_file_has_are_no_weights(places: str) -> None:
    assert weights.count(file_of_weights('{"a": {"shape": [4], "data_offsets": [0, 16]}}')) == 4
    with pytest.raises(WireError, match="no safetensors file"):
        weights.count(file_of_weights(f'{{"a": {{"shape": [4], "data_offsets": {places}}}}}'))


def test_weights_are_taken_over_and_not_held_twice() -> None:
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    packed = bytearray(weights.pack(model))
    weights.unpack(other, packed)
    assert torch.equal(other.weight, model.weight)
    assert not packed


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Wire]]:
    """What an enemy holds, and what the minder reads."""
    enemy, channel = socket.socketpair()
    yield enemy, Wire(channel)
    enemy.close()
    channel.close()


def test_what_is_said_is_heard(pair: tuple[socket.socket, Wire]) -> None:
    enemy, wire = pair
    payload = bytes(range(256)) * 300
    Wire(enemy).send("weights", payload, peak=3, device="cp\u00fc\n", value=None)
    heard = wire.receive("loss", "weights", payload=len(payload))
    assert (heard.kind, bytes(heard.payload), heard.whole("peak", 0, 3)) == ("weights", payload, 3)
    assert heard.text("device", 60) == r"cp\xfc\n"
    assert heard.real("value") != heard.real("value")
    for wrong in (lambda: heard.whole("peak", 0, 2), lambda: heard.whole("device", 0, 2), lambda: heard.real("device")):
        with pytest.raises(WireError, match=r"peak|device"):
            wrong()


def test_nothing_is_waited_for_without_looking_after_the_other(pair: tuple[socket.socket, Wire]) -> None:
    class LookedError(Exception):
        pass

    def look() -> None:
        raise LookedError

    enemy, _ = pair
    watched = Wire(enemy, look)
    with pytest.raises(LookedError):
        watched.receive("loss")
    with pytest.raises(LookedError):
        watched.send("chunk", bytes(2**24))


def test_a_closed_channel_is_told_from_a_torn_message(pair: tuple[socket.socket, Wire]) -> None:
    enemy, wire = pair
    enemy.send(b"\x09\x00\x00\x00")
    enemy.close()
    with pytest.raises(ClosedError):
        wire.receive("loss")
    with pytest.raises(ClosedError):
        wire.send("chunk", bytes(2**24))


def test_hostile_text_is_printable_and_short() -> None:
    assert escaped("\x1b[31mred\u202e\ud800", 40) == r"\x1b[31mred\u202e\ud800"
    assert len(escaped("\x00" * 100, 50)) == 50
