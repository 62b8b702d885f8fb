"""What a plan lets one say at its top rung: the right word and its chance, and the pairs that each word would need."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.special import chdtri, ndtri
from scipy.stats import qmc

from transfer.planning.score import Measured
from transfer.planning.world import Floats, RecommenderSettings
from transfer.power import (
    ALPHA,
    POWER,
    Expected,
    Settling,
    margin_of,
    pair_variance,
    pairs_needed,
    smallest_visible_saving,
)
from transfer.student import quantile, welch_dof
from transfer.words import Word, choose_word

OUTCOMES = 1024


def right_word(bottom: float, top: float, delta: float) -> Word:
    """The word that the true lnS at rung 0 and at the top deserve."""
    change = top - bottom
    return choose_word(
        (top, top),
        (change, change),
        delta=delta,
        margin=margin_of(bottom, delta),
        gain_at_rung_0=bottom > 0,
        holm_passed=True,
    )


def chance_of(word: Word, bottom: Measured, top: Measured, *, delta: float, arms: int) -> float:
    """The chance that the arm gets `word`, over outcomes of the two rungs and of their estimated spreads.

    Among several arms the top must hold at ALPHA/arms, which is Holm's hardest step: the chance is a lower bound there.
    """
    both = welch_dof([(top.error**2, top.dof), (bottom.error**2, bottom.dof)])
    reach = [quantile(0.95, dof) for dof in (bottom.dof, top.dof, both)]
    hardest = quantile(1 - ALPHA / arms, top.dof)
    hits = 0
    for z_bottom, z_top, u_bottom, u_top in _points().tolist():
        low, high = bottom.ln_speedup + bottom.error * z_bottom, top.ln_speedup + top.error * z_top
        se_low, se_high = bottom.error * _spread(u_bottom, bottom.dof), top.error * _spread(u_top, top.dof)
        change, se = high - low, math.hypot(se_low, se_high)
        found = choose_word(
            (high - reach[1] * se_high, high + reach[1] * se_high),
            (change - reach[2] * se, change + reach[2] * se),
            delta=delta,
            margin=margin_of(low, delta),
            gain_at_rung_0=low - reach[0] * se_low > 0,
            holm_passed=high >= hardest * se_high,
        )
        hits += found == word
    return hits / OUTCOMES


def needed_pairs(
    settings: RecommenderSettings, sizes: Sequence[float], tokens_per_param: float
) -> dict[str, int | None]:
    """Pairs a rung that establish each word on a ladder of `sizes` (params): None where no number of pairs would."""
    bottom, top = (float(size) for size in (sizes[0], sizes[-1]))
    expected = Expected(
        top=settings.ln_speedup(top),
        bottom=settings.ln_speedup(bottom),
        top_variance=_pair_variance(settings, top, tokens_per_param),
        bottom_variance=_pair_variance(settings, bottom, tokens_per_param),
        delta=settings.delta,
        findings=settings.arms,
    )
    words: tuple[Settling, ...] = ("transfers", "gains", "grows", "shrinks", "vanishes", "reverses", "harmful")
    return {word: pairs_needed(word, expected) for word in words}


def visible_saving(settings: RecommenderSettings, params: float, tokens_per_param: float, pairs: int) -> float:
    """The smallest saving at a rung that so many pairs at its horizon establish, among all arms."""
    return smallest_visible_saving(
        sigma=settings.sigma_at(params),
        kappa=settings.kappa(tokens_per_param * params),
        s_time=settings.times_error,
        pairs=pairs,
        correlation=settings.correlation,
        alpha=ALPHA / settings.arms,
        power=POWER["gains"],
    )


def _pair_variance(settings: RecommenderSettings, params: float, tokens_per_param: float) -> float:
    kappa = settings.kappa(tokens_per_param * params)
    return pair_variance(settings.sigma_at(params), kappa, settings.correlation, settings.times_error)


def _spread(u: float, dof: float) -> float:
    """An estimated standard error over the true one, where the chance of more is `u`."""
    return math.sqrt(float(chdtri(dof, u)) / dof)


@cache
def _points() -> Floats:
    """Evenly spread outcomes (OUTCOMES, 4): two standard normals, two uniform on (0, 1)."""
    uniform = qmc.Sobol(4, seed=2).random(OUTCOMES)
    points: Floats = np.concatenate([ndtri(uniform[:, :2]), uniform[:, 2:]], axis=1)
    return points
