"""`scaleproof simulate`: settings in, error rates and plans out, as text and as JSON."""

import json
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import BaseModel
from small_study import called

import scaleproof
from analysis.simulate_settings import KEYS, Table
from search.simulated import SearchWorld
from transfer.factorial.plans import plan_of_combinations
from transfer.planning.world import BaselineLaw, RecommenderSettings
from transfer.simulation.error_rates import MIX, UNTUNED
from transfer.simulation.worlds import LadderWorld

Capture = pytest.CaptureFixture[str]

DOCUMENT = Path(scaleproof.__file__).parent / "docs" / "simulate.md"
SEARCH: dict[str, Any] = {"proposals": 60, "share_real": 0.2, "searches": 6}
LADDER: dict[str, Any] = {
    "params": [1e6, 4e6],
    "kappas": 0.4,
    "sigma": 0.008,
    "ladders": 40,
    "axis": "tokens",
    "gains": {"good": 0.1, "fading": [0.2, 0], "none": 0},
    "stack": ["good", "fading"],
}
PLAN: dict[str, Any] = {
    "budget_flops": 1e20,
    "target_params": 1e9,
    "sizes": [1e7, 4e7, 1.6e8],
    "pairs": [2, 8],
    "tokens_per_param": [20.0],
    "designs": ["one"],
}
WORLDS: dict[Table, type[BaseModel]] = {
    "search_world": SearchWorld,
    "ladder_world": LadderWorld,
    "plan_world": RecommenderSettings,
}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """One file for all three."""
    return write(tmp_path, search_world=SEARCH, ladder_world=LADDER, plan_world=PLAN)


def write(folder: Path, **tables: Any) -> Path:
    path = folder / "settings.toml"
    path.write_text(tomli_w.dumps(tables))
    return path


def said(capsys: Capture, *arguments: str | Path) -> str:
    """What a call that must work prints; it leaves standard error empty, which is no terminal here."""
    status, out, err = called(capsys, "simulate", *arguments)
    assert (status, err) == (0, "")
    return out


def answered(capsys: Capture, *arguments: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said(capsys, *arguments, "--json"))
    return found


def refused(capsys: Capture, *arguments: str | Path) -> str:
    status, out, err = called(capsys, "simulate", *arguments)
    assert (status, out) == (2, ""), err
    assert err.count("\n") == 1
    return err


def test_a_search_is_simulated_by_both_rules(settings: Path, capsys: Capture) -> None:
    answer = answered(capsys, "search", "--settings", settings)
    assert answer["world"]["proposals"] == 60
    confirmed, greedy = answer["rules"]["screen and confirm"], answer["rules"]["greedy"]
    assert confirmed["false_share"]["value"] < greedy["false_share"]["value"]
    assert confirmed["runs_per_proposal"]["value"] > greedy["runs_per_proposal"]["value"]
    text = said(capsys, "search", "--settings", settings)
    assert text.startswith(f"Screen and confirm keeps {confirmed['kept']['value']:.1f} changes a search")
    for rate in ("placebos kept", "real gains kept", "runs per proposal"):
        assert len(re.findall(rf"^{rate} .*±.*±", text, re.MULTILINE)) == 1
    assert "6 simulated searches of 60 proposals" in text


def test_options_go_before_the_settings(settings: Path, capsys: Capture) -> None:
    first, again, other = (
        answered(capsys, "search", "--settings", settings, "--searches", "3", "--seed", seed)
        for seed in ("1", "1", "2")
    )
    assert first["world"]["searches"] == 3
    assert first == again
    assert first["rules"] != other["rules"]
    ladders = answered(capsys, "ladder", "--settings", settings, "--ladders", "2", "--workers", "1")
    assert ladders["ladders"] == 2


def test_nothing_to_find_is_said_without_a_number(tmp_path: Path, capsys: Capture) -> None:
    nothing = write(tmp_path, search_world={**SEARCH, "share_real": 0.0, "share_null": 1.0, "searches": 2})
    assert answered(capsys, "search", "--settings", nothing)["rules"]["greedy"]["power"]["value"] is None
    assert "real gains kept" in said(capsys, "search", "--settings", nothing)


def test_more_pairs_find_the_right_word_more_often(tmp_path: Path, capsys: Capture) -> None:
    worlds = [{**LADDER, "name": f"{pairs} pairs", "pairs": pairs} for pairs in (2, 12)]
    path = write(tmp_path, ladder_world=worlds)
    answer = answered(capsys, "ladder", "--settings", path, "--workers", "1")
    few, many = answer["worlds"]
    assert [few["name"], few["ladders"]] == ["2 pairs", 40]
    assert few["right"] < many["right"]
    assert few["arms"]["fading"]["right_word"] == "vanishes"


def test_one_world_is_told_in_full(settings: Path, capsys: Capture) -> None:
    text = said(capsys, "ladder", "--settings", settings, "--workers", "1")
    assert text.startswith("In this world the 90 % intervals hold the truth in ")
    assert "is called transfers, gains or grows in " in text
    assert "A sound rung is frozen by its A/A in " in text
    for row in ("good +transfers", "fading +vanishes", "stack +shrinks"):
        assert re.search(rf"^{row} ", text, re.MULTILINE)
    assert "rung 0" in text and "rung 2" not in text
    assert "40 simulated ladders in this world" in text


def test_without_settings_the_mix_is_simulated(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal breaks names over lines
    text = said(capsys, "ladder", "--ladders", "1", "--workers", "1")
    assert text.startswith(f"Averaged over {len(MIX)} worlds, the 90 % intervals hold")
    tuned, untuned = text.split("Baseline tuned less than the arms, counted apart")
    assert all(world.name in tuned for world in MIX)
    assert all(world.name in untuned for world in UNTUNED)
    assert f"1 simulated ladders in each of {len(MIX) + len(UNTUNED)} worlds" in text


def test_a_world_that_is_not_tuned_stands_alone(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, ladder_world={**LADDER, "untuned": 0.1, "ladders": 10})
    text = said(capsys, "ladder", "--settings", path, "--workers", "1")
    assert "Baseline tuned less than the arms: findings without a gain are called" in text


def test_a_plan_says_what_to_run(settings: Path, capsys: Capture) -> None:
    answer = answered(capsys, "plan", "--settings", settings)
    best = answer["plans"][0]
    assert best["flops"] <= 1e20
    text = said(capsys, "plan", "--settings", settings)
    assert text.startswith(f"Run {len(best['rungs'])} rungs of ")
    assert f"{best['runs']} runs" in text
    assert all(note.split(":")[0] in text for note in answer["notes"])
    for heading in ("The plan\n", "The tightest of ", "Cheaper and dearer budgets"):
        assert heading in text


def test_budget_and_target_go_before_the_settings(settings: Path, capsys: Capture) -> None:
    plain = answered(capsys, "plan", "--settings", settings)
    richer = answered(capsys, "plan", "--settings", settings, "--budget", "1e22")
    assert richer["budget_flops"] == 1e22
    widths = [one["plans"][0]["ln_speedup_high"] - one["plans"][0]["ln_speedup_low"] for one in (plain, richer)]
    assert widths[1] < widths[0]
    longer = answered(capsys, "plan", "--settings", settings, "--target", "params=2B,tokens=80B")
    assert [longer["settings"][key] for key in ("target_params", "target_tokens")] == [2e9, 8e10]


def test_a_target_of_the_settings_takes_no_tokens_along(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, plan_world={**PLAN, "target_tokens": 5e10})
    assert answered(capsys, "plan", "--settings", path)["settings"]["target_tokens"] == 5e10
    assert answered(capsys, "plan", "--settings", path, "--target", "params=1e9")["settings"]["target_tokens"] is None


def test_a_budget_that_cannot_tell_says_so(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path, plan_world={**PLAN, "expected_saving": 0.01, "decay": 1.0, "sigma": 0.02})
    text = said(capsys, "plan", "--settings", path)
    assert "cannot be told from none" in text.split("\n\n")[0]
    assert "This budget cannot tell" in text


@pytest.mark.parametrize("fold", [False, True])
def test_a_printed_plan_of_combinations_can_be_read(fold: bool, capsys: Capture) -> None:
    names = list("abcdefghi")
    call = ["factorial", "--findings", ",".join(names), *(["--fold-over"] if fold else [])]
    rows = re.findall(r"^ +\d+  (\S+)$", said(capsys, *call), re.MULTILINE)
    assert rows == [run["arm"] for run in answered(capsys, *call)["runs"]]
    read, signs = plan_of_combinations(rows)
    assert len(rows) == (24 if fold else 12)
    assert sorted(read) == names
    assert (signs.sum(0) == 0).all()


@pytest.mark.parametrize("table", WORLDS)
def test_shown_settings_can_be_given_back(table: Table, tmp_path: Path, capsys: Capture) -> None:
    command = table.removesuffix("_world")
    shown = said(capsys, command, "--show-settings")
    read = tomllib.loads(shown)[table]
    model = WORLDS[table]
    given = {"budget_flops": 1e21, "target_params": 7e9} if table == "plan_world" else {}
    assert near(model.model_validate(read).model_dump(), model.model_validate(given).model_dump())
    everything = tomllib.loads(re.sub(r"^# (\w+ =)", r"\1", shown, flags=re.MULTILINE))[table]
    assert everything.keys() == model.model_fields.keys()
    model.model_validate(everything)
    if table == "search_world":
        (tmp_path / "world.toml").write_text(shown)
        given_back = answered(capsys, "search", "--settings", tmp_path / "world.toml", "--searches", "2")
        assert given_back == answered(capsys, "search", "--searches", "2")


def near(found: Any, wanted: Any) -> bool:
    """Equal, floats to the six digits that are shown."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(near(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(map(near, found, wanted))
    if isinstance(wanted, float):
        return math.isclose(found, wanted, rel_tol=1e-5, abs_tol=1e-12)
    return bool(found == wanted)


@pytest.mark.parametrize("table", WORLDS)
def test_every_setting_is_explained(table: Table) -> None:
    assert set(KEYS[table]) == set(WORLDS[table].model_fields)
    section = DOCUMENT.read_text(encoding="utf-8").split(f"`[{table}]`\n")[1].split("\n## ")[0]
    laws = BaselineLaw.model_fields if table == "plan_world" else {}
    assert [key for key in (*KEYS[table], *laws) if f"`{key}`" not in section] == []


@pytest.mark.parametrize(
    ("command", "content", "said_so"),
    [
        ("search", "[search_world\n", "is not valid TOML"),
        ("search", "sigma = 1", "'sigma' in .* is not a table of simulations .the tables are"),
        ("search", "[serch_world]", "did you mean .search_world.?"),
        ("search", "search_world = 3", "must be a table"),
        ("search", "[ladder_world]", r"holds no table \[search_world\]; add it"),
        ("search", "[[search_world]]\n[[search_world]]", "give one"),
        ("search", "[search_world]\nsgma = 1", "'sgma' is not a setting .did you mean 'sigma'"),
        ("search", "[search_world]\nsigma = -1", "'sigma'"),
        ("ladder", "ladder_world = [1]", "must be a table"),
        ("ladder", "ladder_world = []", "must be a table"),
        ("ladder", "[[ladder_world]]\n[[ladder_world]]", "all different"),
        ("ladder", "[ladder_world]\npears = 4", "'pears' is not a setting .did you mean 'pairs'"),
        ("plan", "[plan_world]\nbudget_flops = 1e20", "--target params=7e9"),
        ("plan", "[plan_world]", "--budget 1e21 and --target"),
        ("plan", "[plan_world]\nbudget_flops = 1e20\ntarget_params = 1e9\npair = 3", "did you mean 'pairs'"),
        ("plan", "[plan_world]\nbudget_flops = 1e9\ntarget_params = 1e9", "buys no ladder"),
    ],
)
def test_settings_that_are_wrong_are_named(
    command: str, content: str, said_so: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "settings.toml").write_text(content)
    assert re.search(said_so, refused(capsys, command, "--settings", tmp_path / "settings.toml"))


@pytest.mark.parametrize("command", ["search", "ladder", "plan"])
def test_settings_that_are_not_there_are_said_so(command: str, tmp_path: Path, capsys: Capture) -> None:
    assert "There is no settings file at" in refused(capsys, command, "--settings", tmp_path / "nowhere.toml")
    assert "Is a directory" in refused(capsys, command, "--settings", tmp_path)


@pytest.mark.parametrize(
    ("call", "said_so"),
    [
        (["plan"], "--budget 1e21 and --target params=7e9"),
        (["plan", "--budget", "1e21"], "A plan needs --target"),
        (["plan", "--budget", "nan", "--target", "params=7e9"], "is no budget"),
        (["plan", "--budget", "0", "--target", "params=7e9"], "is no budget"),
        (["plan", "--budget", "1e21", "--target", "tokens=7e9"], "write it like params=7e9"),
        (["plan", "--budget", "1e21", "--target", "params=huge"], "has no number"),
        (["plan", "--budget", "1e21", "--target", "params=1e5"], "'smallest_params'"),
        (["factorial", "--findings", "a,,b"], "rename ''"),
        (["factorial", "--findings", "a,b,a"], "rename 'a'"),
        (["factorial", "--findings", "a,baseline"], "'baseline'"),
        (["factorial", "--findings", ",".join(map(str, range(24)))], "1 to 23 findings"),
    ],
)
def test_options_that_are_wrong_are_named(call: list[str], said_so: str, capsys: Capture) -> None:
    assert said_so in refused(capsys, *call)


def test_simulating_loads_no_torch(settings: Path) -> None:
    for command in ("search", "ladder", "plan"):
        arguments = [
            "scaleproof",
            "simulate",
            command,
            "--settings",
            str(settings),
            *["--workers", "1"][: 2 * (command == "ladder")],
        ]
        program = (
            f"import sys, scaleproof; sys.argv = {arguments!r}\n"
            "try: scaleproof.main()\n"
            "except SystemExit as ended: print(ended.code, {'torch', 'lightning'} & set(sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "0 set()", done.stderr
