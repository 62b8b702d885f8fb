"""What a plan is made for: the budget, the target, and what is expected of runs, baseline and gain beforehand.

The baseline follows L(N, D) = E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, approach 3): at fixed params its slope
is kappa = beta B D^-beta and its curvature beta. A gain decays as lnS(N) = s (N/smallest_params)^-decay.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.setting_tables import read_table
from transfer.bent_line import CURVATURE_RANGE
from transfer.saving import Axis, delta_of

Floats = NDArray[np.float64]
Design = Literal["one", "every"]

STEP = 2.0  # by which the sizes of a ladder may rise, unless the span needs more than MOST_SIZES of them
MOST_SIZES = 10
LARGEST_GAIN = 1.5  # of lnS anywhere: a baseline's law says little of a run with five times the tokens
MOST_NOISE = 100.0  # sigma over kappa
LARGEST = 1e18  # params or tokens

Size = Annotated[float, Field(gt=0, le=LARGEST)]
Pairs = Annotated[int, Field(ge=2, le=64)]


class BaselineLaw(BaseModel):
    """E + A N^-alpha + B D^-beta in nats per token; by default as replicated by Besiroglu et al. (2024)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    E: float = Field(default=1.8172, ge=0, le=100)
    A: float = Field(default=482.01, ge=0, le=1e12)
    alpha: float = Field(default=0.3478, gt=0, le=2)
    B: float = Field(default=2085.43, gt=0, le=1e12)
    beta: float = Field(default=0.3658, gt=0, le=CURVATURE_RANGE[1])


class RecommenderSettings(BaseModel):
    """The budget in FLOPs, the target, what may be planned, and what is expected; losses in nats per token.

    What may be planned: `sizes` (params of the rungs; by default from `smallest_params` to `largest_params`, half the
    target, each twice the one below), `pairs` and `horizon_seeds` (how many to choose from), `tokens_per_param` of the
    rungs, `designs` (arms run at the horizon T alone, "one", or at T/2 and 2T too, "every"), the numbers of `aa_pairs`
    a rung and of `landing_pairs` at the top rung. `arms` are the arms run beside the baseline at every rung.

    What is expected: `expected_saving` of an arm at `smallest_params` and its `decay` with params; `sigma` of a run at
    `smallest_params`, falling as N^-sigma_decay; the `correlation` of a pair; `s_time`, the sd of ln(time ratio) per
    pair; the baseline's `law`; `ratio_drift`, the sd of a gain's relative change per e-fold of tokens per param, which
    counts where rungs have other tokens per param than the target.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    budget_flops: float = Field(gt=0, le=1e36)
    target_params: Size
    target_tokens: Size | None = None
    axis: Axis = "seconds"
    smallest_saving: float = Field(default=0.01, gt=0, lt=1)

    smallest_params: Size = 1e7
    largest_params: Size | None = None
    sizes: Annotated[tuple[Size, ...] | None, Field(strict=False)] = None
    tokens_per_param: Annotated[tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(strict=False)] = (20.0, 10.0)
    pairs: Annotated[tuple[Pairs, ...], Field(strict=False)] = (2, 4, 8, 12)
    horizon_seeds: Annotated[tuple[Pairs, ...], Field(strict=False)] = (2, 4)
    designs: Annotated[tuple[Design, ...], Field(strict=False)] = ("one", "every")
    most_rungs: int = Field(default=5, ge=2, le=5)
    arms: int = Field(default=1, ge=1, le=1000)
    aa_pairs: int = Field(default=2, ge=2, le=64)
    landing_pairs: int = Field(default=5, ge=0, le=64)

    expected_saving: float = Field(default=0.1, gt=0, le=0.5)
    decay: float = Field(default=0.3, ge=-1, le=1.5)
    sigma: float = Field(default=0.001, gt=0, le=1)
    sigma_decay: float = Field(default=0.0, ge=-1, le=2)
    correlation: float = Field(default=0.5, ge=-1, le=1)
    s_time: float = Field(default=0.003, ge=0, le=1)
    ratio_drift: float = Field(default=0.1, ge=0, le=10)
    law: BaselineLaw = BaselineLaw()

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """Check the [plan_world] table of a settings file, the budget and the target added to it.

        Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
        """
        return read_table("plan_world", cls, values)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("tokens_per_param", "pairs", "horizon_seeds", "designs"):
            choices = getattr(self, name)
            if not choices or len(set(choices)) < len(choices) or len(choices) > 8:
                raise ValueError(f"'{name}' takes 1 to 8 different values")
        self._possible_sizes()
        largest_gain = max(self.ln_speedup(self.size_choices[-1]), self.ln_speedup(self.target_params))
        if not largest_gain <= LARGEST_GAIN:
            raise ValueError("'expected_saving' and 'decay' let the gain grow beyond any real one at the target")
        for params in self.size_choices.tolist():
            if not self.sigma_at(params) <= MOST_NOISE * self.kappa(max(self.tokens_per_param) * params):
                raise ValueError(
                    f"'sigma' is over {MOST_NOISE:g} times the slope that 'law' gives the baseline at {params:.3g} "
                    "params: no plan could tell a gain there"
                )
        return self

    def _possible_sizes(self) -> None:
        if self.sizes is not None:
            if not 2 <= len(self.sizes) <= MOST_SIZES or list(self.sizes) != sorted(set(self.sizes)):
                raise ValueError(f"'sizes' takes 2 to {MOST_SIZES} numbers of params in rising order")
            if self.sizes[-1] > self.target_params:
                raise ValueError("'sizes' must not exceed 'target_params', since a ladder ends at or below its target")
        elif not self._largest >= 1.2 * self.smallest_params:
            raise ValueError(
                "'smallest_params' leaves no room for two rungs below the target: it must lie well below "
                "'largest_params', which is half of 'target_params' unless given"
            )
        elif self._largest > self.target_params:
            raise ValueError("'largest_params' must not exceed 'target_params'")

    @property
    def _largest(self) -> float:
        return self.target_params / 2 if self.largest_params is None else self.largest_params

    @property
    def size_choices(self) -> Floats:
        """Params that a rung may have, rising, float64 (sizes,)."""
        if self.sizes is not None:
            return np.asarray(self.sizes, dtype=np.float64)
        span = math.log(self._largest / self.smallest_params)
        many = min(max(round(span / math.log(STEP)) + 1, 2), MOST_SIZES)
        return self.smallest_params * np.exp(np.linspace(0.0, span, many))

    @property
    def target_tokens_per_param(self) -> float:
        """Tokens per param of the target: by its tokens, or else the first of `tokens_per_param`."""
        return self.tokens_per_param[0] if self.target_tokens is None else self.target_tokens / self.target_params

    @property
    def delta(self) -> float:
        """The smallest saving worth having, in lnS."""
        return delta_of(self.smallest_saving)

    @property
    def times_error(self) -> float:
        """`s_time` where the axis is seconds; tokens and FLOPs are counted without error."""
        return self.s_time if self.axis == "seconds" else 0.0

    def loss(self, params: float, tokens: float) -> float:
        """The baseline's expected finished loss."""
        law = self.law
        return law.E + law.A * math.pow(params, -law.alpha) + law.B * math.pow(tokens, -law.beta)

    def kappa(self, tokens: float) -> float:
        """The expected slope -dL/dlnT in nats, at fixed params."""
        return self.law.beta * self.law.B * math.pow(tokens, -self.law.beta)

    def sigma_at(self, params: float) -> float:
        """The expected spread of one run over seeds."""
        return self.sigma * math.pow(params / self.smallest_params, -self.sigma_decay)

    def ln_speedup(self, params: float) -> float:
        """The expected lnS of an arm."""
        return -math.log1p(-self.expected_saving) * math.pow(params / self.smallest_params, -self.decay)

    def drift(self, tokens_per_param: float) -> float:
        """Sd that `ratio_drift` adds to lnS at the target, for rungs with so many tokens per param."""
        apart = abs(math.log(tokens_per_param / self.target_tokens_per_param))
        return self.ratio_drift * apart * self.ln_speedup(self.target_params)
