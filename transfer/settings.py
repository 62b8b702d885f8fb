"""The settings of a promotion, as read from a study's settings file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.setting_tables import read_table
from transfer.power import ALPHA

MAX_PAIRS = 200
"""As many seeds are set aside for an arm's pairs at a rung."""


class TransferSettings(BaseModel):
    """How carefully findings are measured up the ladder.

    `pairs`: pairs of each arm and rung, in the order in which gates may ask for more; rung 0 and the top rung have the
    last where an arm crosses. `cross_everywhere`: arms are run where they cross at the rungs in between as well.
    `run_beyond`: an arm that is worse is run on up to 2T, so that its loss has a number. `horizon_seeds`: seeds of the
    baseline at T/4 and at T/2. `axis`: what gates and verdicts speak of. `smallest_saving`: the smallest one worth
    having; `alpha`: the one-sided level at which words are given (at .05, from 90 % intervals). `max_findings`: the
    strongest so many are promoted; None promotes all. `fold_over`: the plan that is run for more than 8 findings is run
    twice, mirrored, which frees its main effects of pairwise interactions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    pairs: Annotated[tuple[Annotated[int, Field(ge=2, le=MAX_PAIRS)], ...], Field(strict=False, min_length=1)] = (
        2,
        4,
        8,
    )
    horizon_seeds: int = Field(default=2, ge=2)
    aa_pairs: int = Field(default=2, ge=2)
    cross_everywhere: bool = True
    run_beyond: bool = False
    landing_pairs: int = Field(default=12, ge=5)
    axis: Literal["tokens", "flops", "seconds"] = "seconds"
    smallest_saving: float = Field(default=0.01, gt=0, lt=1)
    alpha: float = Field(default=ALPHA, gt=0, le=0.25)
    max_findings: int | None = Field(default=None, ge=1)
    fold_over: bool = False
    seed: int = Field(default=0, ge=0)

    @field_validator("pairs")
    @classmethod
    def _rising(cls, pairs: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(pairs)) != list(pairs):
            raise ValueError(f"the numbers of pairs must rise, as in [2, 4, 8]; got {list(pairs)}")
        return pairs

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [transfer] table of a settings file; raises InputError that names the first key that is wrong."""
        return read_table("transfer", cls, values)
