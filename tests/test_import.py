"""`scaleproof import`: the log of another search, its keeps against its own seed swaps, and what it refuses."""

import html
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from report_fixture import demo_records, write_spool
from small_study import called

from analysis.report import render_report
from data.store import Store
from data.study import Study
from search.foreign import (
    against_best,
    beyond_chance,
    expected_lowest,
    expected_lucky_keeps,
    noise_of,
    noise_of_repeats,
    pairs_to_settle,
)
from search.repeats import BEST, repeated_run

Capture = pytest.CaptureFixture[str]
Row = tuple[str, object, str, str]

PUBLISHED = os.environ.get("SCALEPROOF_PUBLISHED", "")
published = pytest.mark.skipif(not PUBLISHED, reason="set SCALEPROOF_PUBLISHED to the folder of published tables")

NAMES = ("commit", "val_bpb", "status", "description")
BASE: Row = ("b0", 1.0, "keep", "baseline")
SMALL: list[Row] = [
    BASE,
    ("c1", 0.95, "keep", "wider"),
    ("c2", 0.96, "discard", "deeper"),
    ("c3", 0.97, "discard", "random seed 42 to 137"),
    ("c4", 0.0, "crash", "huge batch"),
    ("c5", 0.94, "keep", "repeat KV heads"),
    ("c6", 0.90, "keep", "RoPE base 200K"),
]


def write(path: Path, rows: list[Row], names: tuple[str, ...] = NAMES) -> Path:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join(mark.join(map(str, line)) for line in (names, *rows)) + "\n", encoding="utf-8")
    return path


def asked(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    status, out, err = called(capsys, "import", *arguments, "--json")
    assert status == 0, err
    answer: dict[str, Any] = json.loads(out, parse_constant=pytest.fail)
    return answer


def refused(capsys: Capture, *arguments: str | Path) -> str:
    status, out, err = called(capsys, "import", *arguments)
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write(tmp_path / "log.tsv", SMALL)


@published
def test_eight_of_the_published_keeps_are_larger_than_the_logs_own_seed_swap(tmp_path: Path, capsys: Capture) -> None:
    log, study = Path(PUBLISHED) / "transfer" / "autoresearch_results.tsv", tmp_path / "study"
    answer = asked(capsys, log, study)
    assert (answer["larger_than_seed_swap"], answer["kept"], answer["trials"]) == (8, 22, 125)
    assert answer["seed_swap"] == pytest.approx(0.0007, abs=1e-5)
    assert answer["seed_swaps"] == 1
    assert [level["larger"] for level in answer["levels"]][1] == 8
    assert answer["levels"][0]["larger"] > 8 > answer["levels"][2]["larger"]
    said = "8 of the log's 22 keeps are larger than its own seed swap"
    status, out, _ = called(capsys, "report", study)
    assert status == 0
    assert out.startswith(said)
    assert said in html.unescape((study / "report.html").read_text())
    assert said in (study / "report.md").read_text()


@published
def test_a_given_seed_swap_counts_the_same(tmp_path: Path, capsys: Capture) -> None:
    log = Path(PUBLISHED) / "transfer" / "autoresearch_results.tsv"
    answer = asked(capsys, log, tmp_path / "study", "--seed-swap", "0.0007")
    assert (answer["larger_than_seed_swap"], answer["seed_swap_given"]) == (8, True)


def test_trials_are_rows_that_sql_answers(small: Path, tmp_path: Path, capsys: Capture) -> None:
    answer = asked(capsys, small, tmp_path / "study")
    rows = Store(tmp_path / "study").rows("SELECT * FROM trials ORDER BY written_at")
    assert [row["trial_id"] for row in rows] == [row[0] for row in SMALL[1:]], "the order of the log, less its baseline"
    assert [row["status"] for row in rows] == ["kept", "dropped", "dropped", "crashed", "kept", "kept"]
    assert [row["effect"] for row in rows] == pytest.approx([0.05, -0.01, -0.02, None, 0.01, 0.04])
    assert {row["proposer"] for row in rows} == {"import"}
    assert {row["effect_low"] for row in rows} == {None}
    assert [row["trial_id"] for row in rows if row["placebo"]] == ["c3"], "a seed swap changes nothing but the seed"
    assert (answer["seed_swap"], answer["larger_than_seed_swap"], answer["kept"]) == (0.02, 2, 3)
    assert [keep["trial_id"] for keep in answer["keeps"]] == ["c1", "c6", "c5"]
    status, out, _ = called(capsys, "sql", tmp_path / "study", "select count(*) as n from findings", "--format", "csv")
    assert (status, out.split()) == (0, ["n", "3"])


def test_a_keep_as_large_as_the_swap_is_not_larger(tmp_path: Path, capsys: Capture) -> None:
    """0.3 - 0.1 and 0.5 - 0.3 differ in binary, not in decimals."""
    rows: list[Row] = [BASE, ("a", 0.9, "keep", "x"), ("b", 1.2, "discard", "rerun"), ("c", 0.6, "keep", "y")]
    answer = asked(capsys, write(tmp_path / "log.csv", rows), tmp_path / "study")
    assert (answer["seed_swap"], answer["larger_than_seed_swap"]) == (0.3, 0)


@pytest.mark.parametrize("name", ["log.csv", "log.parquet"])
def test_other_kinds_of_table_and_other_headings(tmp_path: Path, capsys: Capture, name: str) -> None:
    log = write(tmp_path / name, SMALL, ("id", "loss", "verdict", "what"))
    columns = ("commit=id", "val_loss=loss", "status=verdict", "description=what")
    answer = asked(capsys, log, tmp_path / "study", *[text for one in columns for text in ("--column", one)])
    assert (answer["unit"], answer["larger_than_seed_swap"]) == ("nats per token", 2)
    assert Store(tmp_path / "study").rows("SELECT val_loss FROM runs WHERE arm = 'baseline'") == [{"val_loss": 1.0}]


def test_the_same_log_twice_does_nothing_and_says_so(small: Path, tmp_path: Path, capsys: Capture) -> None:
    study = tmp_path / "study"
    first = asked(capsys, small, study)
    spooled = {path.name: path.read_bytes() for path in (study / "spool").glob("*.jsonl")}
    status, out, err = called(capsys, "import", small, study, "--json")
    assert (status, err) == (0, "Nothing to do: the study holds this log.\n")
    assert json.loads(out) == first
    assert {path.name: path.read_bytes() for path in (study / "spool").glob("*.jsonl")} == spooled


def test_an_import_that_was_cut_short_is_made_whole(small: Path, tmp_path: Path, capsys: Capture) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert asked(capsys, small, whole) | {"study": ""} == asked(capsys, small, cut) | {"study": ""}
    (cut / "study.duckdb").unlink()
    (spooled,) = (cut / "spool").glob("*.jsonl")
    spooled.write_bytes(b"".join(spooled.read_bytes().splitlines(keepends=True)[:4]))
    assert asked(capsys, small, cut)["keeps"] == asked(capsys, small, whole)["keeps"]
    assert Store(cut).rows("SELECT count(*) AS n FROM trials") == [{"n": 6}]


def test_a_seed_swap_can_be_given_later(tmp_path: Path, capsys: Capture) -> None:
    log = write(tmp_path / "log.tsv", [row for row in SMALL if row[0] != "c3"])
    study = tmp_path / "study"
    answer = asked(capsys, log, study)
    assert (answer["seed_swap"], answer["larger_than_seed_swap"], answer["levels"]) == (None, None, [])
    assert "nothing in it tells how much the metric moves with the seed alone" in answer["answer"]
    page = render_report(study)
    assert "report/import_trials.svg" in page
    assert "report/import_gains.svg" not in page
    assert asked(capsys, log, study, "--seed-swap", "0.045")["larger_than_seed_swap"] == 1
    assert asked(capsys, log, study)["larger_than_seed_swap"] == 1, "it is remembered"
    assert "1 of the log's 3 keeps is larger than the given seed swap" in render_report(study)["report.md"]


def test_several_swaps_are_pooled_and_a_kept_one_is_no_keep(tmp_path: Path, capsys: Capture) -> None:
    rows: list[Row] = [*SMALL, ("s1", 0.93, "discard", "rerun of c6"), ("s2", 0.86, "keep", "another seed")]
    answer = asked(capsys, write(tmp_path / "log.tsv", rows), tmp_path / "study")
    assert (answer["kept"], answer["kept_seed_swaps"], answer["seed_swaps"]) == (3, 1, 3)
    # c1 and its repeat: 0.95, 0.97; c6 and its two: 0.90, 0.93, 0.86
    squares = 2 * np.var([0.95, 0.97]) + 3 * np.var([0.90, 0.93, 0.86])
    assert answer["seed_swap"] == pytest.approx(math.sqrt(2 * squares / 3))
    assert "the noise of its 3 seed swaps" in answer["answer"]
    assert "3 swaps are 3 draws" in called(capsys, "import", tmp_path / "log.tsv", tmp_path / "study")[1]


def test_a_crashed_swap_measures_nothing_and_is_no_change(tmp_path: Path, capsys: Capture) -> None:
    rows: list[Row] = [*SMALL, ("s1", "", "crash", "rerun")]
    answer = asked(capsys, write(tmp_path / "log.tsv", rows), tmp_path / "study")
    assert (answer["seed_swaps"], answer["seed_swap"], answer["crashed"]) == (1, 0.02, 2)
    assert Store(tmp_path / "study").rows("SELECT trial_id FROM trials WHERE placebo ORDER BY 1") == [
        {"trial_id": "c3"},
        {"trial_id": "s1"},
    ]


def test_a_repeat_of_what_was_kept_says_how_much_came_back(small: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "The repeat of a kept run came out 0.02 worse." in called(capsys, "import", small, tmp_path / "study")[1]
    rows = [row if row[0] != "c3" else ("c3", 1.03, "discard", "rerun baseline") for row in SMALL]
    out = called(capsys, "import", write(tmp_path / "other.tsv", rows), tmp_path / "other")[1]
    assert "(0.03 bits per byte)" in out, "against the baseline, not against the best"
    assert "came out" not in out


def test_long_logs_have_a_small_picture(tmp_path: Path, capsys: Capture) -> None:
    losses = 1 + 0.1 * np.random.default_rng(0).random(3000)
    rows: list[Row] = [BASE, *((f"d{n}", loss, "discard", f"change {n}") for n, loss in enumerate(losses.tolist()))]
    asked(capsys, write(tmp_path / "log.csv", [*rows, ("k", 0.9, "keep", "wider")]), tmp_path / "study")
    files = render_report(tmp_path / "study")
    assert len(files["report/import_trials.svg"]) < 1_000_000
    assert "for room" in files["report/import_trials.svg"]


def test_repeats_that_change_nothing_tell_no_noise(tmp_path: Path, capsys: Capture) -> None:
    rows: list[Row] = [*SMALL[:3], ("s", 0.95, "discard", "rerun")]
    answer = asked(capsys, write(tmp_path / "log.tsv", rows), tmp_path / "study")
    assert answer["larger_than_seed_swap"] is None
    assert "repeat the seed as well" in render_report(tmp_path / "study")["report.md"]


def test_a_search_that_kept_nothing(tmp_path: Path, capsys: Capture) -> None:
    rows: list[Row] = [BASE, ("a", 1.1, "discard", "x"), ("b", "nan", "crash", "y"), ("c", 1.2, "dropped", "new seed")]
    answer = asked(capsys, write(tmp_path / "log.tsv", rows), tmp_path / "study")
    assert answer["answer"] == "None of 3 trials in log.tsv was kept for a change."
    page = render_report(tmp_path / "study")
    assert set(page) == {"report/import_trials.svg", "report.md", "report.html"}
    assert "The keeps" not in page["report.html"]


def test_the_report_has_no_section_of_a_study_of_ones_own(small: Path, tmp_path: Path, capsys: Capture) -> None:
    asked(capsys, small, tmp_path / "study")
    files = render_report(tmp_path / "study")
    for absent in ("A/A", "Landing", "Forecast", "Verdicts", "Scaling law", "No landing run", "Cost"):
        assert absent not in files["report.html"]
        assert absent not in files["report.md"]
    for there in ("c5", "chi-square", "would still have kept", "scaleproof search", "what any keep does on a larger"):
        assert there in files["report.html"]
        assert there in files["report.md"]
    own = render_report(write_spool(tmp_path, demo_records()))
    assert "Imported" not in own["report.html"]
    assert "seed swap" not in own["report.html"]


def test_what_a_log_wrote_is_never_markup(tmp_path: Path, capsys: Capture) -> None:
    hostile = '<script>alert(1)</script> | "x" [a](http://e.x) \x1b[31m'
    rows: list[Row] = [BASE, ("<b>", 0.9, "keep", hostile), ("|c|", 0.95, "discard", "same config")]
    log = write(tmp_path / "log.parquet", rows)
    _, out, _ = called(capsys, "import", log, tmp_path / "study")
    assert "\x1b" not in out
    files = render_report(tmp_path / "study")
    assert "<script>" not in files["report.html"]
    assert "<b>" not in files["report.html"]
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(files["report.md"])
    assert not re.search(r"<(script|a|b)[ >]", page)


def bad(place: int, row: Row) -> list[Row]:
    return [*SMALL[:place], row, *SMALL[place + 1 :]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (bad(0, ("b0", 1.0, "keep", "start")), "the first row (line 2) is no baseline"),
        (bad(0, ("b0", 1.0, "discard", "baseline")), "the first row (line 2) is no baseline"),
        (bad(1, ("c1", 0.9, "maybe", "x")), "status holds 'maybe', which is no known word, in line 3"),
        (bad(1, ("c1", "nan", "keep", "x")), "val_bpb is 'nan' for a trial that was kept in line 3"),
        (bad(1, ("c1", "", "keep", "x")), "val_bpb is '' for a trial that was kept in line 3"),
        (bad(1, ("c1", 0.0, "keep", "x")), "val_bpb is '0.0' for a trial that was kept in line 3"),
        (bad(1, ("c1", "inf", "keep", "x")), "val_bpb is 'inf' for a trial that was kept in line 3"),
        (bad(2, ("c2", "0.9x", "discard", "x")), "val_bpb holds '0.9x', which is no number, in line 4"),
        (bad(2, ("c1", 0.9, "discard", "x")), "commit is 'c1' more than once, in lines 3 and 4"),
        (bad(2, ("", 0.9, "discard", "x")), "commit is empty in line 4"),
        (SMALL[:1], "holds a baseline and no trial"),
    ],
)
def test_a_log_that_cannot_be_right_is_refused(tmp_path: Path, capsys: Capture, rows: list[Row], said: str) -> None:
    assert said in refused(capsys, write(tmp_path / "log.tsv", rows), tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_column_is_named(tmp_path: Path, capsys: Capture, missing: str) -> None:
    names = tuple(f"my_{name}" if name == missing else name for name in NAMES)
    said = refused(capsys, write(tmp_path / "log.csv", SMALL, names), tmp_path / "study")
    assert f"has no column {missing}" in said
    assert f"--column {missing}=" in said


def test_calls_that_cannot_be_right(small: Path, tmp_path: Path, capsys: Capture) -> None:
    study = tmp_path / "study"
    assert "There is no file" in refused(capsys, tmp_path / "nowhere.tsv", study)
    for swap in ("0", "-1", "nan", "inf"):
        assert "--seed-swap" in refused(capsys, small, study, "--seed-swap", swap)
    assert "is not NAME=COLUMN" in refused(capsys, small, study, "--column", "status")
    assert "cannot be mapped" in refused(capsys, small, study, "--column", "loss=val_bpb")
    assert "has no column 'gone'" in refused(capsys, small, study, "--column", "status=gone")
    asked(capsys, small, study)
    other = write(tmp_path / "other.tsv", SMALL[:4])
    assert "holds the log log.tsv as it was" in refused(capsys, other, study)
    own = Study.create(tmp_path / "own", {})
    assert "runs of its own" in refused(capsys, small, own.path)


def test_importing_loads_neither_torch_nor_lightning(small: Path, tmp_path: Path) -> None:
    ask = (
        "import sys, scaleproof\n"
        "for call in (['import', *sys.argv[1:]], ['report', sys.argv[2]]):\n"
        "    scaleproof.app(call, standalone_mode=False)\n"
        "sys.exit(len({'torch', 'lightning', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", ask, str(small), str(tmp_path / "study")], check=False, cwd=tmp_path)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("description", "repeats"),
    [
        ("random seed 42 to 137", BEST),
        ("seed 42 to 137", BEST),
        ("Rerun", BEST),
        ("repeat", BEST),
        ("same config", BEST),
        ("noise check: same config again", BEST),
        ("re-run of a1b2c3", "A1b2c3"),
        ("rerun baseline with another seed", "b0"),
        ("repeat KV heads", None),
        ("seed 137, warmdown 0.8", None),
        ("random init scale 0.5", None),
        ("same width, deeper", None),
        ("no change", None),
        ("", None),
    ],
)
def test_a_repeat_says_so_and_nothing_else(description: str, repeats: str | None) -> None:
    assert repeated_run(description, "b0", ("b0", "A1b2c3")) == repeats


LOSSES = st.lists(st.floats(0.1, 10, allow_nan=False), min_size=2, max_size=30)


@given(LOSSES, st.data())
def test_gains_are_over_the_lowest_kept_before(losses: list[float], data: st.DataObject) -> None:
    kept = [True, *data.draw(st.lists(st.booleans(), min_size=len(losses) - 1, max_size=len(losses) - 1))]
    steps = against_best(losses, kept)
    assert math.isnan(steps.gains[0])
    for row in range(1, len(losses)):
        best = min(loss for loss, keep in zip(losses[:row], kept, strict=False) if keep)
        assert losses[steps.best[row]] == best
        assert steps.gains[row] == pytest.approx(best - losses[row], abs=1e-11)


def test_luck_alone_keeps_as_many_as_said_and_goes_as_low() -> None:
    random, trials = np.random.default_rng(0), 60
    losses = random.normal(0, 1, (4000, trials + 1))
    before = np.minimum.accumulate(losses, axis=1)[:, :-1]
    kept = np.sum(losses[:, 1:] < before, axis=1)
    assert expected_lucky_keeps(trials) == pytest.approx(kept.mean(), abs=4 * kept.std() / 4000**0.5)
    lowest = -losses.min(axis=1)
    assert expected_lowest(trials + 1) == pytest.approx(lowest.mean(), abs=4 * lowest.std() / 4000**0.5)


@pytest.mark.parametrize("repeats", [1, 3])
def test_the_interval_of_the_noise_holds_it_nine_times_in_ten(repeats: int) -> None:
    random, true, worlds = np.random.default_rng(1), 0.7, 2000
    held = 0
    for runs in random.normal(0, true / 2**0.5, (worlds, repeats + 1)):
        noise = noise_of_repeats([(runs[1:] - runs[0]).tolist()])
        assert noise is not None
        assert noise.dof == repeats
        held += noise.low <= true <= noise.high
    assert held / worlds == pytest.approx(0.9, abs=4 * (0.09 / worlds) ** 0.5)


def test_one_repeat_is_its_own_noise_and_pairs_grow_as_gains_shrink() -> None:
    noise = noise_of_repeats([[-0.02]])
    assert noise == noise_of(0.02)
    assert noise is not None
    assert noise.low < 0.02 < 10 * 0.02 < noise.high
    assert noise_of_repeats([]) is None
    assert noise_of_repeats([[0.0, 0.0]]) is None
    assert pairs_to_settle(0.0, 1.0) is None
    assert pairs_to_settle(10.0, 1.0) == 2
    assert (pairs_to_settle(0.1, 1.0) or 0) > 50 * (pairs_to_settle(1.0, 1.0) or 0)
    assert beyond_chance(1.0, 1000) > beyond_chance(1.0, 10) > 1.0


def test_on_searches_of_known_truth_the_swap_tells_more_than_the_keep() -> None:
    """124 trials, a tenth good (mean 1e-3), a third null, the rest harmful; run noise 4e-4; one swap of the best."""
    random, sigma, worlds = np.random.default_rng(0), 4e-4, 600
    held, good = 0, {True: [0, 0], False: [0, 0]}
    for _ in range(worlds):
        kind = random.random(124)
        harm = -random.exponential(1.5e-3, 124)
        effects = np.where(kind < 0.10, random.exponential(1e-3, 124), np.where(kind < 0.46, 0.0, harm))
        swap_at, best, true, keeps, swap = random.integers(10, 124), random.normal(0, sigma), 0.0, [], math.nan
        for place, effect in enumerate(effects.tolist()):
            loss = random.normal(true, sigma) if place == swap_at else random.normal(true - effect, sigma)
            if place == swap_at:
                swap = abs(loss - best)
            elif loss < best:
                keeps.append((best - loss, effect > 0))
                best, true = loss, true - effect
        noise = noise_of(swap)
        held += noise.low <= sigma * 2**0.5 <= noise.high
        for gain, real in keeps:
            good[gain > swap][0] += real
            good[gain > swap][1] += 1
    shares = {larger: real / kept for larger, (real, kept) in good.items()}
    assert 0.75 < held / worlds < 0.9, "the best was kept for being low, so the swap says too much"
    assert 0.6 < shares[True] < 0.75, shares
    assert 0.25 < shares[False] < 0.4, shares


@pytest.mark.parametrize("command", ["plan", "search", "promote"])
def test_an_imported_log_cannot_be_run(small: Path, tmp_path: Path, capsys: Capture, command: str) -> None:
    asked(capsys, small, tmp_path / "study")
    status, out, err = called(capsys, command, tmp_path / "study")
    assert (status, out) == (2, "")
    assert "holds an imported log" in err
    assert err.count("\n") == 1
