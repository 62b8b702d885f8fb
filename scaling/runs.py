"""What one run is, what identifies it, and what it yields."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scaling.ladder import Ladder, Rung

ENDED = ("finished", "diverged", "failed")
REJECTED = "rejected: "
"""How the reason of a run begins whose recipe did not pass the preflight."""
IN_EVALUATION = "The trained model fails in evaluation"
"""How it goes on where held-out text was read already: what follows says as little as it can, and is not repaired."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of a study share: device, precision, evaluation, data."""

    ladder: Ladder
    corpus_digest: str

    @property
    def identity(self) -> list[Any]:
        """The parts that change a run's result."""
        ladder = self.ladder
        return [self.corpus_digest, ladder.accelerator, ladder.precision, ladder.compile, ladder.evaluation_sequences]


@dataclass(frozen=True, slots=True)
class Precedent:
    """What finished runs of the baseline took at a rung: seconds from start to end, in the median, and parameters."""

    seconds: float
    params: int


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One training run: a recipe at a rung, scheduled for a horizon, on one seed.

    `seed` decides the initial weights and the order of the data; `shard` names the held-out shard of the evaluation.
    `arm`, `finding_id` and `purpose` say why the run is made and are no part of its identity, so that a run
    which serves two purposes is made once. Neither is `precedent`, by which a sandbox bounds the run.
    """

    setting: Setting
    recipe_hash: str
    rung_index: int
    horizon: int
    seed: int
    shard: str
    arm: str
    purpose: str
    finding_id: str | None = None
    preflight: bool = False
    precedent: Precedent | None = field(default=None, compare=False)

    @property
    def rung(self) -> Rung:
        """The rung, scheduled for the run's horizon."""
        return self.setting.ladder.rungs[self.rung_index].at_horizon(self.horizon)

    @property
    def base(self) -> Rung:
        """Rung 0, against which knobs are scaled."""
        return self.setting.ladder.base

    @property
    def run_id(self) -> str:
        """16 hexadecimal digits: the hash of everything that decides the result."""
        parts = [
            *self.setting.identity,
            self.recipe_hash,
            self.rung.model_dump(exclude={"name"}),
            self.base.model_dump(exclude={"name"}),
            self.seed,
            self.shard,
        ]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()

    def columns(self) -> dict[str, Any]:
        """The columns of the view `runs` that are known before the run."""
        return {
            "run_id": self.run_id,
            "rung": self.rung_index,
            "rung_name": self.rung.name,
            "arm": self.arm,
            "finding_id": self.finding_id,
            "purpose": self.purpose,
            "recipe_hash": self.recipe_hash,
            "seed": self.seed,
            "shard": self.shard,
            "horizon": self.horizon,
            "devices": self.rung.devices,
        }


@dataclass(frozen=True, slots=True)
class TimingSpec:
    """One block: two recipes timed against each other at a rung at one moment, their steps interleaved A B B A.

    Blocks of other numbers are the same comparison at other moments, on other steps of the schedule.
    """

    setting: Setting
    recipe_hash: str
    baseline_hash: str
    rung_index: int
    seed: int
    arm: str
    finding_id: str | None = None
    block: int = 0

    @property
    def run_id(self) -> str:
        """Identity of the timing; the machine is not part of it."""
        parts = ["timing", *self.setting.identity, self.recipe_hash, self.baseline_hash, self.seed, self.block]
        parts.append(self.rung.model_dump(exclude={"name"}))
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=8).hexdigest()

    @property
    def rung(self) -> Rung:
        """The rung at its own horizon."""
        return self.setting.ladder.rungs[self.rung_index]

    def columns(self) -> dict[str, Any]:
        """The columns of the view `timings` that are known before."""
        return {
            "arm": self.arm,
            "finding_id": self.finding_id,
            "rung": self.rung_index,
            "seed": self.seed,
            "block": self.block,
        }


Job = RunSpec | TimingSpec


@dataclass(frozen=True, slots=True)
class Stop:
    """The limit of a sandbox that ended a run, which stands at the end of its reason.

    name: of the setting in the table [sandbox]; chosen: whether the study set it, or it was the default.
    """

    name: str
    value: float
    chosen: bool

    def __str__(self) -> str:
        """As the reason says it."""
        return f"Limit of [sandbox]: {self.name} = {self.value}, {'as set' if self.chosen else 'the default'}."

    @classmethod
    def read(cls, reason: str | None) -> Stop | None:
        """The limit that a reason names; None where it names none."""
        found = _STOP.search(reason or "")
        return found and cls(found[1], float(found[2]), found[3] == "as set")

    def is_lifted(self, sandbox: Mapping[str, Any]) -> bool:
        """Whether the study's table [sandbox] allows more now, or leaves to the default what it had set."""
        now = sandbox.get(self.name)
        return self.chosen if now is None else isinstance(now, int | float) and now > self.value


_STOP = re.compile(r"Limit of \[sandbox\]: (\w+) = ([0-9]+(?:\.[0-9]+)?), (as set|the default)\.\Z")


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. Losses in nats per token; `flops` of the whole run; `seconds` outside evaluation and warm-up.

    cpu_seconds: of its processes over the same steps as `seconds`; NaN on a GPU, and where nobody measured them.
    """

    run_id: str
    status: str
    reason: str | None
    val_loss: float
    params: int
    flops: float
    tokens: int
    seconds: float
    tokens_per_second: float
    cpu_seconds: float = math.nan

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> RunResult:
        """Read a row of the view `runs`; absent numbers are NaN or 0."""

        def number(name: str) -> float:
            value = row.get(name)
            return float("nan") if value is None else float(value)

        return cls(
            run_id=str(row["run_id"]),
            status=str(row["status"]),
            reason=row.get("reason"),
            val_loss=number("val_loss"),
            params=int(row.get("params") or 0),
            flops=number("flops"),
            tokens=int(row.get("tokens") or 0),
            seconds=number("seconds"),
            tokens_per_second=number("tokens_per_second"),
            cpu_seconds=number("cpu_seconds"),
        )
