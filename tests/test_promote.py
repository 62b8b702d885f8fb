import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from simulated_launch import BASELINE, Bench, Gain, KilledError, World, finding

from data.errors import InputError
from data.store import Store
from scaling.runs import RunSpec
from search.session import DONE as SEARCH_DONE
from transfer.again import Again
from transfer.session import known_again, measure_again
from transfer.settings import TransferSettings

CONSTANT, VANISHING, HARMFUL = ("weight_decay", 0.2), ("beta1", 0.85), ("beta2", 0.97)
KNOBS = [
    ("learning_rate", 5e-3),
    ("embedding_learning_rate", 2e-2),
    ("weight_decay", 0.2),
    ("beta1", 0.85),
    ("beta2", 0.97),
    ("epsilon", 1e-9),
    ("gradient_clip", 1.0),
    ("warmup_share", 0.1),
    ("final_share", 0.1),
    ("init_std", 0.05),
]


def always(*by_rung: float) -> Gain:
    return lambda rung, share: by_rung[min(rung, len(by_rung) - 1)]


GAINS = {CONSTANT: always(0.15), VANISHING: always(0.3, 0.0), HARMFUL: always(-0.2)}
FINDINGS = [finding("vanishing", *VANISHING), finding("constant", *CONSTANT), finding("harmful", *HARMFUL)]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench.make(tmp_path_factory.mktemp("promoted") / "study", World(GAINS), rungs=2)
    bench.promote(FINDINGS, landing_pairs=8, seed=2)
    return bench


def test_each_truth_gets_its_word(promoted: Bench) -> None:
    words = {row["arm"]: row["verdict"] for row in promoted.rows("select arm, verdict from verdicts")}
    assert words["alone:constant"] == "transfers"
    assert words["alone:vanishing"] == "vanishes"
    assert words["alone:harmful"] == "harmful"


def test_what_is_measured_is_the_truth(promoted: Bench) -> None:
    for arm, rung, truth in (("alone:constant", 1, 0.15), ("alone:vanishing", 0, 0.3), ("alone:constant", 0, 0.15)):
        where = {"arm": arm, "rung": rung}
        saving = promoted.row("select * from savings where arm = $arm and rung = $rung and axis = 'tokens'", **where)
        assert saving["ln_speedup"] == pytest.approx(truth, abs=0.03)
        assert saving["saving_low"] < 1 - math.exp(-truth) < saving["saving_high"]
        assert saving["method"] == "crossing"
        # The runs about the crossing are on the horizon that the saving names, at rung 0 and at the top.
        runs = promoted.rows(
            "select horizon from runs where arm = $arm and rung = $rung and horizon < $tokens",
            arm=arm,
            rung=rung,
            tokens=8_000 * (rung + 1),
        )
        assert min(abs(math.log(row["horizon"] / (8_000 * (rung + 1))) + truth) for row in runs) < 0.05
    verdict = promoted.row("select * from verdicts where arm = 'alone:vanishing'")
    assert verdict["retention_low"] < verdict["retention"] < verdict["retention_high"] < 0


def test_a_loss_is_at_least_so_large_where_it_was_not_run_beyond_t(promoted: Bench) -> None:
    saving = promoted.row("select * from savings where arm = 'alone:harmful' and axis = 'tokens'")
    assert (saving["bound"], saving["saving"], saving["saving_low"]) == ("at least", None, None)
    assert 1 - math.exp(0.2) < saving["saving_high"] < 0
    assert promoted.rows("select 1 from runs where arm = 'alone:harmful' and horizon > 8000") == []


def test_a_loss_has_a_number_where_the_study_pays_for_longer_runs(tmp_path: Path) -> None:
    turning = World({CONSTANT: always(0.2, -0.3)})
    for beyond, bound in ((False, "at least"), (True, "")):
        bench = Bench.make(tmp_path / f"study-{beyond}", turning, rungs=2)
        verdict = bench.promote(FINDINGS[1:2], landing_pairs=5, run_beyond=beyond)["alone:constant"]
        assert verdict.word == "reverses"
        saving = bench.row("select * from savings where arm = 'alone:constant' and axis = 'tokens' and rung = 1")
        assert saving["bound"] == bound
        longest = bench.row("select max(horizon) as longest from runs where arm = 'alone:constant'")["longest"]
        assert (longest > 16_000) == beyond
    assert saving["ln_speedup"] == pytest.approx(-0.3, abs=0.03)


def test_a_gate_stops_the_harmful_and_says_what_it_spared(promoted: Bench) -> None:
    gate = promoted.row("select * from gates where arm = 'alone:harmful'")
    assert (gate["rung"], gate["decision"]) == (0, "futile")
    above = promoted.rows("select rung, flops from runs where arm = 'alone:constant' and rung > 0 and purpose = 'pair'")
    assert gate["flops_saved"] == pytest.approx(sum(row["flops"] for row in above), rel=1.5)
    assert gate["flops_saved"] > 0
    assert promoted.rows("select 1 from runs where arm = 'alone:harmful' and rung > 0") == []
    going = promoted.rows("select flops_saved from gates where arm = 'alone:constant'")
    assert [row["flops_saved"] for row in going] == [0]


def test_the_stack_sheds_what_holds_it_back_and_lands(promoted: Bench) -> None:
    worth = {row["arm"]: row for row in promoted.rows("select * from interactions")}
    assert worth["without:harmful"]["high"] < 0
    assert json.loads(worth["without:harmful"]["detail"])["dropped"]
    # Without it the stack is worse than the baseline, by at least so much: what it adds is known to exceed a bound.
    assert worth["without:constant"]["ln_speedup"] is None
    assert 0.05 < worth["without:constant"]["low"] <= 0.16
    trimmed = promoted.row("select * from savings where arm = 'trimmed' and axis = 'tokens'")
    assert trimmed["ln_speedup"] == pytest.approx(0.15, abs=0.03)
    landing = promoted.row("select * from landings")
    assert landing["stands"]
    assert landing["pairs"] == 8
    assert landing["tokens_stack"] == math.ceil(16_000 * (1 - trimmed["saving"]) / 32) * 32
    assert "harmful" in landing["reason"]
    assert "the claim stands" in landing["reason"]


def test_landing_runs_use_seeds_that_nothing_else_has_seen(promoted: Bench) -> None:
    seeds = {
        row["landing"]: set(row["seeds"])
        for row in promoted.rows(
            "select purpose = 'landing' as landing, list(distinct seed) as seeds from runs group by 1"
        )
    }
    paired = {row["seed"] for row in promoted.rows("select seed from runs where purpose in ('pair', 'horizon')")}
    assert seeds[True].isdisjoint(paired)  # the A/A baselines belong to no pair, and are landed against too
    by_arm = promoted.rows(
        "select arm, list(seed order by seed) as seeds from runs where purpose = 'landing' group by arm"
    )
    assert {row["arm"] for row in by_arm} == {"baseline", "trimmed"}
    aa = {row["seed"] for row in promoted.rows("select seed from runs where purpose = 'aa' and rung = 1")}
    assert set(by_arm[1]["seeds"]) == set(by_arm[0]["seeds"]) | aa


def test_power_rests_on_what_pairs_and_timings_showed(promoted: Bench) -> None:
    for power in promoted.rows("select * from powers"):
        assert power["axis"] == "seconds"
        assert not power["assumed"]
        assert 0 <= power["correlation"] <= 0.95
        assert power["s_time"] == pytest.approx(0.002, rel=0.7)
        assert power["smallest_saving"] < 0.1


def test_a_claim_that_holds_at_full_length_alone_falls(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({CONSTANT: lambda rung, share: 0.3 if share >= 1 else 0.0}), rungs=2)
    bench.promote(FINDINGS[1:2], landing_pairs=5)
    landing = bench.row("select * from landings")
    assert landing["stands"] is False
    assert landing["loss_difference_high_95"] > landing["margin"]
    assert "the claim falls" in landing["reason"]


@pytest.mark.parametrize(
    ("own", "baseline", "word"),
    [(10.0, 10.0, "invalid"), (7.0, 10.0, "transfers"), (None, 10.0, "transfers"), (0.9, 0.9, "transfers")],
)
def test_a_timing_that_flatters_an_arm_of_a_model_against_its_own_runs_does_not_count(
    tmp_path: Path, own: float | None, baseline: float, word: str
) -> None:
    def seconds(knobs: Mapping[str, float]) -> float | None:
        return own if knobs else baseline

    half = World(GAINS, seconds=seconds, timed=lambda knobs: math.log(0.5))
    bench = Bench.make(tmp_path / "study", half, rungs=2)
    verdict = bench.promote(FINDINGS[1:2], landing_pairs=5, trusted=False)["alone:constant"]
    assert verdict.word == word
    said = "at rung r0 its timing does not hold: timed against the baseline a step takes 0.50 times as long, and in its"
    assert (f"{said} own runs 1.00 times" in verdict.reason) == (word == "invalid")


def test_whatever_diverges_is_said_so(tmp_path: Path) -> None:
    def diverges(spec: RunSpec, knobs: Mapping[str, float]) -> bool:
        alone_at_top = list(knobs) == ["beta1"] and spec.rung_index == 1
        return alone_at_top or (spec.purpose == "landing" and bool(knobs) and spec.seed % 2 == 0)

    bench = Bench.make(tmp_path / "study", World(GAINS, sigma=0.001, diverges=diverges), rungs=2)
    verdicts = bench.promote(FINDINGS[:2], landing_pairs=5)
    assert verdicts["alone:vanishing"].word == "invalid"
    assert "at rung r1 the arm diverged while the baseline finished" in verdicts["alone:vanishing"].reason
    assert (verdicts["alone:constant"].word, verdicts["stack"].word) == ("transfers", "shrinks")

    needed = bench.row("select * from interactions where arm = 'without:constant'")
    assert needed["ln_speedup"] is None
    assert "The stack needs this member" in needed["detail"]

    landing = bench.row("select * from landings")
    assert landing["stands"] is False
    assert landing["loss_difference"] is None
    assert "2 of its 5 runs did not finish while the baseline did: the claim falls" in landing["reason"]


OFF: Callable[[RunSpec], float] = lambda spec: 0.1 * (spec.rung_index == 1 and spec.purpose == "aa" and spec.seed % 2)  # noqa: E731


def test_a_frozen_rung_judges_nobody_and_ends_the_climb(tmp_path: Path) -> None:
    why = "the A/A check froze rung r1: the baseline differs from itself there (lnS"
    bench = Bench.make(tmp_path / "study", World(GAINS, shift=OFF))
    verdicts = bench.promote(FINDINGS, landing_pairs=5)
    for arm in ("stack", "alone:constant", "alone:vanishing"):
        assert verdicts[arm].word == "invalid"
        assert why in verdicts[arm].reason
    assert verdicts["alone:harmful"].word == "harmful", "what was judged below stays judged"
    assert bench.row("select max(rung) as top from runs")["top"] == 1
    assert bench.row("select max(rung) as top from savings where saving is not null")["top"] == 0
    assert [row["frozen"] for row in bench.rows("select frozen from aa order by rung")] == [False, True]
    landing = bench.row("select * from landings")
    assert landing["stands"] is None
    assert why in landing["reason"]
    assert bench.rows("select 1 from interactions") == []
    assert bench.row("select * from gates where arm = 'stack' and rung = 1")["decision"] == "stop"


def test_without_a_slope_nothing_is_judged_and_no_number_is_made_up(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World(GAINS, kappas=(-0.1, 0.2)), rungs=2)
    verdicts = bench.promote(FINDINGS, landing_pairs=5)
    assert {verdict.word for verdict in verdicts.values()} == {"invalid"}
    said = bench.rows(
        "select reason from verdicts union all select reason from gates union all select reason from landings"
    )
    assert len(said) == 9
    for row in said:
        assert "at rung r0 the baseline's finished loss does not fall with tokens" in row["reason"]
        assert "nan" not in row["reason"].split()


def test_what_fewer_pairs_said_of_a_rung_that_then_freezes_is_withdrawn(tmp_path: Path) -> None:
    # The first two baselines of rung 0 are as the A/A runs; the next ones show how little noise there really is.
    def shift(spec: RunSpec) -> float:
        if spec.purpose == "aa":
            return 0.05 * (spec.seed % 2)
        return 0.05 * (spec.purpose == "pair" and spec.seed == 10_001)

    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.0)}, sigma=0.01, shift=shift), rungs=2)
    verdicts = bench.promote(FINDINGS[1:2], pairs=[2, 32], smallest_saving=0.01, landing_pairs=5)
    assert verdicts["alone:constant"].word == "invalid"
    recorded = bench.row("select count(*) as n from record_saving where arm = 'alone:constant' and saving is not null")
    assert recorded["n"] == 3, "the rung was measured before it froze"
    assert bench.rows("select 1 from savings where saving is not null") == []


def test_a_gate_in_doubt_buys_pairs(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.0), VANISHING: always(0.5)}, sigma=0.01), rungs=2)
    bench.promote(FINDINGS[:2], pairs=[2, 4, 8], smallest_saving=0.01, landing_pairs=5)
    doubtful = bench.row("select * from savings where arm = 'alone:constant' and rung = 0 and axis = 'seconds'")
    clear = bench.row("select * from savings where arm = 'alone:vanishing' and rung = 0 and axis = 'seconds'")
    assert (doubtful["pairs"], clear["pairs"]) == (8, 8)
    runs = "select count(*) as n from runs where rung = 0 and purpose = 'pair' and arm = $arm and horizon = 8000"
    assert bench.row(runs, arm="alone:vanishing")["n"] == 2, "two pairs at T tell where to look for the crossing"
    assert bench.row(runs, arm="alone:constant")["n"] == 8
    assert bench.row(runs, arm="baseline")["n"] == 8
    gate = bench.row("select * from gates where arm = 'alone:constant'")
    assert gate["decision"] in ("futile", "inconclusive")
    assert gate["flops_saved"] > 0
    assert bench.row("select pairs from powers where rung = 0")["pairs"] == 8


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    worth = {knob: always(0.06) for knob in KNOBS[:8]} | {KNOBS[8]: always(-0.15), KNOBS[9]: always(0.1, 0.05)}
    bench = Bench.make(tmp_path_factory.mktemp("crowd") / "study", World(worth), rungs=2)
    bench.promote([finding(f"f{k}", *knob) for k, knob in enumerate(KNOBS)], landing_pairs=5)
    return bench


def test_more_than_eight_findings_are_sorted_by_a_plan(crowd: Bench) -> None:
    found = {row["arm"]: row for row in crowd.rows("select * from interactions where arm like 'plan:%'")}
    assert len(found) == 10
    for k in range(8):
        assert found[f"plan:f{k}"]["ln_speedup"] == pytest.approx(0.06, abs=0.03)
    assert found["plan:f8"]["high"] < 0
    assert json.loads(found["plan:f8"]["detail"])["dropped"]
    rows = crowd.row(
        "select count(distinct seed) as seeds, count(*) as runs, count(*) filter (arm = 'baseline') as baselines "
        "from runs where purpose = 'plan'"
    )
    assert rows == {"seeds": 12, "runs": 24, "baselines": 12}


def test_only_survivors_of_the_plan_are_left_out_in_turn(crowd: Bench) -> None:
    left = {row["arm"] for row in crowd.rows("select arm from interactions where arm like 'without:%'")}
    assert "without:f8" not in left
    assert {f"without:f{k}" for k in range(8)} <= left
    assert crowd.row("select reason, stands from landings")["stands"]
    trimmed = crowd.row("select ln_speedup from savings where arm = 'trimmed' and axis = 'tokens'")
    assert trimmed["ln_speedup"] == pytest.approx(0.53, abs=0.06)


def test_a_stack_that_adds_up_has_no_interaction(crowd: Bench) -> None:
    stack = crowd.row("select * from interactions where arm = 'stack'")
    assert stack["low"] < 0 < stack["high"]
    assert json.loads(stack["detail"])["rows"] == 12


def test_findings_that_do_not_fit_are_said_so(tmp_path: Path) -> None:
    first = finding("first", "beta1", 0.85)
    onto = finding("onto", "beta1", 0.9, base=first.recipe)
    rival = finding("rival", "weight_decay", 0.3)
    gains = {
        ("beta1", 0.85): always(0.2),
        ("beta1", 0.9): always(0.3),
        CONSTANT: always(0.1),
        ("weight_decay", 0.3): always(0.1),
    }
    bench = Bench.make(tmp_path / "study", World(gains, sigma=0.001), rungs=2)
    verdicts = bench.promote([first, onto, finding("constant", *CONSTANT), rival], landing_pairs=5)
    assert "conflicts with stronger findings" in verdicts["alone:rival"].reason
    assert verdicts["alone:rival"].word == "transfers"
    assert "rival" in bench.row("select reason from landings")["reason"]
    within = bench.row("select * from verdicts where arm = 'alone:onto'")
    assert within["verdict"] == "inconclusive"
    assert "does not apply to the baseline alone" in within["reason"]
    assert "Within the stack it adds" in within["reason"]
    worth = {row["arm"]: row for row in bench.rows("select * from interactions")}
    assert worth["without:onto"]["ln_speedup"] == pytest.approx(0.1, abs=0.03)
    assert json.loads(worth["without:first"]["detail"])["also_left_out"] == ["onto"]
    assert worth["without:first"]["ln_speedup"] == pytest.approx(0.3, abs=0.03)


def left_behind(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    kinds = {
        "verdicts": "arm",
        "savings": "arm, rung, axis",
        "gates": "arm, rung",
        "landings": "arm",
        "interactions": "arm",
    }
    return {
        view: bench.rows(f"select * exclude (written_at) from {view} order by {key}") for view, key in kinds.items()
    }


def test_a_promotion_killed_again_and_again_comes_to_the_same_end(promoted: Bench, tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World(GAINS), rungs=2)
    kills = 0
    while True:
        try:
            bench.promote(FINDINGS, landing_pairs=8, seed=2, jobs_left=70)
            break
        except KilledError:
            kills += 1
    assert kills >= 1
    assert left_behind(bench) == left_behind(promoted)
    for table, ended in (("record_run", "status = 'finished'"), ("record_timing", "true")):
        made = bench.row(f"select count(*) as lines, count(distinct run_id) as runs from {table} where {ended}")
        assert made["lines"] == made["runs"], "nothing was made twice"


def test_without_findings_the_ladder_is_measured_all_the_same(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({}), rungs=2)
    assert bench.promote([]) == {}
    assert bench.row("select count(*) as n from slopes")["n"] == 2
    assert bench.row("select assumed, correlation from powers where rung = 0") == {"assumed": True, "correlation": 0.5}
    assert BASELINE.knobs == {}


def test_what_is_asked_for_again_is_measured_on_fresh_seeds_and_old_rows_stay(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.15)}), rungs=2)

    def made(again: Again | None) -> tuple[dict[int, set[str]], set[str]]:
        """Runs by rung, and timing blocks, that are in the store after a promotion."""
        bench.promote(FINDINGS[1:2], landing_pairs=5, again=again)
        runs = {rung: {row["run_id"] for row in bench.rows("select run_id from runs where rung = $r", r=rung)}
                for rung in (0, 1)}  # fmt: skip
        return runs, {row["run_id"] for row in bench.rows("select run_id from timings")}

    runs, timings = made(None)
    assert made(None) == (runs, timings), "nothing was asked for"
    same, timed_again = made(Again(timing=1))
    assert same == runs
    assert timings < timed_again
    new_top, _ = made(Again(timing=1, rungs={1: 1}))
    assert new_top[0] == runs[0]
    assert runs[1] < new_top[1]
    new_arm, _ = made(Again(timing=1, rungs={1: 1}, arms={"alone:constant": 1}))
    assert new_top[0] < new_arm[0]
    assert bench.row("select verdict from verdicts where arm = 'alone:constant'")["verdict"] == "transfers"


def test_the_stack_is_measured_again_together_with_what_is_left_of_it(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.15), VANISHING: always(0.2)}), rungs=2)
    bench.promote(FINDINGS[:2], landing_pairs=5)
    bench.promote(FINDINGS[:2], landing_pairs=5, again=Again(arms={"stack": 1}))
    worth = bench.rows("select ln_speedup from interactions where arm like 'without:%' order by ln_speedup")
    assert [row["ln_speedup"] for row in worth] == pytest.approx([0.15, 0.2], abs=0.03)


def test_an_arm_that_fails_only_when_it_is_shortened_is_judged_by_its_other_horizons(tmp_path: Path) -> None:
    def diverges(spec: RunSpec, knobs: Mapping[str, float]) -> bool:
        return bool(knobs) and spec.horizon < 0.9 * 8_000 * (spec.rung_index + 1)

    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.15)}, sigma=0.001, diverges=diverges), rungs=2)
    verdict = bench.promote(FINDINGS[1:2], landing_pairs=5)["alone:constant"]
    assert verdict.word in ("transfers", "gains")
    saving = bench.row("select * from savings where arm = 'alone:constant' and rung = 1 and axis = 'tokens'")
    assert saving["saving_low"] < 1 - math.exp(-0.15) < saving["saving_high"]


@pytest.mark.parametrize("steps", [3, 4, 5])
def test_an_arm_that_fails_when_shortened_ends_whatever_the_steps(tmp_path: Path, steps: int) -> None:
    # Of so few steps half of a shortening is the shortening itself again.
    def diverges(spec: RunSpec, knobs: Mapping[str, float]) -> bool:
        return bool(knobs) and spec.horizon < spec.setting.ladder.rungs[spec.rung_index].tokens

    noisy = World({CONSTANT: always(0.3)}, sigma=0.05, correlation=0.0, diverges=diverges)
    bench = Bench.make(tmp_path / "study", noisy, rungs=2, tokens=32 * steps)
    bench.promote(FINDINGS[1:2], pairs=(2, 4, 8), axis="tokens", landing_pairs=5)
    made = bench.rows("select distinct horizon from runs where arm = 'alone:constant' and status = 'finished'")
    assert {row["horizon"] for row in made} <= {32 * steps, 64 * steps}
    pairs = bench.rows("select pairs from savings where arm = 'alone:constant' and axis = 'tokens' order by rung")
    assert pairs[-1]["pairs"] == 8


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_an_arm_that_fails_on_one_seed_is_invalid_whichever_that_is(tmp_path: Path, seed: int) -> None:
    def diverges(spec: RunSpec, knobs: Mapping[str, float]) -> bool:
        return bool(knobs) and spec.rung_index == 1 and spec.purpose == "pair" and spec.seed % 10_000 == seed + 1

    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(2.0, 0.7)}, diverges=diverges), rungs=2)
    verdict = bench.promote(FINDINGS[1:2], pairs=(2, 4, 8), axis="tokens", landing_pairs=5)["alone:constant"]
    assert verdict.word == "invalid"
    assert "the arm diverged while the baseline finished" in verdict.reason


def test_an_arm_that_fails_beyond_t_keeps_what_it_did_at_t(tmp_path: Path) -> None:
    def diverges(spec: RunSpec, knobs: Mapping[str, float]) -> bool:
        return bool(knobs) and spec.horizon > spec.setting.ladder.rungs[spec.rung_index].tokens

    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.3, -0.3)}, diverges=diverges), rungs=2)
    verdict = bench.promote(FINDINGS[1:2], run_beyond=True, axis="tokens", landing_pairs=5)["alone:constant"]
    assert verdict.word == "reverses"


@pytest.mark.parametrize("pairs", [[8, 2], [2, 2], [2, 500]])
def test_numbers_of_pairs_rise_and_have_seeds(pairs: list[int]) -> None:
    with pytest.raises(InputError, match="pairs"):
        TransferSettings.read({"pairs": pairs})


def test_an_arm_that_went_on_is_not_stopped_by_the_luck_of_measuring_again(tmp_path: Path) -> None:
    # At rung 0 the second timing shows that it takes twice as long; at the top, where it was measured, it gains.
    slow = [False]

    def timed(knobs: Mapping[str, float]) -> float:
        return math.log(1.5) if slow[0] and knobs else 0.0

    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.15, 0.6)}, timed=timed), rungs=2)
    assert bench.promote(FINDINGS[1:2], landing_pairs=5)["alone:constant"].word == "grows"
    slow[0] = True
    again = bench.promote(FINDINGS[1:2], landing_pairs=5, again=Again(timing=1))["alone:constant"]
    assert again.word != "inconclusive"
    gate = bench.row("select decision, reason from gates where arm = 'alone:constant' and rung = 0")
    assert (gate["decision"], "before it was measured again" in gate["reason"]) == ("go", True)


def test_what_was_asked_again_and_stopped_is_continued_by_the_same_call(tmp_path: Path) -> None:
    bench = Bench.make(tmp_path / "study", World({CONSTANT: always(0.15)}), rungs=2)
    bench.promote(FINDINGS[1:2], landing_pairs=5)
    with bench.study.lock(), bench.study.writer() as writer:
        writer.append("fact", name=SEARCH_DONE, value="true")
    store = Store(bench.study.path)
    store.ingest()
    counts = []
    for wanted in (["timing"], ["timing"], ["arm constant"], ["timing", "arm constant"]):
        measure_again(bench.study, wanted)
        again = known_again(store)
        counts.append((again.timing, again.of_arm("alone:constant")))
    assert counts == [(1, 0), (1, 0), (1, 1), (2, 2)]
