"""A plan counts the runs of a promotion, and sees on the axis and with the timings that the report speaks of."""

from pathlib import Path
from typing import Any

import pytest
from report_fixture import KAPPA, SIGMA, crossing_records, demo_records, write_spool

from analysis.plan_table import plan_text
from data.store import Store
from transfer.plan_cost import RungCost, rung_cost
from transfer.plan_sight import ASSUMED, Sight, timing_spread
from transfer.settings import TransferSettings

SETTINGS = TransferSettings(pairs=(2, 4, 8), horizon_seeds=2, aa_pairs=2, landing_pairs=5)
NAMES = {0: "a", 1: "b", 2: "c"}


def sight(path: Path, records: list[dict[str, Any]]) -> Sight:
    return Sight.read(Store(write_spool(path, records)), "cpu")


def timings(*ratios: tuple[int, int, float]) -> list[dict[str, Any]]:
    """One record per block, from its seed, block and ln ratio."""
    return [
        {"kind": "timing", "written_at": 1e9, "run_id": f"{seed}-{block}", "rung": 0, "arm": "stack", "seed": seed,
         "block": block, "ln_ratio": ratio}
        for seed, block, ratio in ratios
    ]  # fmt: skip


def test_a_rung_costs_its_baselines_and_arms_and_the_runs_where_they_cross() -> None:
    def costs(settings: TransferSettings) -> list[RungCost]:
        places = ((8, True, False), (2, False, False), (8, False, True))
        return [rung_cost(settings, 3, pairs, is_bottom=bottom, is_top=top) for pairs, bottom, top in places]

    bottom, middle, top = costs(SETTINGS)
    assert (middle.pairs, middle.horizons, middle.aa, middle.arms, middle.crossing) == (2, 1.5, 4, 8, 8)
    assert (bottom.pairs, bottom.arms, bottom.crossing) == (8, 8, 32)
    # No pairs at T at the top: where arms cross is known from below. A/A baselines are landed against.
    assert (top.arms, top.crossing, top.members, top.half_stacks, top.landing) == (0, 32, 24, 0, 2 * 5 - 4)
    assert top.runs == 8 + 1.5 + 4 + 32 + 24 + 6
    ends = costs(SETTINGS.model_copy(update={"cross_everywhere": False}))
    assert [cost.crossing for cost in ends] == [32, 0, 32]


def test_many_findings_cost_a_plan_of_half_stacks_at_the_top_alone() -> None:
    assert rung_cost(SETTINGS, 9, 8, is_bottom=False, is_top=True).half_stacks == 24
    assert rung_cost(SETTINGS, 9, 8, is_bottom=False, is_top=False).half_stacks == 0
    folded = SETTINGS.model_copy(update={"fold_over": True})
    assert rung_cost(folded, 9, 8, is_bottom=False, is_top=True).half_stacks == 48


def test_the_spread_of_timings_is_pooled_within_arms_and_rungs(tmp_path: Path) -> None:
    blocks = timings((1, 0, 0.0), (1, 1, 0.2)) + [
        record | {"arm": "alone:a", "run_id": f"other-{place}"}
        for place, record in enumerate(timings((1, 0, 5.0), (2, 0, 5.0), (3, 0, 5.0)))
    ]
    pooled = (0.02 * 1 + 0.0 * 2) / 3
    assert timing_spread(Store(write_spool(tmp_path / "two", blocks))) == pytest.approx(pooled**0.5)
    assert timing_spread(Store(write_spool(tmp_path / "one", timings((1, 0, 0.1))))) is None
    assert timing_spread(Store(write_spool(tmp_path / "none", demo_records(until="search")))) is None


def test_what_is_timed_counts_on_seconds_alone(tmp_path: Path) -> None:
    known = sight(tmp_path / "timed", [*crossing_records(), *timings((1, 0, -0.2), (2, 0, 0.2))])
    assert known.slopes == {rung: (SIGMA[rung], KAPPA[rung]) for rung in range(3)}
    in_seconds, in_tokens, in_flops = (known.smallest(0, 4, SETTINGS, axis) for axis in ("seconds", "tokens", "flops"))
    assert in_seconds > 3 * in_tokens
    assert in_flops == in_tokens
    said = "\n".join(known.notes(NAMES, "seconds"))
    assert "is measured: s_time 0.28" in said
    assert "the smallest saving in seconds, and beside it in tokens, that" in said


def test_nothing_measured_is_assumed_and_said_so(tmp_path: Path) -> None:
    known = sight(tmp_path / "bare", demo_records(until="search"))
    said = "\n".join(known.notes(NAMES, "tokens"))
    assert f"sigma {ASSUMED['cpu'][0]}" in said
    assert "in its transition at rung a, b, c is not known before a promotion" in said
    assert "s_time" not in said, "nothing is timed on the axis of tokens"


def test_a_rung_in_transition_is_named(tmp_path: Path) -> None:
    said = "\n".join(sight(tmp_path / "steep", crossing_records()).notes(NAMES, "seconds"))
    assert "In transition at rung c:" in said
    assert "is not known before" not in said
    older = "\n".join(sight(tmp_path / "old", demo_records()).notes(NAMES, "seconds"))
    assert "at rung a, b, c is not known before" in older


def test_the_table_says_tokens_per_param_and_both_axes() -> None:
    row = {
        "rung": "a", "params": 40_000, "tokens": 400_000, "tokens_per_param": 10.0, "transition": True, "flops": 1e11,
        "memory_bytes": 1_000_000, "seconds": 2.0, "runs": 20.0, "hours": 0.01, "pairs": 4, "axis": "seconds",
        "smallest_saving": 0.37, "smallest_saving_tokens": 0.11,
    }  # fmt: skip
    text = plan_text([row], ["A note."])
    for said in ("per param", "10 *", "* in transition", "sees from", "37, 11 %", "A note."):
        assert said in text
    alone = plan_text([{**row, "axis": "tokens", "transition": None}], [])
    assert "," not in alone
    assert "*" not in alone
