"""Work flows one way through the house, and asking a study loads nothing that trains."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from report_fixture import demo_records, write_spool

import scaleproof
from data.study import Study

ROOT = Path(scaleproof.__file__).parent
FOLDERS = ("data", "scaling", "search", "transfer", "analysis")
HEAVY = {"torch", "lightning", "optuna"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {name_of(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Modules that a file imports anywhere, in functions and for type checkers too."""
    return _imported(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports_at_once(path: Path) -> set[str]:
    """Those that it imports as soon as it is imported itself."""
    return _imported(path, ast.parse(path.read_text(encoding="utf-8")).body)


def _imported(path: Path, nodes: Iterable[ast.AST]) -> set[str]:
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # What is imported from a package is a module of it, or else a name that the package itself defines.
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members if members <= SOURCES.keys() else {str(node.module)}
    return found


IMPORTED = {name: imports(path) for name, path in SOURCES.items()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_from_those_left_of_it(folder: str) -> None:
    beyond = {*FOLDERS[FOLDERS.index(folder) + 1 :], "scaleproof", "tests", "benchmarks"}
    mine = {name: found for name, found in IMPORTED.items() if name.split(".")[0] == folder}
    assert len(mine) > 3
    wrong = {(name, one) for name, found in mine.items() for one in found if one.split(".")[0] in beyond}
    assert wrong == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_modules_of_a_folder_import_each_other_in_a_circle(folder: str) -> None:
    sources = {name: path for name, path in SOURCES.items() if name.split(".")[0] == folder}
    mine = {name: imports_at_once(path) & sources.keys() for name, path in sources.items()}
    try:
        order = list(TopologicalSorter(mine).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")
    assert set(mine) <= set(order)


def test_the_data_layer_and_the_statistics_know_no_torch() -> None:
    pure = {"slope", "saving", "words", "power", "gates", "forecast", "landing", "decay", "aa", "student"}
    free = {name for name in SOURCES if name.startswith(("data.", "analysis."))} - {"analysis.doctor"}
    free |= {f"transfer.{one}" for one in pure} | {"scaling.knobs", "scaling.edits"}
    free |= {f"search.{one}" for one in ("keep", "finish", "shrinkage", "simulated", "error_rates", "foreign")}
    rooms = ("transfer.tables", "transfer.simulation", "transfer.planning", "transfer.factorial")
    free |= {name for name in SOURCES if name.startswith(rooms)}
    free |= {name for name in SOURCES if name.startswith(("scaling.laws", "scaling.fit"))} | {"scaling.targets"}
    assert free <= SOURCES.keys()
    assert {name for name in free if {one.split(".")[0] for one in IMPORTED[name]} & {"torch", "lightning"}} == set()


ASK = """
import json, sys
import scaleproof
for call in json.loads(sys.argv[1]):
    try:
        scaleproof.app(call, standalone_mode=False)
    finally:
        print("\\nLOADED", json.dumps([call, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def test_asking_a_study_loads_neither_torch_nor_lightning(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", {})
    write_spool(study.path, demo_records())
    path = str(study.path)
    table = tmp_path / "runs.csv"
    rows = [f"{n}e5,{d}e6,{2 + n**-0.3 + d**-0.4}" for n in (1, 2, 4, 8) for d in (1, 3, 9, 27)]
    table.write_text("\n".join(["params,tokens,loss", *rows]))
    calls = [
        ["--help"],
        ["fit", str(table), "--form", "chinchilla", "--draws", "2", "--target", "params=2M,tokens=1e8"],
        ["sql", path, "select count(*) as n from runs", "--format", "json"],
        ["verdict", path],
        ["report", path],
    ]
    asked = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(calls)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert asked.returncode == 0, asked.stderr
    loaded = [json.loads(line[7:]) for line in asked.stdout.splitlines() if line.startswith("LOADED ")]
    assert [call for call, _ in loaded] == calls
    assert [call for call, modules in loaded if HEAVY & set(modules)] == []
    assert [bool({"duckdb", "numpy"} & set(modules)) for _, modules in loaded[:2]] == [False, True]
    assert "duckdb" in loaded[2][1]
    assert "stack" in asked.stdout
    assert study.report_html.stat().st_size > 10_000
