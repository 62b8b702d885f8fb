"""The method on ladders whose truth is known: what it promises must hold there."""

from collections.abc import Iterator

import numpy as np
import pytest

from transfer.aa import check
from transfer.forecast import forecast
from transfer.saving import Axis, savings_up_the_ladder
from transfer.simulated import Ladder, World, cpu, llm, simulate
from transfer.words import Word, judge

WORLDS = [(llm, 0.01), (cpu, 0.05)]
CASES = [(make(rho, pairs), worth) for make, worth in WORLDS for rho in (0.0, 0.9) for pairs in (2, 4)]
IDS = [f"{make.__name__}-{rho}-{pairs}" for make, _ in WORLDS for rho in (0.0, 0.9) for pairs in (2, 4)]
GAINS = [[0.2] * 4, [0.0] * 4, [0.1, 0.07, 0.03, 0.0], [-0.1] * 4, [0.4, 0.3, 0.2, 0.1]]
VANISHING = ("alone:1", "alone:2")


def ladders(world: World, count: int = 60) -> Iterator[Ladder]:
    rng = np.random.default_rng(20240229)
    return (simulate(world, GAINS, rng) for _ in range(count))


@pytest.mark.parametrize(("world", "worth"), CASES, ids=IDS)
@pytest.mark.parametrize("axis", ["tokens", "seconds"])
def test_intervals_cover_the_truth(world: World, worth: float, axis: Axis) -> None:
    covered = np.array(
        [
            [
                [s.low <= gain <= s.high for s, gain in zip(savings_up_the_ladder(rungs, axis), gains, strict=True)]
                for rungs, gains in zip(ladder.evidence.values(), GAINS, strict=True)
            ]
            for ladder in ladders(world)
        ]
    )
    assert covered.mean() >= 0.87
    # 60 ladders a cell: 85 % less two and a half standard errors of so small a sample.
    assert covered.mean(0).min() >= 0.85 - 2.5 * np.sqrt(0.85 * 0.15 / 60)


def test_coverage_over_all_worlds_is_at_least_85_percent_in_each_rung() -> None:
    covered = np.array(
        [
            [
                [s.low <= gain <= s.high for s, gain in zip(savings_up_the_ladder(rungs, "tokens"), gains, strict=True)]
                for rungs, gains in zip(ladder.evidence.values(), GAINS, strict=True)
            ]
            for world, _ in CASES
            for ladder in ladders(world, 40)
        ]
    )
    assert covered.mean((0, 1)).min() >= 0.85


def test_a_vanished_gain_is_hardly_ever_called_one() -> None:
    words = [
        verdict.word
        for world, worth in CASES
        for ladder in ladders(world, 40)
        for arm, verdict in judge(ladder.evidence, axis="tokens", smallest_saving=worth, invalid={}).items()
        if arm in VANISHING
    ]
    assert share(words, "transfers", "grows") <= 0.05


def test_clear_cases_get_their_word() -> None:
    words = {
        arm: [judge(ladder.evidence, axis="tokens", smallest_saving=0.01, invalid={})[arm].word for ladder in found]
        for found in [list(ladders(llm(0.9, 4), 40))]
        for arm in ("alone:0", "alone:1", "alone:3", "alone:4")
    }
    assert share(words["alone:0"], "transfers") > 0.9
    assert share(words["alone:1"], "vanishes") > 0.9
    assert share(words["alone:3"], "harmful") > 0.9
    assert share(words["alone:4"], "shrinks") > 0.9


def test_a_baseline_against_itself_seldom_freezes_a_rung() -> None:
    frozen = [
        check(*halves, slope, others=others).frozen
        for world, _ in CASES
        for ladder in ladders(world, 40)
        for slope, others, halves in zip(ladder.slopes, ladder.baselines, ladder.aa, strict=True)
    ]
    assert np.mean(frozen) <= 0.03


def test_forecasts_cover_what_was_not_run() -> None:
    world, target = cpu(0.9, 4), 81e6
    scales = np.log(np.append(world.params, target) / world.params[0])
    truths = np.array([0.2 + 0 * scales, 0.2 * np.exp(-0.3 * scales), 0.2 - 0.02 * scales, 0.3 * 0.8**scales])
    rng = np.random.default_rng(7)
    hits: list[bool] = []
    for _ in range(60):
        ladder = simulate(world, truths[:, :-1].tolist(), rng)
        savings = {arm: savings_up_the_ladder(rungs, "tokens") for arm, rungs in ladder.evidence.items()}
        for truth, forecasts in zip(truths[:, -1], forecast(world.params, savings, target).values(), strict=True):
            hits.append(bool(forecasts[0].saving_low <= -np.expm1(-truth) <= forecasts[0].saving_high))
    assert np.mean(hits) >= 0.85


def share(words: list[Word], *wanted: Word) -> float:
    return sum(word in wanted for word in words) / len(words)
