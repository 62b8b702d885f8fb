"""Which rungs, pairs and horizons give the tightest interval at the target, for a budget in FLOPs.

Every ladder that the settings allow is scored by what the forecast at the target would say of its expected outcomes.
Which plans are scored never hangs on the budget, so that a larger one can only do better. Method: docs/method.md.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from data.errors import InputError
from transfer.forecast import EXTRAPOLATED_BEYOND
from transfer.planning.choice import Choice, Chosen
from transfer.planning.ladders import HORIZONS
from transfer.planning.words import chance_of, needed_pairs, right_word, visible_saving
from transfer.planning.world import RecommenderSettings
from transfer.saving import saved
from transfer.student import quantile
from transfer.words import Word

PLANS = 5
FRONTIER = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Budgets that are compared, in units of the one asked for; 1 is among them."""
LOOKS, FEWER_LOOKS = 12, 6
"""Sets of rungs that are forecast for the budget asked for, and for each of the others."""


@dataclass(frozen=True, slots=True)
class PlannedRung:
    """One rung: `flops` are of all its `runs`; the saving that it is expected to show, with its 90 % interval."""

    params: float
    tokens: float
    pairs: int
    runs: int
    flops: float
    loss: float
    kappa: float
    saving: float
    saving_low: float
    saving_high: float


@dataclass(frozen=True, slots=True)
class RecommendedPlan:
    """A plan and what it is expected to say of an arm at the target, with 90 % intervals.

    `horizons` are multiples of each rung's tokens at which baselines run, `arms_at` those at which arms run too;
    `horizon_seeds` the baselines at T/2 and at 2T each. `tells_gain`: the interval is expected to lie above 0.
    `smallest_visible_saving` and the chance of `right_word` are of the top rung; `pairs_needed` by word, None where no
    number of pairs would do.
    """

    rungs: tuple[PlannedRung, ...]
    tokens_per_param: float
    horizons: tuple[float, ...]
    arms_at: tuple[float, ...]
    horizon_seeds: int
    runs: int
    flops: float
    budget_share: float
    saving: float
    saving_low: float
    saving_high: float
    ln_speedup: float
    ln_speedup_low: float
    ln_speedup_high: float
    tells_gain: bool
    extrapolated: bool
    smallest_visible_saving: float
    right_word: Word
    right_word_chance: float
    pairs_needed: dict[str, int | None]

    @property
    def ln_speedup_width(self) -> float:
        """Of the interval at the target, in lnS: what plans are ranked by."""
        return self.ln_speedup_high - self.ln_speedup_low

    @property
    def saving_width(self) -> float:
        """Of the interval at the target, in the saving."""
        return self.saving_high - self.saving_low


@dataclass(frozen=True, slots=True)
class Step:
    """What another budget would give: its best plan, None where it buys no ladder at all."""

    budget_flops: float
    plan: RecommendedPlan | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The best plans on different rungs, tightest first, and what other budgets would give.

    `expected_saving` is the true one at the target, by the settings; `least_flops_to_tell` the cost of the cheapest
    plan found whose interval is expected to lie above 0, None where none does at any budget; `tells_gain` whether the
    budget reaches that.
    """

    target_params: float
    budget_flops: float
    expected_saving: float
    plans: tuple[RecommendedPlan, ...]
    frontier: tuple[Step, ...]
    tells_gain: bool
    least_flops_to_tell: float | None
    candidates: int
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def recommend(settings: RecommenderSettings) -> Recommendation:
    """The plans within the budget that give the tightest 90 % interval of lnS at the target.

    Raises InputError where the budget buys no ladder at all.
    """
    choice = Choice(settings)
    if settings.budget_flops < choice.flops[0]:
        raise InputError(
            f"A budget of {settings.budget_flops:.3g} FLOPs buys no ladder: the cheapest needs {choice.flops[0]:.3g}; "
            "raise the budget, or lower smallest_params, pairs or landing_pairs."
        )
    steps: list[Step] = []
    plans: tuple[RecommendedPlan, ...] = ()
    for factor in FRONTIER:  # rising, so that a larger budget knows what a smaller one would buy
        budget = factor * settings.budget_flops
        found = [
            _plan(choice, one, budget)
            for one in choice.best(budget, PLANS if factor == 1 else 1, looks=LOOKS if factor == 1 else FEWER_LOOKS)
        ]
        steps.append(Step(budget, found[0] if found else None))
        plans = tuple(found) if factor == 1 else plans
    least = choice.least_to_tell()
    expected = saved(settings.ln_speedup(settings.target_params))
    return Recommendation(
        target_params=settings.target_params,
        budget_flops=settings.budget_flops,
        expected_saving=expected,
        plans=plans,
        frontier=tuple(steps),
        tells_gain=least is not None and least <= settings.budget_flops,
        least_flops_to_tell=least,
        candidates=choice.candidates,
        notes=tuple(_notes(settings, plans[0], expected, least)),
    )


def _plan(choice: Choice, kept: int, budget: float) -> RecommendedPlan:
    settings, chosen, expected = choice.settings, choice.chosen(kept), choice.expected(kept)
    rungs = tuple(_rungs(settings, chosen))
    bottom, top = chosen.params[0], chosen.params[-1]
    word = right_word(settings.ln_speedup(bottom), settings.ln_speedup(top), settings.delta)
    worth = int(chosen.top.worth(settings.law.beta))
    return RecommendedPlan(
        rungs=rungs,
        tokens_per_param=chosen.top.tokens_per_param,
        horizons=HORIZONS,
        arms_at=HORIZONS if chosen.top.design == "every" else (1.0,),
        horizon_seeds=chosen.top.seeds,
        runs=sum(rung.runs for rung in rungs),
        flops=chosen.flops,
        budget_share=chosen.flops / budget,
        saving=saved(expected.ln_speedup),
        saving_low=saved(expected.ln_speedup_low),
        saving_high=saved(expected.ln_speedup_high),
        ln_speedup=expected.ln_speedup,
        ln_speedup_low=expected.ln_speedup_low,
        ln_speedup_high=expected.ln_speedup_high,
        tells_gain=expected.ln_speedup_low > 0,
        extrapolated=settings.target_params > EXTRAPOLATED_BEYOND * top,
        smallest_visible_saving=visible_saving(settings, top, chosen.top.tokens_per_param, worth),
        right_word=word,
        right_word_chance=chance_of(word, chosen.said[0], chosen.said[-1], delta=settings.delta, arms=settings.arms),
        pairs_needed=needed_pairs(settings, chosen.params, chosen.top.tokens_per_param),
    )


def _rungs(settings: RecommenderSettings, chosen: Chosen) -> Iterator[PlannedRung]:
    for params, said in zip(chosen.params, chosen.said, strict=True):
        top = params == chosen.params[-1]
        effort = chosen.top if top else chosen.below
        tokens = effort.tokens_per_param * params
        reach = quantile(0.95, said.dof) * said.error
        yield PlannedRung(
            params=params,
            tokens=tokens,
            pairs=effort.pairs,
            runs=effort.runs(settings, top=top),
            flops=effort.flops(settings, params, top=top),
            loss=settings.loss(params, tokens),
            kappa=settings.kappa(tokens),
            saving=saved(said.ln_speedup),
            saving_low=saved(said.ln_speedup - reach),
            saving_high=saved(said.ln_speedup + reach),
        )


def _notes(settings: RecommenderSettings, best: RecommendedPlan, expected: float, least: float | None) -> Iterator[str]:
    interval = f"{best.saving_low:.1%} to {best.saving_high:.1%}"
    if least is None or least > settings.budget_flops:
        could = (
            f"a budget of {least:.3g} FLOPs could"
            if least is not None
            else f"no plan up to {settings.size_choices[-1]:.2g} params could, at any budget"
        )
        yield (
            f"This budget cannot tell the expected saving of {expected:.1%} at the target from none: "
            f"its tightest interval is {interval} (90 %); {could}."
        )
    if best.extrapolated:
        yield (
            f"The target is {settings.target_params / best.rungs[-1].params:.2g} times the top rung: "
            "the forecast is extrapolated."
        )
    if best.tokens_per_param != settings.target_tokens_per_param:
        yield (
            f"Its rungs have {best.tokens_per_param:.3g} tokens per param and the target "
            f"{settings.target_tokens_per_param:.3g}: a gain is taken to differ by {settings.ratio_drift:.0%} per "
            "e-fold of that ratio (one standard deviation), which the runs cannot check."
        )
    if len(best.arms_at) > 1:
        yield (
            "Arms run at every horizon, and their savings there are averaged: a promotion runs arms at its own horizon "
            "alone, so judge such runs as a table, or plan with designs = ['one']."
        )
    yield (
        f"Assumed: noise {settings.sigma:.3g} nats, pair correlation {settings.correlation:.2g}, the baseline's law, a "
        f"gain of {settings.expected_saving:.1%} at {settings.smallest_params:.2g} params that decays with exponent "
        f"{settings.decay:.2g}; measure them on the smallest rung and plan again."
    )
