"""A whole search on simulated runs: what it spends, what it keeps, and what it compares trials with."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from simulated_launch import BASELINE, Bench, Gain, World

from scaling.edits import Edit
from search.keep import LOOKS
from search.proposals import Failure, Outcome, Proposal
from search.search import Search
from search.settings import SearchSettings
from search.trial import Trial

GOOD, FAIR, NULL, BAD = (("weight_decay", 0.3), ("beta1", 0.8), ("beta2", 0.97), ("init_std", 0.05))
SIZES = {GOOD: 0.2, FAIR: 0.03, NULL: 0.0, BAD: -0.2}


class Gains(dict[tuple[str, float], Gain]):
    """What knob values gain; those not named gain nothing."""

    def __missing__(self, item: tuple[str, float]) -> Gain:
        return lambda rung, share: SIZES.get(item, 0.0)


def proposal(slug: str, edit: Edit, *, placebo: bool = False) -> Proposal:
    return Proposal(slug, slug, "h", "c", "s", "constant", "unknown", edit, placebo=placebo)


def placebo(k: int) -> Proposal:
    # The simulated runs draw their own noise from the knobs, so that here a knob without effect stands for a placebo.
    return proposal(f"placebo-{k}", Edit(knobs={"epsilon": 1e-9 * (1 + k)}), placebo=True)


class Given:
    """Proposes what it was given, once."""

    name = "given"
    batch = 16

    def __init__(self, edits: list[tuple[str, float]]) -> None:
        self.edits = edits

    def propose(self, count: int, history: Sequence[Outcome]) -> list[Proposal]:
        now, self.edits = self.edits[:count], self.edits[count:]
        return [
            proposal(f"{knob}-{place}".replace("_", "-"), Edit(knobs={knob: value}))
            for place, (knob, value) in enumerate(now)
        ]

    def repair(self, proposal: Proposal, failure: Failure) -> Proposal | None:
        return None


def searched(folder: Path, edits: list[tuple[str, float]], **settings: Any) -> tuple[Bench, list[Trial]]:
    bench = Bench.make(folder, World(Gains(), sigma=0.002, correlation=0.5))
    chosen = SearchSettings.read({"trials": len(edits) + 1, **settings})
    with bench._lab(float("inf")) as lab:
        search = Search(lab, BASELINE, chosen, placebo=placebo, learning_rate=0.01)
        return bench, search.run(Given(edits))


def test_a_search_keeps_gains_and_drops_the_rest(tmp_path: Path) -> None:
    bench, trials = searched(tmp_path / "study", [GOOD, FAIR, NULL, BAD])
    ended = {next(iter(trial.proposal.edit.knobs)): trial for trial in trials if not trial.proposal.placebo}
    assert ended["weight_decay"].status == "kept"
    assert ended["init_std"].status == "dropped"
    assert "dropped at the screen" in ended["init_std"].reason
    good = ended["weight_decay"].end
    assert good is not None
    assert good.effect_low < good.effect < good.effect_high
    assert sum(trial.proposal.placebo for trial in trials) == 1
    stored = bench.rows("select status, reason, z from trials where trial_id like 'weight-decay%'")
    assert [row["status"] for row in stored] == ["kept"]


def test_every_seed_has_its_references_and_no_run_is_made_for_nothing(tmp_path: Path) -> None:
    bench, trials = searched(tmp_path / "study", [GOOD, FAIR, NULL, BAD])
    runs = bench.rows("select arm, purpose, shard, seed from runs")
    confirmed = {trial.trial_id: trial.look.n for trial in trials if trial.look is not None}
    most = max(confirmed.values())
    made = Counter((row["shard"], row["arm"] if row["arm"] in {"baseline", "placebo"} else "other") for row in runs)
    assert made["search", "baseline"] == made["search", "placebo"] == 8
    assert made["confirm", "baseline"] == made["confirm", "placebo"] == most
    assert made["confirm", "other"] == sum(confirmed.values())
    assert set(confirmed.values()) <= set(LOOKS)
    seeds = {shard: {row["seed"] for row in runs if row["shard"] == shard} for shard in ("search", "confirm")}
    assert not seeds["search"] & seeds["confirm"]


def test_effects_are_means_over_the_references_of_each_seed(tmp_path: Path) -> None:
    bench, trials = searched(tmp_path / "study", [GOOD, BAD])
    trial = next(trial for trial in trials if trial.status == "kept")
    rows = bench.rows("select seed, arm, val_loss from runs where shard = 'confirm'")
    arm = {row["seed"]: row["val_loss"] for row in rows if row["arm"] == f"trial:{trial.trial_id}"}
    references = {
        seed: np.mean(
            [row["val_loss"] for row in rows if row["seed"] == seed and row["arm"] in {"baseline", "placebo"}]
        )
        for seed in arm
    }
    assert trial.look is not None
    np.testing.assert_allclose(trial.look.effect, np.mean([references[seed] - arm[seed] for seed in arm]))


def test_looks_may_be_left_out(tmp_path: Path) -> None:
    bench, trials = searched(tmp_path / "study", [GOOD, FAIR], confirm_looks=[2])
    assert {trial.look.n for trial in trials if trial.look is not None} == {2}
    assert all(trial.status is not None for trial in trials)
    assert bench.row("select count(distinct seed) as seeds from runs where shard = 'confirm'")["seeds"] == 2
