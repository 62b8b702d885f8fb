"""From paired finished losses to the saving and its interval, rung by rung up a ladder."""

import math
from collections.abc import Sequence
from dataclasses import replace

from transfer.crossing import MAX_SHORTENING, Crossing, crossings_of_arms
from transfer.pairs import RungPairs
from transfer.saving import Afar, Axis, Saving
from transfer.student import welch_dof
from transfer.timing import TimeRatio, time_ratios

MAX_DISTANCE = 0.5
"""Between the crossing and the nearest horizon that was run, in ln tokens: beyond it no number is given."""
UNSEEN_SLOPE_SHARE = 1.0
"""A loss whose error by slope and curvature exceeds so many times that of pairs and text is given as 'at least'.

Not where it is significant: of an arm that truly loses, only the luckiest runs would then have numbers.
"""
BOUND_TOLERANCE = 0.15
"""Horizons are whole steps, so that the shortest is MAX_SHORTENING but for so much."""


def savings_up_the_ladder(
    rungs: Sequence[RungPairs], axis: Axis, *, noise_factors: Sequence[float] = ()
) -> list[Saving]:
    """The saving of one arm at each rung, lowest first; what pairing gains is pooled over the rungs.

    `noise_factors`, one per rung, asks what would follow if runs were that much noisier than their sigma.
    """
    return savings_of_arms([rungs], axis, noise_factors=[noise_factors])[0]


def savings_of_arms(
    arms: Sequence[Sequence[RungPairs]], axis: Axis, *, noise_factors: Sequence[Sequence[float]] = ()
) -> list[list[Saving]]:
    """`savings_up_the_ladder` of many arms, each pooled over its own rungs: one fit for all takes far less time."""
    crossings = crossings_of_arms(arms, noise_factors=noise_factors)
    savings = []
    for rungs, own in zip(arms, crossings, strict=True):
        known = [() if rung.ln_time_ratios is None else rung.ln_time_ratios for rung in rungs]
        times = time_ratios(known) if axis == "seconds" else [None] * len(rungs)
        savings.append([_saving(rung, axis, at, time) for rung, at, time in zip(rungs, own, times, strict=True)])
    return savings


def _saving(rung: RungPairs, axis: Axis, crossing: Crossing | None, time: TimeRatio | None) -> Saving:
    pairs, horizons = rung.pairs, len(rung.points)
    reason = _missing(rung, axis, time)
    if reason or crossing is None:
        return Saving(axis, math.nan, math.nan, math.nan, pairs, reason=reason, horizons=horizons)
    shift = 0.0
    terms = crossing.terms
    if axis == "flops" and rung.ln_flops_ratio is not None:
        shift = rung.ln_flops_ratio
    elif time is not None:
        shift = time.mean
        terms.append((time.variance, time.dof))
    measured = [terms[0], terms[1], *terms[3:]]
    distance = crossing.shortening - crossing.nearest.ln_shortening
    afar = None
    if distance and crossing.assumed > crossing.noise + crossing.text:
        afar = Afar(
            origin=crossing.nearest.ln_shortening - shift,
            measured_se=math.sqrt(sum(variance for variance, _ in measured)),
            dof=welch_dof(measured),
            doubt=math.sqrt(crossing.assumed) / abs(distance),
        )
    saving = Saving(
        axis=axis,
        ln_speedup=crossing.shortening - shift,
        ln_speedup_se=math.sqrt(sum(variance for variance, _ in terms)),
        dof=welch_dof(terms),
        pairs=pairs,
        pair_variance=crossing.noise * pairs,
        afar=afar,
        method="crossing" if horizons > 1 or crossing.nearest.ln_shortening != 0 else "pairs",
        horizons=horizons,
    )
    return _within_reach(saving, rung, crossing, shift)


def _within_reach(saving: Saving, rung: RungPairs, crossing: Crossing, shift: float) -> Saving:
    """The saving; 'at least' where the arm crosses beyond the horizons that it was run on."""
    shortest = max(point.ln_shortening for point in rung.points)
    longest = min(point.ln_shortening for point in rung.points)
    at_bound = shortest >= MAX_SHORTENING - BOUND_TOLERANCE
    if crossing.shortening > (shortest if at_bound else shortest + MAX_DISTANCE):
        ceiling = (shortest if at_bound else MAX_SHORTENING) - shift
        return replace(saving, ln_speedup=math.nan, at_least="gain", centre=saving.ln_speedup, ceiling=ceiling)
    unseen = crossing.assumed > UNSEEN_SLOPE_SHARE * (crossing.noise + crossing.text)
    beyond = crossing.shortening < min(longest, 0.0)
    # On another axis an arm that needs more tokens may still save: then its interval says so, as wide as it is.
    if beyond and saving.high < 0 and (unseen or crossing.shortening < longest - MAX_DISTANCE):
        return replace(saving, ln_speedup=math.nan, at_least="loss", centre=saving.ln_speedup)
    return saving


def _missing(rung: RungPairs, axis: Axis, time: TimeRatio | None) -> str:
    if not rung.slope.usable:
        return "the baseline's finished loss does not fall with tokens, so there is no slope"
    if axis == "flops" and rung.ln_flops_ratio is None:
        return "the arm's FLOPs per token were not counted"
    if axis == "seconds" and (time is None or not math.isfinite(time.mean)):
        return "the arm was not timed against the baseline"
    if time is not None and not math.isfinite(time.variance):
        return "the arm was timed only once a rung, so the spread of its timing is unknown"
    return ""
