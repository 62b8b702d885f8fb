"""Wrong calls and bad input: one clear sentence, the right exit status, and nothing lost."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import typer
from rich.console import Console
from small_study import LADDER, OWN_RECIPE, called, make_study, scaleproof, write_corpus, write_ladder

from data.store import Store
from data.study import Study
from scaleproof import app
from scaling.lab import open_lab


def commands(group: typer.Typer, *before: str) -> list[str]:
    """Every command as it is typed, those of groups with the group's name before them."""
    own = [command.name or command.callback.__name__ for command in group.registered_commands if command.callback]
    typed = [" ".join((*before, name)) for name in own]
    for one in group.registered_groups:
        assert one.typer_instance
        typed += commands(one.typer_instance, *before, str(one.name))
    return sorted(typed)


Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "corpus.jsonl")


@pytest.fixture
def study(tmp_path: Path, corpus: Path) -> Study:
    """A study on which no work was done."""
    return make_study(tmp_path / "study", corpus)


def refused(capsys: Capture, status: int, *arguments: str | Path) -> str:
    """Call a command that must fail; returns its one sentence."""
    got, out, err = called(capsys, *arguments)
    assert (got, out) == (status, ""), err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder; the files of locks hold nothing that could be lost."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.mark.parametrize("command", commands(app))
def test_help_shows_an_example(command: str, capsys: Capture) -> None:
    status, out, err = called(capsys, *command.split(), "--help")
    assert (status, err) == (0, "")
    assert f"Example: scaleproof {command} " in f"{' '.join(out.split())} "


def test_python_runs_it_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "scaleproof", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: scaleproof" in done.stdout


@pytest.mark.parametrize(
    "call",
    [
        ["frobnicate"],
        ["search"],
        ["search", "x", "--trails", "3"],
        ["search", "x", "--trials", "0"],
        ["search", "x", "--workers", "many"],
        ["sql", "x"],
        ["report", "x", "y"],
        ["simulate", "searches"],
        ["simulate", "search", "--searches", "1"],
        ["simulate", "ladder", "--workers", "0"],
        ["simulate", "plan", "--budget", "much"],
        ["simulate", "factorial"],
    ],
)
def test_a_wrong_call_ends_with_status_2(call: list[str], capsys: Capture) -> None:
    status, out, err = called(capsys, *call)
    assert (status, out) == (2, "")
    assert "Usage: scaleproof" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["plan", "search", "promote", "report", "verdict"])
def test_an_unknown_study_is_said_so(command: str, tmp_path: Path, capsys: Capture) -> None:
    # A verdict takes tables too.
    missing = "There is no file and no study at" if command == "verdict" else "There is no study at"
    assert f"{missing} {tmp_path / 'nowhere'}" in refused(capsys, 2, command, tmp_path / "nowhere")
    assert "is not a study" in refused(capsys, 2, command, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_study_of_a_newer_schema_is_left_alone(study: Study, capsys: Capture) -> None:
    study.settings_file.write_text(study.settings_file.read_text().replace("schema_version = 1", "schema_version = 99"))
    before = files(study.path)
    for command in ("search", "promote", "report"):
        assert "newer scaleproof" in refused(capsys, 2, command, study.path)
    assert files(study.path) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no corpus at"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("größer".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused_at_the_door(
    content: bytes | None, said: str, tmp_path: Path, capsys: Capture
) -> None:
    corpus = tmp_path / "corpus.txt"
    if content is not None:
        corpus.write_bytes(content)
    assert said in refused(capsys, 2, "init", tmp_path / "study", "--corpus", corpus)
    assert not (tmp_path / "study").exists()


def test_a_corpus_is_found_from_any_folder(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.txt").write_text("some text\n")
    monkeypatch.chdir(tmp_path)
    assert called(capsys, "init", "study", "--corpus", "text.txt")[0] == 0
    assert Study.open("study").settings["corpus"]["source"] == str(tmp_path / "text.txt")


def test_a_corpus_too_small_for_the_ladder_is_said_so_and_a_larger_one_serves(tmp_path: Path, capsys: Capture) -> None:
    study = make_study(tmp_path / "study", write_corpus(tmp_path / "corpus.jsonl", documents=12))
    assert "The corpus is too small" in refused(capsys, 2, "search", study.path)
    write_corpus(tmp_path / "corpus.jsonl")
    with open_lab(study, Console(stderr=True)) as lab:
        assert lab.setting.corpus_digest


def test_a_corpus_that_has_gone_is_said_so(tmp_path: Path, capsys: Capture) -> None:
    study = make_study(tmp_path / "study", write_corpus(tmp_path / "corpus.jsonl"))
    (tmp_path / "corpus.jsonl").unlink()
    before = files(study.path)
    assert "There is no corpus at" in refused(capsys, 2, "search", study.path)
    assert files(study.path).keys() - before.keys() <= {"spool/study.1.jsonl"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "huge"], "There is no ladder 'huge'; use one of demo, cpu, h100, h100x8"),
        (["--ladder", "missing.toml"], "There is no ladder 'missing.toml'"),
        (["--tokenizer", "words"], "Corpus setting 'tokenizer'"),
        (["--recipe", "missing.py"], "Cannot read the recipe missing.py"),
    ],
)
def test_init_names_what_it_does_not_know(options: list[str], said: str, tmp_path: Path, capsys: Capture) -> None:
    assert said in refused(capsys, 2, "init", tmp_path / "study", *options)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rungs": LADDER["rungs"][::-1]}, "must rise"),
        ({"rungs": LADDER["rungs"][:1]}, "rungs"),
        ({"depth": 3}, "depth"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_said_so(
    change: dict[str, Any], said: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "ladder.toml").write_text(tomli_w.dumps(LADDER | change))
    assert said in refused(capsys, 2, "init", tmp_path / "study", "--ladder", tmp_path / "ladder.toml")


@pytest.mark.parametrize(
    ("table", "entry", "said"),
    [
        ("search", {"trails": 3}, "did you mean 'trials'?"),
        ("search", {"proposer": "dice"}, "'proposer'"),
        ("search", {"only": ["moun"]}, "the nearest are muon"),
        ("search", {"categories": ["magic"]}, "no category 'magic'"),
        ("corpus", {"path": "x"}, "'path'"),
        ("ladder", {"rungs": []}, "rungs"),
    ],
)
def test_settings_that_are_not_valid_are_named(
    table: str, entry: dict[str, Any], said: str, study: Study, capsys: Capture
) -> None:
    settings = {**study.settings, table: {**study.settings[table], **entry}}
    study.settings_file.write_text(tomli_w.dumps(settings))
    assert said in refused(capsys, 2, "search", study.path)
    study.settings_file.write_text("[search\n")
    assert "is not valid TOML" in refused(capsys, 2, "search", study.path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--proposer", "dice"], "--proposer dice: input should be 'catalogue', 'optuna', 'claude' or 'mixed'.\n"),
        (["--hours", "-1"], "--hours -1.0: input should be greater than 0.\n"),
        (["--proposer", "claude", "--max-usd", "0"], "--max-usd 0.0: input should be greater than 0.\n"),
        (["--max-usd", "5"], "--max-usd needs --proposer claude or mixed.\n"),
        (["--proposer", "optuna", "--model", "x", "--batch"], "--model and --batch need --proposer claude or mixed.\n"),
        (["--brief", "words.txt"], "--brief needs --proposer claude or mixed.\n"),
    ],
)
def test_an_option_that_is_wrong_or_of_no_use_is_named(
    options: list[str], said: str, study: Study, capsys: Capture
) -> None:
    before = files(study.path)
    assert refused(capsys, 2, "search", study.path, *options) == said
    assert files(study.path) == before


def test_a_promotion_needs_a_search(study: Study, capsys: Capture) -> None:
    assert f"run `scaleproof search {study.path}` first" in refused(capsys, 2, "promote", study.path)


def test_a_study_is_not_made_over_another(tmp_path: Path, capsys: Capture) -> None:
    assert called(capsys, "init", tmp_path / "study", "--preset", "demo")[0] == 0
    before = files(tmp_path)
    assert "There is a study at" in refused(capsys, 2, "init", tmp_path / "study", "--preset", "cpu")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("select * from speedups", "There is no view speedups; the views are aa, calibrations"),
        ("selct 1", "SQL error"),
        ("select speed from runs", "SQL error"),
        ("drop view runs", "read-only"),
        ("insert into record_run (run_id) values ('x')", "read-only"),
        ("select * from read_csv('/etc/passwd')", "read-only"),
        ("select 1; select 2", "one SQL statement"),
    ],
)
def test_sql_that_is_wrong_or_writes_is_refused(statement: str, said: str, study: Study, capsys: Capture) -> None:
    assert said in refused(capsys, 2, "sql", study.path, statement)
    assert called(capsys, "sql", study.path, "select count(*) as runs from runs", "--format", "csv")[1] == "runs\n0\n"


def test_debug_shows_the_traceback(tmp_path: Path, capsys: Capture) -> None:
    status, out, err = called(capsys, "--debug", "report", tmp_path / "nowhere")
    assert (status, out) == (2, "")
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("There is no study at")


def changed(old: str, new: str) -> str:
    assert old in OWN_RECIPE
    return OWN_RECIPE.replace(old, new)


BROKEN = {
    "nothing": ("", "has no function build_model"),
    "syntax": (changed("return Means(", "return Means(("), "does not import: SyntaxError"),
    "unknown import": (changed("import torch\n", "import torch\nimport flux_capacitor\n"), "No module named"),
    "no build_model": (changed("def build_model(", "def make_model("), "has no function build_model"),
    "no KNOBS": (changed("KNOBS = {", "SETTINGS = {"), "has no table KNOBS"),
    "no learning rate": (
        changed('{"learning_rate"', '{"rate"').replace('knobs["learning_rate"]', 'knobs["rate"]'),
        "has no knob 'learning_rate'",
    ),
    "wrong shape": (changed("nn.Linear(2 * width, vocab_size)", "nn.Linear(2 * width, 9)"), "logits of shape"),
    "no logits": (changed("return self.head(", "return None, self.head("), "must return logits"),
    "fails": (changed("return Means(rung.width", "return Means(rung.girth"), "build_model fails at rung a"),
    "no module": (changed("return Means(rung.width, vocab_size)", "return rung"), "must return a torch module"),
    "looks ahead": (changed("x.cumsum(1) / count[:, None]", "x.sum(1, True).expand_as(x)"), "looks ahead"),
    "no optimizer": (
        changed("return torch.optim.Adam(", "return (lambda *_, **settings: settings)("),
        "must return a torch optimizer",
    ),
    "no step": (changed("return 1 - (1 - knobs", "return 1 - (1 - knob"), "first training step fails: NameError"),
    "built twice": (
        OWN_RECIPE + "\n\ndef build_model(*given):\n    return Means(16, 257)\n",
        "Placebos cannot be made",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_recipe_that_breaks_its_contract_is_refused_at_the_door(
    fault: str, tmp_path: Path, corpus: Path, capsys: Capture
) -> None:
    text, said = BROKEN[fault]
    (tmp_path / "recipe.py").write_text(text)
    ladder = write_ladder(tmp_path / "ladder.toml")
    call = ("init", tmp_path / "study", "--ladder", ladder, "--corpus", corpus, "--recipe", tmp_path / "recipe.py")
    assert said in refused(capsys, 2, *call)
    assert not (tmp_path / "study").exists()


def test_a_recipe_of_ones_own_is_the_studys_baseline(tmp_path: Path, corpus: Path, capsys: Capture) -> None:
    (tmp_path / "recipe.py").write_text(OWN_RECIPE)
    ladder = write_ladder(tmp_path / "ladder.toml")
    call = ("init", tmp_path / "study", "--ladder", ladder, "--corpus", corpus, "--recipe", tmp_path / "recipe.py")
    assert called(capsys, *call)[0] == 0
    planned = json.loads(called(capsys, "plan", tmp_path / "study", "--json")[1])["rungs"]
    vocabulary, width = 257, 16
    assert planned[0]["params"] == vocabulary * width + (2 * width + 1) * vocabulary
    (tmp_path / "study" / "recipe.py").write_text(BROKEN["looks ahead"][0])
    assert "looks ahead" in refused(capsys, 2, "search", tmp_path / "study")
    assert Store(tmp_path / "study").rows("select * from runs") == []


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("kept")
    assert "Cannot make a study at" in refused(capsys, 2, "init", tmp_path / "file" / "study")
    assert "Cannot make a study at" in refused(capsys, 2, "init", Path("/proc/study"))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, left_bytes: int) -> Path:
    """Fill the file system but for `left_bytes`, with a file to delete."""
    room = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (room.f_bavail * room.f_frsize - left_bytes))
    return filler


def test_a_full_disk_is_said_so_and_the_study_continues_when_there_is_space(small_disk: Path, corpus: Path) -> None:
    study = make_study(small_disk / "study", corpus, trials=1)
    first = scaleproof("sql", study.path, "select 1 as one", "--format", "csv")
    assert first.stdout == "one\n1\n"
    filler = fill(small_disk, 1_200_000)
    full = scaleproof("search", study.path, "--workers", "2")
    assert full.returncode == 1
    last = full.stderr.splitlines()[-1]
    assert "space" in last
    assert "Traceback" not in full.stderr
    filler.unlink()
    kept = Store(study.path).rows("select run_id, ended_at from runs where status = 'finished' order by run_id")
    done = scaleproof("search", study.path, "--workers", "2")
    assert done.returncode == 0, done.stderr
    ids: dict[str, object] = {"ids": [row["run_id"] for row in kept]}
    asked = "select run_id, ended_at from runs where list_contains($ids, run_id) order by run_id"
    assert Store(study.path).rows(asked, ids) == kept


@pytest.mark.parametrize(("command", "status"), [("sql", 0), ("verdict", 2), ("report", 0)])
def test_asking_loads_no_torch(command: str, status: int, study: Study) -> None:
    arguments = ["scaleproof", command, str(study.path), *(["select 1"] if command == "sql" else [])]
    program = (
        f"import sys, scaleproof; sys.argv = {arguments!r}\n"
        "try: scaleproof.main()\n"
        "except SystemExit as ended: print(ended.code, {'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    # A study without a promotion has no verdict to show, which is said without torch too.
    assert done.stdout.splitlines()[-1] == f"{status} set()", done.stderr
