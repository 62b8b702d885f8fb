"""A bank of finished runs whose true savings can be read off, and how often small studies drawn from it are right.

`make` trains, on the demo's ladder, the baseline from T/4 to 8T, arms of the catalogue, their stack and placebos at T
and on a grid of horizons about the one where each reaches the baseline's finished loss. It can be stopped at any
moment and goes on where it stood. Every run is judged on all held-out documents of the corpus, in GROUPS groups: a
study that is drawn from the bank reads one half of them, and the truth is made of the other half and of other seeds.
`time` times every arm against the baseline in blocks, half of them beside two busy processes. `summarise` writes what
the counts need into one small file, and `count` draws small studies from it and prints how often they are right.

Run: nice .venv/bin/python benchmarks/real_truth.py make --folder studies/bank
     .venv/bin/python benchmarks/real_truth.py time --folder studies/bank
     .venv/bin/python benchmarks/real_truth.py summarise --folder studies/bank --file tests/real_runs.npz
     .venv/bin/python benchmarks/real_truth.py count --file tests/real_runs.npz --studies 300
     .venv/bin/python benchmarks/real_truth.py compare --file tests/real_runs.npz --study studies/demo
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.batches import evaluation_sequences, train_batch
from data.store import Store
from data.tokens import CorpusSettings, TokenSet, prepare
from scaling.edits import Edit, Recipe, merge_all
from scaling.evaluation import logits_of, token_losses
from scaling.lab import packaged_recipe
from scaling.ladder import Ladder, load_ladder
from scaling.loading import load
from scaling.runs import Setting, TimingSpec
from scaling.stepper import Stepper
from scaling.timing import Lap, Racer, timed_block, timing_batches
from search.catalogue import CATALOGUE, placebo_edit
from transfer.simulation.real_bank import UNITS, bank_of
from transfer.simulation.real_counts import count_studies
from transfer.simulation.real_runs import Draw, truth

LEARNING_RATE = 0.0112
ARMS = ("bigram-embeddings", "rotary", "muon", "token-smear")
PLACEBOS = ("placebo-1", "placebo-2")
STACK, WORSE = "stack", "learning-rate-half"
SEEDS, BASELINE_SEEDS, PILOT_SEEDS, PILOT_STEPS = 24, 12, 4, 5
FINE = (-0.24, -0.12, 0.0, 0.12, 0.24)
FINE_OF_PLACEBOS = (-0.12, 0.0, 0.12)
COARSE_STEP, COARSE_BEYOND, APART = 0.3, 0.6, 0.1
MAX_SHORTENING = math.log(8)
MAX_BYTES = 64_000_000
GROUPS = 16
SEQUENCES = 2048
HELD_OUT = ("search", "confirm", "final")
BATCH = 64
TIMING_ROUNDS = 16
BUSY = "while True: sum(range(10000))"


@dataclass(frozen=True, slots=True)
class Job:
    """One run: a rung of the ladder, an arm, a horizon in steps, a seed."""

    rung: int
    arm: str
    steps: int
    seed: int

    @property
    def key(self) -> tuple[int, str, int, int]:
        """What identifies the run."""
        return self.rung, self.arm, self.steps, self.seed


class Bank:
    """The runs made so far, in one file of JSON lines."""

    def __init__(self, folder: Path) -> None:
        """Open the bank in `folder`, which is made where it is missing."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ladder: Ladder = load_ladder("demo")
        self.rows: dict[tuple[int, str, int, int], dict[str, Any]] = {}
        self._path = folder / "runs.jsonl"
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.rows[row["rung"], row["arm"], row["steps"], row["seed"]] = row

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """The jobs not made yet, each once."""
        return list({job.key: job for job in jobs if job.key not in self.rows}.values())

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; the file is whole after each."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows[row["rung"], row["arm"], row["steps"], row["seed"]] = row

    def losses(self, rung: int, arm: str, steps: int, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Losses (seeds,) of finished runs on all held-out text, in nats per token; nan where one is missing."""
        rows = [self.rows.get((rung, arm, steps, seed)) for seed in seeds]
        return np.array([math.nan if row is None else row["loss"] for row in rows])


def make(folder: Path, workers: int) -> None:
    """Make what is missing of the bank."""
    prepare(folder / "tokens", CorpusSettings.read({"source": "python", "tokenizer": "bytes", "max_bytes": MAX_BYTES}))
    bank = Bank(folder)
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=400) as pool:
        for title, jobs in stages(bank):
            todo = sorted(bank.missing(jobs), key=lambda job: -job.steps)
            began = time.monotonic()
            for done, row in enumerate(pool.imap_unordered(_run_packed, [(folder, job) for job in todo]), 1):
                bank.add(row)
                if done == len(todo):
                    print(f"{title}: {done} runs in {time.monotonic() - began:.0f} s", flush=True)


def stages(bank: Bank) -> Iterator[tuple[str, list[Job]]]:
    """What to run, a stage at a time; later stages read the results of earlier ones."""
    seeds, few, rungs = range(1, SEEDS + 1), range(1, BASELINE_SEEDS + 1), range(len(bank.ladder.rungs))
    for rung in rungs:
        steps = bank.ladder.rungs[rung].steps
        base = [Job(rung, "baseline", steps, seed) for seed in seeds]
        near = [Job(rung, "baseline", round(steps * f), seed) for f in (0.25, 0.5, 2) for seed in few]
        yield f"rung {rung}: baseline", base + near
        for arm in (*ARMS, *PLACEBOS):
            yield from _arm(bank, rung, arm)
    for rung in rungs:
        yield from _arm(bank, rung, STACK)
    for rung in rungs:
        steps = bank.ladder.rungs[rung].steps
        far = [Job(rung, "baseline", steps * f, seed) for f in (4, 8) for seed in few]
        yield f"rung {rung}: baseline, far", far
    for rung in rungs:
        steps = bank.ladder.rungs[rung].steps
        worse = [Job(rung, WORSE, round(steps * f), seed) for f in (1, 1.25, 1.6, 2) for seed in seeds]
        yield f"rung {rung}: {WORSE}", worse


def _arm(bank: Bank, rung: int, arm: str) -> Iterator[tuple[str, list[Job]]]:
    """At T, a pilot that finds where the arm crosses, and the grid about that."""
    steps, seeds = bank.ladder.rungs[rung].steps, range(1, SEEDS + 1)
    yield f"rung {rung}: {arm} at T", [Job(rung, arm, steps, seed) for seed in seeds]
    if arm in PLACEBOS:
        where = 0.0
    else:
        points: list[tuple[float, float]] = []
        for _ in range(PILOT_STEPS):
            where = crossing_guess(bank, rung, arm, points)
            yield (
                f"rung {rung}: {arm}, pilot",
                [Job(rung, arm, max(1, round(steps * math.exp(-where))), seed) for seed in range(1, PILOT_SEEDS + 1)],
            )
            gap = _gap(bank, rung, arm, where)
            points.append((where, gap))
        where = crossing_guess(bank, rung, arm, points)
    grid = [where + offset for offset in (FINE_OF_PLACEBOS if arm in PLACEBOS else FINE)]
    coarse = np.arange(COARSE_STEP, where + COARSE_BEYOND, COARSE_STEP)
    grid += [g for g in coarse.tolist() if min(abs(g - one) for one in grid) > APART]
    yield (
        f"rung {rung}: {arm}, grid about {where:.2f}",
        [Job(rung, arm, max(1, round(steps * math.exp(-g))), seed) for g in grid for seed in seeds],
    )


def _gap(bank: Bank, rung: int, arm: str, shortening: float) -> float:
    """Baseline's loss at T less the arm's, shortened: positive where the arm is still better. Mean of pilot seeds."""
    steps, seeds = bank.ladder.rungs[rung].steps, range(1, PILOT_SEEDS + 1)
    own = bank.losses(rung, arm, max(1, round(steps * math.exp(-shortening))), seeds)
    return float((bank.losses(rung, "baseline", steps, seeds) - own).mean())


def crossing_guess(bank: Bank, rung: int, arm: str, points: Sequence[tuple[float, float]]) -> float:
    """Where to look next for the shortening ln(T/T_arm) at which the arm ends at the baseline's loss at T."""
    steps, seeds = bank.ladder.rungs[rung].steps, range(1, BASELINE_SEEDS + 1)
    drop = bank.losses(rung, "baseline", round(steps / 2), seeds) - bank.losses(rung, "baseline", steps, seeds)
    slope = float(drop.mean()) / math.log(2)
    known = sorted([(0.0, _gap(bank, rung, arm, 0.0)), *points], key=lambda one: abs(one[1]))
    (here, gap), rest = known[0], known[1:]
    other = next(((g, d) for g, d in rest if abs(g - here) > 1e-6), None)
    if other is not None and (here - other[0]) * (other[1] - gap) > 0:
        slope = max((other[1] - gap) / (here - other[0]), slope / 3)
    return min(max(here + gap / slope, -math.log(2)), MAX_SHORTENING + 0.2)


def recipe_of(arm: str) -> Recipe:
    """The recipe of an arm of the bank; the stack holds ARMS."""
    baseline = Edit(knobs={"learning_rate": LEARNING_RATE}).apply(packaged_recipe())
    if arm == "baseline":
        return baseline
    if arm in PLACEBOS:
        return placebo_edit(int(arm.rpartition("-")[2])).apply(baseline)
    if arm == WORSE:
        return Edit(knobs={"learning_rate": LEARNING_RATE / 2}).apply(baseline)
    if arm == STACK:
        stacked, left_out = merge_all(baseline, [(baseline, recipe_of(one)) for one in ARMS])
        assert not left_out, left_out
        return stacked
    return next(one for one in CATALOGUE if one.slug == arm).edit.apply(baseline)


def _run_packed(packed: tuple[Path, Job]) -> dict[str, Any]:
    return run(*packed)


def run(folder: Path, job: Job) -> dict[str, Any]:
    """Train one run to the end of its schedule, as `scaling.training` does, and judge it on both texts."""
    torch.set_num_threads(1)
    tokens, ladder = TokenSet.open(folder / "tokens"), load_ladder("demo")
    rung = ladder.rungs[job.rung].at_horizon(job.steps * ladder.rungs[job.rung].batch_tokens)
    recipe = load(recipe_of(job.arm))
    torch.manual_seed(job.seed)
    knobs = recipe.resolve(rung, ladder.base)
    model = recipe.build_model(rung, knobs, tokens.vocab_size)
    stepper = Stepper(recipe, model, recipe.build_optimizers(model, rung, knobs), rung, knobs)
    train, began, cpu = tokens.shard("train"), time.time(), time.process_time()
    for step in range(rung.steps):
        batch = train_batch(train, seed=job.seed, step=step, batch_size=rung.batch_size, context=rung.context)
        stepper.step(step, torch.from_numpy(batch), torch.Tensor.backward)
    spent, wall = time.process_time() - cpu, time.time() - began
    model.eval()
    groups = group_losses(model, tokens, rung.context)
    sequences = groups_of_sequences(tokens, rung.context)
    weights = np.bincount(sequences, minlength=GROUPS) / len(sequences)
    return {
        **asdict(job),
        "loss": round(float(weights @ groups), 6),
        "groups": [round(one, 6) for one in groups.tolist()],
        "cpu_seconds": round(spent, 4),
        "wall_seconds": round(wall, 4),
        "started_at": began,
        "params": sum(one.numel() for one in model.parameters()),
    }


def group_losses(model: torch.nn.Module, tokens: TokenSet, context: int) -> NDArray[np.float64]:
    """Mean loss (GROUPS,) of each group of held-out documents, in nats per token."""
    sequences = torch.from_numpy(evaluation_sequences(_held_out(tokens), SEQUENCES, context))
    parts = [
        token_losses(logits_of(model, ids[:, :-1], tokens.vocab_size), ids[:, 1:]).view(len(ids), -1).double().mean(1)
        for ids in torch.split(sequences, BATCH)
    ]
    groups = groups_of_sequences(tokens, context)
    return np.bincount(groups, torch.cat(parts).numpy(), GROUPS) / np.bincount(groups, minlength=GROUPS)


def groups_of_sequences(tokens: TokenSet, context: int) -> NDArray[np.intp]:
    """The group (SEQUENCES,) of the document in which each sequence begins; neighbours are in different groups."""
    held_out = _held_out(tokens)
    starts = np.arange(SEQUENCES, dtype=np.int64) * (len(held_out) - context - 1) // (SEQUENCES - 1)
    ends = np.flatnonzero(held_out == tokens.vocab_size - 1)
    return np.searchsorted(ends, starts) % GROUPS


def _held_out(tokens: TokenSet) -> NDArray[np.unsignedinteger[Any]]:
    return np.concatenate([tokens.shard(shard) for shard in HELD_OUT])


def time_all(folder: Path) -> None:
    """Time every arm at every rung, TIMING_ROUNDS blocks as the machine is and as many beside two busy processes."""
    tokens, bank = TokenSet.open(folder / "tokens"), Bank(folder)
    torch.set_num_threads(1)
    path, racers = folder / "times.jsonl", {}
    done = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    setting, number = Setting(bank.ladder, "bank"), 0
    for busy in (False, True):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2 * busy)]
        try:
            for block in range(TIMING_ROUNDS):
                for rung in range(len(bank.ladder.rungs)):
                    for arm in (*ARMS, *PLACEBOS, STACK):
                        number += 1
                        if number <= done:
                            continue
                        spec = TimingSpec(setting, arm, "baseline", rung, 1, arm, None, block)
                        batches = timing_batches(tokens, spec)
                        for name in (arm, "baseline"):
                            if (rung, name) not in racers:
                                racers[rung, name] = Racer(spec, recipe_of(name).text, batches, tokens.vocab_size)
                        pair = (racers[rung, arm], racers[rung, "baseline"])
                        measured = timed_block(spec, "cpu", partial(_lap, pair), time.process_time)
                        columns = measured.columns(spec.rung.batch_tokens)
                        row = {"rung": rung, "arm": arm, "busy": busy, "block": block}
                        row |= {name: columns[name] for name in ("ln_ratio", "ln_wall_ratio", "load")}
                        with path.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(row) + "\n")
        finally:
            for other in others:
                other.kill()


def _lap(pair: tuple[Racer, Racer], who: int, indices: Sequence[int]) -> Lap:
    return pair[who].lap(indices)


def summarise(folder: Path, file: Path) -> None:
    """Write losses by group of documents as whole tenths of a millinat, and the timing blocks, compressed."""
    bank, tokens = Bank(folder), TokenSet.open(folder / "tokens")
    arms = sorted({arm for _, arm, _, _ in bank.rows})
    keys = sorted(bank.rows)
    weights = np.bincount(groups_of_sequences(tokens, bank.ladder.rungs[0].context), minlength=GROUPS)
    times = [json.loads(line) for line in (folder / "times.jsonl").read_text(encoding="utf-8").splitlines()]
    np.savez_compressed(
        file,
        arms=np.array(arms),
        rung=np.array([key[0] for key in keys], dtype=np.int8),
        arm=np.array([arms.index(key[1]) for key in keys], dtype=np.int8),
        steps=np.array([key[2] for key in keys], dtype=np.int16),
        seed=np.array([key[3] for key in keys], dtype=np.int8),
        losses=np.array([np.round(np.array(bank.rows[key]["groups"]) * UNITS) for key in keys], dtype=np.uint16),
        cpu_seconds=np.array([bank.rows[key]["cpu_seconds"] for key in keys], dtype=np.float16),
        weights=weights.astype(np.int16),
        steps_at_t=np.array([rung.steps for rung in bank.ladder.rungs], dtype=np.int16),
        params=np.array([_params(bank, rung) for rung in range(len(bank.ladder.rungs))], dtype=np.int32),
        time_rung=np.array([row["rung"] for row in times], dtype=np.int8),
        time_arm=np.array([arms.index(row["arm"]) for row in times], dtype=np.int8),
        time_busy=np.array([row["busy"] for row in times], dtype=np.bool_),
        time_ln_ratio=np.array([row["ln_ratio"] for row in times], dtype=np.float32),
        time_ln_wall_ratio=np.array([row["ln_wall_ratio"] for row in times], dtype=np.float32),
    )
    print(f"{len(keys)} runs, {len(times)} timing blocks: {file.stat().st_size:,} bytes")


def _params(bank: Bank, rung: int) -> int:
    return int(next(row["params"] for key, row in bank.rows.items() if key[:2] == (rung, "baseline")))


def count(file: Path, studies: int, seed: int) -> None:
    """Print a table of the counts."""
    counts = count_studies(
        bank_of(dict(np.load(file))),
        studies=studies,
        pairs=(2, 4, 8),
        rng=np.random.default_rng(seed),
        smallest_saving=0.05,
    )
    for axis in ("tokens", "seconds"):
        print(f"{axis}: coverage of 90 % intervals, %, by rung and pairs (share of studies with a number; runs of T)")
        cells = {key[1:]: cell for key, cell in counts.cells.items() if key[0] == axis}
        for arm in sorted({arm for arm, _, _ in cells}):
            for rung in sorted({rung for _, rung, _ in cells}):
                parts = [
                    f"{100 * cell.coverage:4.0f} ({cell.given / studies:.2f}; {np.mean(cell.runs):.2f})"
                    for pairs in (2, 4, 8)
                    for cell in (cells[arm, rung, pairs],)
                ]
                print(f"  {arm:<20} rung {rung}  " + "  ".join(parts))
        mean, lowest = counts.coverage(axis)
        print(f"  mean {100 * mean:.1f} %, lowest {100 * lowest:.1f} %")
        for pairs in (2, 4, 8):
            for (one, arm, n), words in sorted(counts.words.items()):
                if (one, n) == (axis, pairs):
                    said = ", ".join(f"{word} {100 * number / studies:.0f}" for word, number in sorted(words.items()))
                    print(f"  words in %, {pairs} pairs, {arm}: {said}")
        print(f"  placebos with another word than inconclusive or vanishes: {100 * counts.wrong_words(axis):.1f} %")
    print(f"landings that stood: {100 * np.mean(counts.landings):.1f} % of {len(counts.landings)}")
    print(f"placebos kept on rung 0: {100 * np.mean(counts.placebos_kept):.1f} % of {len(counts.placebos_kept)}")


def compare(file: Path, study: Path) -> None:
    """Hold the savings in tokens of a study of the demo's ladder against the bank, whose seeds are others."""
    bank, inside, given = bank_of(dict(np.load(file))), 0, 0
    rows = Store(study).rows(
        "select arm, rung, saving, saving_low, saving_high, bound from savings where axis = 'tokens' order by arm, rung"
    )
    for row in rows:
        slug = re.sub(r"^alone:(.*)-[0-9a-f]{6}$", r"\1", row["arm"])
        if slug not in bank.rungs[row["rung"]].losses:
            continue
        rung = bank.rungs[row["rung"]]
        known = truth(Draw.of_all(rung), slug, 0)
        low, middle, high = (1 - math.exp(-known.ln_speedup - z * known.se) for z in (-1.645, 0.0, 1.645))
        said = f"{slug:<20} rung {row['rung']}  true {middle:.3f} ({low:.3f} to {high:.3f})  said "
        if row["saving"] is None:
            print(f"{said}{row['bound']} {row['saving_low'] or row['saving_high']:.3f}")
            continue
        held = row["saving_low"] <= high and low <= row["saving_high"]
        given, inside = given + 1, inside + held
        interval = f"{row['saving']:.3f} ({row['saving_low']:.3f} to {row['saving_high']:.3f})"
        print(f"{said}{interval}{'' if held else '  OUTSIDE'}")
    print(f"{inside} of {given} intervals hold the truth, within its own 90 % interval")


def main() -> None:
    """Make the bank, time its arms, summarise it, or count what small studies say of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "time", "summarise", "count", "compare"))
    parser.add_argument("--folder", type=Path, default=Path("studies/bank"))
    parser.add_argument("--file", type=Path, default=Path("tests/real_runs.npz"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--studies", type=int, default=300, help="drawn for each number of pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", type=Path, default=Path("studies/demo"), help="what to compare with the bank")
    chosen = parser.parse_args()
    if chosen.what == "make":
        make(chosen.folder, chosen.workers)
    elif chosen.what == "time":
        time_all(chosen.folder)
    elif chosen.what == "summarise":
        summarise(chosen.folder, chosen.file)
    elif chosen.what == "count":
        count(chosen.file, chosen.studies, chosen.seed)
    else:
        compare(chosen.file, chosen.study)


if __name__ == "__main__":
    main()
