"""Worlds for simulated ladders: what is true of runs, findings and baseline, and the mix on which the rules are held.

lnS is the natural logarithm of the speed-up to the same finished loss. A world's settings are read from a table
[ladder_world] of a TOML file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.errors import InputError
from data.setting_tables import read_table
from transfer.power import ALPHA
from transfer.saving import Axis, delta_of
from transfer.simulation.ladders import Curve, Floats, World
from transfer.words import STACK

TABLE = "ladder_world"
PER_RUNG = ("kappas", "curvatures", "sigma", "correlation", "s_time", "interaction", "untuned")
LARGEST_GAIN = 3.0  # of lnS: a speed-up of 20

Positive = Annotated[float, Field(gt=0, le=1e18)]
Share = Annotated[float, Field(ge=0, lt=1)]
Gain = Annotated[float, Field(ge=-LARGEST_GAIN, le=LARGEST_GAIN)]
Gains = Annotated[tuple[Gain, ...], Field(strict=False)]
Rungs = Annotated[tuple[Positive, ...], Field(strict=False)]


class LadderWorld(BaseModel):
    """One world; where a value per rung is wanted, a single number stands for all rungs.

    By rung: `params`; `kappas` = -dL/dlnT of the baseline in nats and its `curvatures` b, 0 where the loss is straight
    in ln T and negative where it steepens; `sigma` of a run in nats; `correlation` of the two runs of a pair. `curve`:
    a power law, a sum of two, or one with a transition ahead of T. Measured with `pairs`, `horizon_seeds` baselines at
    T/4 and T/2 (which end `mistuned` times kappa too high), `aa_pairs` of baseline against baseline, and
    `timing_blocks` whose logarithm spreads by `s_time` (by rung), and by `shared_clock` for all arms alike.

    `gains`: the true lnS of each finding, by rung. `stack` names the findings that are stacked; its true lnS is the sum
    of theirs and of `interaction`. `untuned`: the lnS that better tuning would have given the baseline, had it got as
    much as the arms: every arm seems to gain that much more. Words are judged on `axis` with `smallest_saving`, at the
    one-sided level `alpha`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = "world"
    params: Rungs = (1e6, 3e6, 9e6, 27e6)
    kappas: Rungs = (0.5, 0.47, 0.43, 0.4)
    curvatures: Annotated[tuple[Annotated[float, Field(ge=-1.5, le=2)], ...], Field(strict=False)] = (0.5,) * 4
    sigma: Rungs = (0.03,) * 4
    correlation: Annotated[tuple[Share, ...], Field(strict=False)] = (0.5,) * 4
    pairs: int = Field(default=4, ge=1, le=1000)
    horizon_seeds: int = Field(default=2, ge=1, le=1000)
    aa_pairs: int = Field(default=2, ge=1, le=1000)
    s_time: Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False)] = (0.01,) * 4
    shared_clock: float = Field(default=0.0, ge=0, le=1)
    timing_blocks: int = Field(default=4, ge=1, le=1000)
    curve: Curve = "power"
    mistuned: float = Field(default=0.0, ge=-1, le=1)
    axis: Axis = "seconds"
    smallest_saving: float = Field(default=0.05, gt=0, lt=1)
    alpha: float = Field(default=ALPHA, gt=0, le=0.25)
    gains: dict[str, Gains] = Field(default_factory=lambda: truths(4, 0.05))
    stack: Annotated[tuple[str, ...], Field(strict=False)] = ()
    interaction: Gains = (0.0,) * 4
    untuned: Gains = (0.0,) * 4
    ladders: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [ladder_world] table of a settings file.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table(TABLE, cls, values)

    @model_validator(mode="before")
    @classmethod
    def _one_number_for_all_rungs(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        params = values.get("params", cls.model_fields["params"].default)
        if not isinstance(params, Sequence):
            return values
        spread = dict(values)
        for key in PER_RUNG:
            default = cls.model_fields[key].default
            value = spread.get(key, default[0] if len(set(default)) == 1 else default)
            spread[key] = _spread(value, len(params))
        if "gains" not in spread:
            spread["gains"] = truths(len(params), _number(spread.get("smallest_saving"), 0.05))
        if isinstance(spread["gains"], Mapping):
            spread["gains"] = {name: _spread(value, len(params)) for name, value in spread["gains"].items()}
        return spread

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        rungs = len(self.params)
        if rungs < 2 or list(self.params) != sorted(set(self.params)):
            raise ValueError("'params' takes two rungs at least, in rising order")
        for key in PER_RUNG:
            if len(getattr(self, key)) != rungs:
                raise ValueError(f"'{key}' has {len(getattr(self, key))} values for {rungs} rungs")
        for name, gain in self.gains.items():
            if len(gain) != rungs:
                raise ValueError(f"'gains.{name}' has {len(gain)} values for {rungs} rungs")
        if not self.gains or STACK in self.gains:
            raise ValueError(f"'gains' needs a finding, and none that is called '{STACK}'")
        unknown = [name for name in self.stack if name not in self.gains]
        if unknown or len(set(self.stack)) < len(self.stack):
            raise ValueError(f"'stack' takes findings of 'gains', each once ({', '.join(self.gains)})")
        if self.timing_blocks == 1 and self.axis == "seconds":
            raise ValueError(
                "'timing_blocks' of 1 cannot tell the spread of the timings: 2 at least, or another 'axis'"
            )
        if self.pairs == 1 and self.horizon_seeds == 1 and self.aa_pairs == 1:
            raise ValueError("'pairs', 'horizon_seeds' and 'aa_pairs' of 1 tell too little of the noise")
        return self

    @property
    def delta(self) -> float:
        """The smallest saving worth having, in lnS."""
        return delta_of(self.smallest_saving)

    @property
    def truths(self) -> dict[str, Floats]:
        """True lnS by rung of every arm, the stack last where there is one."""
        found = {name: np.array(gain) for name, gain in self.gains.items()}
        if self.stack:
            found[STACK] = np.sum([found[name] for name in self.stack], axis=0) + np.array(self.interaction)
        return found

    @property
    def seeming(self) -> dict[str, Floats]:
        """What the arms seem to gain over this baseline: the truths, and what tuning would have given the baseline."""
        return {name: gain + np.array(self.untuned) for name, gain in self.truths.items()}

    def measured(self, pairs: int) -> World:
        """The world as `transfer.simulation.ladders` takes it, with so many pairs."""
        return World(
            self.kappas,
            self.curvatures,
            self.sigma[0],
            self.correlation[0],
            pairs,
            seeds=self.horizon_seeds,
            aa_pairs=self.aa_pairs,
            sigmas=self.sigma,
            correlations=self.correlation,
            s_times=self.s_time,
            shared_clock=self.shared_clock,
            blocks=self.timing_blocks,
            curve=self.curve,
            mistuned=self.mistuned,
        )


def truths(rungs: int, smallest_saving: float) -> dict[str, tuple[float, ...]]:
    """Findings of every kind, as lnS by rung: `smallest_saving` sets the one that is gained but not worth having."""

    def line(bottom: float, top: float) -> tuple[float, ...]:
        return tuple(float(value) for value in np.linspace(bottom, top, rungs))

    return {
        "constant": line(0.2, 0.2),
        "shrinking": line(0.4, 0.12),
        "growing": line(0.05, 0.25),
        "null": line(0.0, 0.0),
        "vanishing": line(0.15, 0.0),
        "harmful": line(-0.1, -0.1),
        "reversing": line(0.12, -0.12),
        "too small": line(0.5 * delta_of(smallest_saving), 0.5 * delta_of(smallest_saving)),
    }


def read_worlds(values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[LadderWorld, ...]:
    """One table [ladder_world], or several [[ladder_world]]; raises InputError as `LadderWorld.read` does."""
    tables = [values] if isinstance(values, Mapping) else list(values)
    worlds = tuple(LadderWorld.read(table) for table in tables)
    names = [world.name for world in worlds]
    if not worlds or len(set(names)) < len(names):
        raise InputError(f"Several [[{TABLE}]] in the settings need a 'name' each, all different.")
    return worlds


def _spread(value: object, rungs: int) -> object:
    return (value,) * rungs if isinstance(value, int | float) and not isinstance(value, bool) else value


def _number(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else otherwise
