"""Which horizons of different rungs are the same one: equal tokens per param, or equal tokens."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALIKE = 0.1
"""In ln: horizons whose tokens per param differ by less are the same horizon, unless one rung has both."""
SMALLEST_STEP = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Horizons:
    """The baseline's horizons: by rung those that count, in tokens, rising, and their numbers, alike at all rungs.

    `left_out`: horizons in tokens, by rung, that do not stand at every rung and so do not count.
    """

    tokens: tuple[Floats, ...]
    numbers: tuple[NDArray[np.intp], ...]
    left_out: tuple[Floats, ...]


def match_horizons(params: Floats, tokens: Sequence[Floats]) -> Horizons:
    """Match the horizons `tokens` (h,) of each rung, whose baseline has `params` (R,).

    Horizons are alike by tokens per param or by tokens, whichever is common to more rungs. Where two or more stand at
    every rung, only these count: the curves of all rungs then span the same range, and misfit alike.
    """
    by_ratio = _numbered([horizons / size for size, horizons in zip(params, tokens, strict=True)])
    by_tokens = _numbered(list(tokens))
    numbers = by_ratio if len(_common(by_ratio)) >= len(_common(by_tokens)) else by_tokens
    common = _common(numbers)
    used = [np.isin(one, common) if len(common) > 1 else np.ones(len(one), np.bool_) for one in numbers]
    return Horizons(
        tuple(horizons[keep] for horizons, keep in zip(tokens, used, strict=True)),
        tuple(number[keep] for number, keep in zip(numbers, used, strict=True)),
        tuple(horizons[~keep] for horizons, keep in zip(tokens, used, strict=True)),
    )


def _numbered(values: Sequence[Floats]) -> list[NDArray[np.intp]]:
    """Numbers of groups of values that lie near their neighbours in ln, rising; no rung has a number twice.

    Near is ALIKE, or less: halved until horizons that one rung tells apart stay apart.
    """
    every = np.sort(np.concatenate(values))
    steps = np.diff(np.log(every))
    near = ALIKE
    while True:
        starts = np.concatenate([[-math.inf], np.log(every[1:])[steps > near]])
        found = [np.searchsorted(starts, np.log(one) + 1e-12, side="right") - 1 for one in values]
        if near < SMALLEST_STEP or all(len(np.unique(one)) == len(one) for one in found):
            return found
        near /= 2


def _common(numbers: Sequence[NDArray[np.intp]]) -> NDArray[np.intp]:
    common = numbers[0]
    for one in numbers[1:]:
        common = np.intersect1d(common, one)
    return common
