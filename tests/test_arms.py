from pathlib import Path

import pytest

from data.errors import ScaleproofError
from data.store import Store
from data.study import Study
from scaling.edits import Edit, Recipe, Replacement
from transfer.arms import Arms, Finding, make_arms, read_findings, read_recipe, without
from transfer.misfits import with_misfit, within_the_stack
from transfer.saving import Saving
from transfer.words import Verdict

BASE = Recipe("one = 1\n\n\n\ntwo = 2\n\n\n\nthree = 3\n\n\n\nfour = 4\n")


def finding(name: str, old: str, new: str, base: Recipe = BASE) -> Finding:
    return Finding(name, name, base, Edit((Replacement(old, new),)).apply(base))


ONE, TWO, THREE = (finding(name, f"{name} =", f"{name} = 10 +") for name in ("one", "two", "three"))
RIVAL = finding("rival", "one = 1", "one = 111")
ONTO = finding("onto", "one = 10 + 1", "one = 10 + 7", base=ONE.recipe)


def test_every_finding_alone_and_all_of_them_stacked() -> None:
    arms = make_arms(BASE, [ONE, TWO, THREE])
    assert [arm.name for arm in arms.alone] == ["alone:one", "alone:two", "alone:three"]
    assert [arm.recipe.source for arm in arms.alone] == [one.recipe.source for one in (ONE, TWO, THREE)]
    assert arms.stack is not None
    assert [line for line in arms.stack.recipe.source.splitlines() if "10 +" in line] == [
        "one = 10 + 1",
        "two = 10 + 2",
        "three = 10 + 3",
    ]
    assert (dict(arms.not_alone), dict(arms.not_stacked)) == ({}, {})


def test_one_finding_is_a_stack_of_one_and_no_finding_is_none() -> None:
    single = make_arms(BASE, [ONE])
    assert single.stack is not None
    assert single.stack.recipe.hash == ONE.recipe.hash, "the same runs serve both"
    assert make_arms(BASE, []).stack is None


def test_the_weaker_of_two_rivals_stays_out_of_the_stack_and_runs_alone() -> None:
    for strong, weak in ((ONE, RIVAL), (RIVAL, ONE)):
        arms = make_arms(BASE, [strong, TWO, weak])
        assert [one.finding_id for one in arms.members] == [strong.finding_id, "two"]
        assert list(arms.not_stacked) == [weak.finding_id]
        assert f"alone:{weak.finding_id}" in [arm.name for arm in arms.alone]
        assert arms.stack is not None
        assert arms.stack.recipe.source == make_arms(BASE, [strong, TWO]).stack.recipe.source  # type: ignore[union-attr]


def test_an_edit_of_an_edit_is_measured_in_the_stack_alone() -> None:
    arms = make_arms(BASE, [ONE, ONTO, TWO])
    assert list(arms.not_alone) == ["onto"]
    assert "alone:onto" not in [arm.name for arm in arms.alone]
    assert arms.stack is not None
    assert "one = 10 + 7" in arms.stack.recipe.source
    assert [one.finding_id for one in arms.members] == ["one", "onto", "two"]


def test_a_stack_without_a_member_loses_what_was_built_on_it() -> None:
    members = make_arms(BASE, [ONE, ONTO, TWO]).members
    recipe, fallen = without(BASE, members, ["two"])
    assert ("one = 10 + 7" in recipe.source, "two = 2" in recipe.source, fallen) == (True, True, ())
    recipe, fallen = without(BASE, members, ["one"])
    assert (recipe.source, fallen) == (TWO.recipe.source, ("onto",))
    assert without(BASE, members, ["one", "onto", "two"]) == (BASE, ())


def test_findings_are_read_strongest_first_and_no_placebo_among_them(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", {})
    with study.writer() as writer:
        for name, effect, status, placebo in (
            ("weak", 0.1, "kept", False),
            ("strong", 0.3, "kept", False),
            ("placebo", 0.9, "kept", True),
            ("gone", 0.8, "dropped", False),
            ("twin", 0.3, "kept", False),
        ):
            recipe = study.save_recipe(ONE.recipe.hash, ONE.recipe.text).stem
            writer.append(
                "trial", trial_id=name, title=name, effect=effect, status=status, placebo=placebo, recipe_hash=recipe
            )
    store = Store(study.path)
    assert [one.finding_id for one in read_findings(study, store, BASE, None)] == ["strong", "twin", "weak"]
    (first,) = read_findings(study, store, BASE, 1)
    assert (first.finding_id, first.base, first.recipe.text) == ("strong", BASE, ONE.recipe.text)


def test_a_recipe_that_is_gone_is_named(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study", {})
    with pytest.raises(ScaleproofError, match=r"abc\.py is missing"):
        read_recipe(study, "abc")


def misfits(**reasons: dict[str, str]) -> Arms:
    return Arms([], None, [], reasons.get("not_alone", {}), reasons.get("not_stacked", {}))


@pytest.mark.parametrize(
    ("ln_speedup", "word", "said"),
    [
        (0.2, "inconclusive", "adds 18.1% (90 %:"),
        (-0.2, "harmful", "a loss"),
        (0.0, "vanishes", "less than 3.0% either way"),
    ],
)
def test_a_finding_that_cannot_run_alone_is_judged_by_what_it_adds(ln_speedup: float, word: str, said: str) -> None:
    arms = misfits(not_alone={"onto": "It does not apply to the baseline alone: it does not."})
    verdict = within_the_stack("onto", arms, Saving("tokens", ln_speedup, 0.005, 8, 4), 0.03)
    assert verdict.word == word
    assert said in verdict.reason
    assert verdict.reason.startswith("It does not apply to the baseline alone")


def test_what_was_never_measured_says_so() -> None:
    arms = misfits(not_alone={"onto": "Not alone.", "lost": "Not alone."}, not_stacked={"lost": "Not stacked."})
    unmeasured = within_the_stack("onto", arms, None, 0.03)
    assert (unmeasured.word, unmeasured.reason) == (
        "inconclusive",
        "Inconclusive: Not alone. It was not measured within the stack.",
    )
    lost = within_the_stack("lost", arms, None, 0.03)
    assert (lost.word, lost.reason) == ("invalid", "Invalid: Not alone. Not stacked.")


def test_a_verdict_says_that_its_finding_is_not_in_the_stack() -> None:
    verdict = Verdict("transfers", False, "It saves.", 0.0, 0.0, 0.0, 0.01)
    arms = misfits(not_stacked={"rival": "It conflicts with stronger findings."})
    assert with_misfit(verdict, "rival", arms).reason == "It saves. It conflicts with stronger findings."
    assert with_misfit(verdict, "one", arms) is verdict
    assert with_misfit(verdict, None, arms) is verdict
