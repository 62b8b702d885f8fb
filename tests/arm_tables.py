"""Tables of runs of several arms with known truth, to be judged by `scaleproof verdict`.

Finished losses follow L = E + A N^-alpha + B D^-beta; an arm behaves as if it had e^lnS times the tokens.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet
from small_study import called

from analysis.verdict_answer import verdict_answer
from data.arm_table import arm_table_of
from data.run_columns import ComparedOn
from transfer.tables.verdict import Ask, judge_table

Columns = dict[str, list[Any]]
Answer = dict[str, Any]
Gain = float | Sequence[float]
"""lnS in tokens: the same at every rung, or one per rung."""
CELL_KEYS = {"params", "tokens", "flops", "speedup", "speedup_low", "speedup_high", "saving"}
ARM_KEYS = {"arm", "rungs", "verdict", "fragile", "reason", "retention", "trend_per_decade", "forecast"}
FORECAST_KEYS = {"params", "flops", "speedup", "speedup_low", "speedup_high", "method", "extrapolated", "methods"}


@dataclass(frozen=True)
class World:
    """Sizes N, horizons in tokens per param, the law, and the noise: `sigma` of a run in nats per token.

    `correlation` of runs of one rung, horizon and seed; without `seeds` every run is single and no column says so.
    """

    params: tuple[float, ...] = (2e7, 6e7, 1.8e8)
    ratios: tuple[float, ...] = (10.0, 20.0, 40.0)
    sigma: float = 0.001
    correlation: float = 0.9
    seeds: int | None = 2
    floor: float = 1.7
    a: float = 400.0
    alpha: float = 0.34
    b: float = 410.0
    beta: float = 0.28

    def loss(self, params: float, tokens: float, ln_speedup: float = 0.0) -> float:
        """Finished loss without noise, nats per token."""
        return float(self.floor + self.a * params**-self.alpha + self.b * (tokens * np.exp(ln_speedup)) ** -self.beta)

    def frontier_loss(self, flops: float, ln_speedup: float = 0.0) -> float:
        """The least finished loss that so many FLOPs reach, up to a factor of the falling part; b = .16."""
        return float(self.floor + 1000 * (flops * np.exp(ln_speedup)) ** -0.16)


EXACT = World(sigma=0.0, seeds=None)
"""No noise at all; a call needs --sigma then."""


def arm_columns(gains: Mapping[str, Gain], world: World = World(), *, seed: int = 0) -> Columns:
    """Every arm and the baseline at every size, horizon and seed; columns arm, params, tokens, loss, seed."""
    random = np.random.default_rng(seed)
    runs = world.seeds or 1
    columns: Columns = {name: [] for name in ("arm", "params", "tokens", "loss", "seed")}
    for rung, params in enumerate(world.params):
        for ratio in world.ratios:
            noise = _noise(world, random, (len(gains) + 1, runs))
            for number, (arm, gain) in enumerate({"baseline": 0.0, **gains}.items()):
                ln_speedup = gain if isinstance(gain, float | int) else gain[rung]
                losses = world.loss(params, params * ratio, ln_speedup) + noise[number]
                columns["arm"] += [arm] * runs
                columns["params"] += [params] * runs
                columns["tokens"] += [params * ratio] * runs
                columns["loss"] += losses.tolist()
                columns["seed"] += list(range(runs))
    if world.seeds is None:
        del columns["seed"]
    return columns


def frontier_columns(
    gains: Mapping[str, Gain], budgets: Sequence[float], *, sigma: float = 0.0, seed: int = 0
) -> Columns:
    """One row per arm and budget: the best loss that the arm reaches there; columns arm, flops and loss."""
    world, random = World(), np.random.default_rng(seed)
    columns: Columns = {"arm": [], "flops": [], "loss": []}
    for arm, gain in {"baseline": 0.0, **gains}.items():
        for rung, flops in enumerate(budgets):
            ln_speedup = gain if isinstance(gain, float | int) else gain[rung]
            columns["arm"].append(arm)
            columns["flops"].append(flops)
            columns["loss"].append(world.frontier_loss(flops, ln_speedup) + sigma * random.standard_normal())
    return columns


def _noise(world: World, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float64]:
    shared = random.standard_normal(shape[1])
    own = random.standard_normal(shape)
    mixed = np.sqrt(world.correlation) * shared + np.sqrt(1 - world.correlation) * own
    return np.asarray(world.sigma * mixed, dtype=np.float64)


def select(columns: Mapping[str, Sequence[Any]], keep: Sequence[bool] | Sequence[int]) -> Columns:
    """The rows that are kept, by a mask or in an order of positions."""
    chosen = np.flatnonzero(keep) if len(keep) and isinstance(keep[0], bool | np.bool_) else np.asarray(keep)
    return {name: [column[int(row)] for row in chosen] for name, column in columns.items()}


def where(columns: Mapping[str, Sequence[Any]], **wanted: Any) -> list[bool]:
    """Which rows hold all of these."""
    rows = zip(*(columns[name] for name in wanted), strict=True)
    return [row == tuple(wanted.values()) for row in rows]


def write(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write a table; the name's ending tells the format, .csv or .parquet."""
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(dict(columns)), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


class Judge:
    """Calls `scaleproof verdict` on tables, in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = folder / "runs.csv"
        self._capsys = capsys

    def call(self, source: Mapping[str, Sequence[Any]] | Path, *options: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        path = source if isinstance(source, Path) else write(self.path, source)
        return called(self._capsys, "verdict", path, *options)

    def answer(self, source: Mapping[str, Sequence[Any]] | Path, *options: str) -> dict[str, Any]:
        """What --json says of a table that can be judged."""
        status, out, err = self.call(source, *options, "--json")
        assert (status, err) == (0, ""), err
        answer: dict[str, Any] = json.loads(out, parse_constant=_no_constant)
        return answer

    def arms(self, source: Mapping[str, Sequence[Any]] | Path, *options: str) -> dict[str, dict[str, Any]]:
        """The same, each arm by its name."""
        return {one["arm"]: one for one in self.answer(source, *options)["arms"]}

    def text(self, source: Mapping[str, Sequence[Any]] | Path, *options: str) -> str:
        """What a reader sees of a table that can be judged."""
        status, out, err = self.call(source, *options)
        assert (status, err) == (0, ""), err
        return out

    def refusal(self, source: Mapping[str, Sequence[Any]] | Path, *options: str) -> str:
        """The one sentence that refuses a call or a table."""
        status, out, err = self.call(source, *options)
        assert (status, out) == (2, ""), err
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err


def _no_constant(name: str) -> float:
    raise AssertionError(f"the JSON holds {name}")


def answered(
    columns: Mapping[str, Sequence[Any]],
    sigma: float | None = None,
    axis: ComparedOn = "tokens",
    target: float | None = None,
) -> dict[str, Answer]:
    """The answer on each arm by its name, without the command line; `target` on the ladder's scale."""
    table = arm_table_of(columns, axis=axis)
    answer = verdict_answer(table, judge_table(table, Ask(sigma, target=target)))
    return {one["arm"]: one for one in answer["arms"]}


def pooled(arm: Mapping[str, Any]) -> list[float]:
    """An arm's lnS at each rung."""
    return [one["ln_speedup"] for one in arm["pooled"]]


def has_the_keys(answer: Mapping[str, Any]) -> None:
    """An answer holds whatever JSON promises, arm by arm."""
    assert {"arms", "interactions", "warnings"} <= answer.keys()
    for arm in answer["arms"]:
        assert arm.keys() >= ARM_KEYS
        assert all(cell.keys() >= CELL_KEYS for cell in arm["rungs"])
        assert arm["forecast"].keys() >= FORECAST_KEYS
        assert set(arm["forecast"]["methods"]) == {"last", "mean", "linear", "decay"}
        for method in arm["forecast"]["methods"].values():
            assert method.keys() >= {"speedup", "leave_top_rung_out_error"}
