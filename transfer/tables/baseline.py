"""The baseline of a table, rung by rung: its finished curve over tokens, and the noise of its runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.arm_table import ArmTable
from data.errors import InputError
from transfer.slope import LN_2, Noise, Slope, fit_slope, pooled_noise
from transfer.tables.curve import ALONG_TOKENS, FinishedCurve, Floats, fit_curve
from transfer.tables.horizons import Horizons, match_horizons
from transfer.tables.rows import Places, at_horizons

MUCH_MORE = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class BaselineRung:
    """The baseline at one rung: its curve, its noise, and its horizons that count, in tokens, with their numbers (h,).

    `slopes`: the local slope at each horizon T that has T/2 and 2T beside it (within 10 %), by T; None elsewhere.
    """

    params: float
    curve: FinishedCurve
    noise: Noise
    tokens: Floats
    numbers: NDArray[np.intp]
    slopes: tuple[Slope | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """All rungs whose loss falls with tokens, by rung; `why_not` those that cannot be used, with the reason."""

    rungs: dict[int, BaselineRung]
    why_not: dict[int, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_baseline(table: ArmTable, places: Places, sigma: float | None) -> Baseline:
    """The baseline's curves from its finished rows by place.

    `sigma` in nats per token is taken for the noise of every run where given; else it is measured from seeds.
    Raises InputError where nothing tells the noise.
    """
    by_rung = [at_horizons(places, rung) for rung in range(len(table.rung_params))]
    losses = [{tokens: table.loss[rows] for tokens, rows in one.items()} for one in by_rung]
    horizons = match_horizons(table.rung_params, [np.array(list(one)) for one in losses])
    noises, said = _noises(table, [list(one.values()) for one in losses], sigma)
    rungs, why_not = {}, {}
    for rung, noise in enumerate(noises):
        tokens, numbers = horizons.tokens[rung], horizons.numbers[rung]
        groups = tuple(losses[rung][one] for one in tokens.tolist())
        made = _rung(float(table.rung_params[rung]), tokens, groups, noise)
        if isinstance(made, str):
            why_not[rung] = made
        else:
            slopes = _slopes(tokens, groups, noise)
            rungs[rung] = BaselineRung(float(table.rung_params[rung]), made, noise, tokens, numbers, slopes)
    return Baseline(rungs, why_not, _notes(table, horizons), (*said, *_misfits(rungs)))


def _rung(params: float, tokens: Floats, groups: Sequence[Floats], noise: Noise) -> FinishedCurve | str:
    """The curve of one rung, or why it has none."""
    where = f"at {params:.4g} params the baseline"
    if len(tokens) < 2:
        return f"{where} has one horizon only, which shows no slope; run it at half and at twice the tokens as well"
    means = np.array([group.mean() for group in groups])
    weights = np.array([float(len(group)) for group in groups])
    curve = fit_curve(tokens, means, weights, sigma=noise.sigma, prior=ALONG_TOKENS)
    if not curve.usable:
        return f"{where}'s finished loss does not fall with tokens, so no saving can be told"
    return curve


def _slopes(tokens: Floats, losses: Sequence[Floats], noise: Noise) -> tuple[Slope | None, ...]:
    def beside(wanted: float) -> Floats | None:
        near = np.abs(np.log(tokens / wanted)) < 0.1
        return losses[int(np.flatnonzero(near)[0])] if near.any() else None

    found: list[Slope | None] = []
    for here, own in zip(tokens.tolist(), losses, strict=True):
        half, two = beside(here / 2), beside(here * 2)
        found.append(None if half is None or two is None else fit_slope({-LN_2: half, 0.0: own, LN_2: two}, noise))
    return tuple(found)


def _noises(
    table: ArmTable, groups: Sequence[Sequence[Floats]], sigma: float | None
) -> tuple[list[Noise], tuple[str, ...]]:
    """The noise of each rung: as given; else its own seeds'; else, where it has none, that of all rungs together."""
    repeated = [[group for group in one if len(group) > 1] for one in groups]
    measured = [pooled_noise(one) if one else None for one in repeated]
    if sigma is not None:
        return [Noise(sigma, math.inf, assumed=True)] * len(groups), _given(measured, sigma)
    every = [group for one in repeated for group in one]
    if not every:
        raise InputError(
            f"{table.source}: no two runs of the baseline differ in the seed alone, so nothing tells the noise of a "
            "run; give --sigma with the standard deviation of the finished loss over seeds, in nats per token."
        )
    pooled = pooled_noise(every, assumed=True)
    if pooled.sigma == 0:
        raise InputError(f"{table.source}: the baseline's seeds change no loss at all; check what the seed sets.")
    noises = [pooled if one is None or one.sigma == 0 else one for one in measured]
    without = sum(noise.assumed for noise in noises)
    said = (
        f"{without} of {len(noises)} rungs repeat no seed of the baseline; the noise of all rungs stands in for theirs."
    )
    return noises, ((said,) if without else ())


def _given(measured: Sequence[Noise | None], sigma: float) -> tuple[str, ...]:
    known = [one for one in measured if one is not None]
    assumed = f"The noise of a run, sigma = {sigma:g} nats per token, is assumed, not measured"
    if not known:
        return (f"{assumed}: the table has no seeds to measure it by.",)
    low, high = min(one.sigma for one in known), max(one.sigma for one in known)
    return (f"{assumed}; the baseline's own seeds give {low:.2g} to {high:.2g}.",)


def _notes(table: ArmTable, horizons: Horizons) -> tuple[str, ...]:
    said = [
        f"{', '.join(f'{one:.3g}' for one in left)} at {params:.4g} params"
        for params, left in zip(table.rung_params, horizons.left_out, strict=True)
        if len(left)
    ]
    if not said:
        return ()
    return (f"Horizons (tokens) that not every rung of the baseline has are left out: {'; '.join(said)}.",)


def _misfits(rungs: dict[int, BaselineRung]) -> tuple[str, ...]:
    """Warn where the baseline strays from a smooth curve by more than its noise, over all rungs together."""
    squares = sum(float(one.curve.weights @ one.curve.residuals**2) / one.noise.sigma**2 for one in rungs.values())
    dof = sum(max(len(one.tokens) - 3, 0) for one in rungs.values())
    if dof == 0 or squares / dof < MUCH_MORE**2:
        return ()
    return (
        f"The baseline strays from a smooth curve of its horizons {math.sqrt(squares / dof):.1f} times as far as its "
        "noise allows: it is not tuned alike at all of them, or the noise is larger.",
    )
