"""Edits apply exactly or not at all, and stack where they do not meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import BASELINE, patched

from scaling.edits import Edit, EditError, MergeConflictError, Recipe, Replacement, merge, merge_all, unified_diff
from scaling.loading import load

SOURCE = "".join(f"line {number} = {number}\n" for number in range(30))
BASE = Recipe(SOURCE, {"rate": 0.1})

names = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
values = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)


def changed(*lines: int, word: str = "new", **knobs: float) -> Recipe:
    """The base with lines changed, and knobs."""
    edit = Edit(tuple(Replacement(f"line {k} =", f"{word} {k} =") for k in lines), knobs)
    return edit.apply(BASE)


@given(st.dictionaries(names, values, max_size=6))
def test_a_recipe_s_text_gives_it_back(knobs: dict[str, float]) -> None:
    for source in (SOURCE, SOURCE.removesuffix("\n"), SOURCE + "\n\n"):
        again = Recipe.from_text(Recipe(source, knobs).text)
        assert (again.source, again.knobs, again.hash) == (source, knobs, Recipe(source, knobs).hash)


overlays = st.sampled_from(
    ["x = 1", "\n", "", "KNOBS['a'] = KNOBS['a'].at(1)\n", "KNOBS['b'] = KNOBS['b'].at(2.50)\n", "KNOBS['a'].at(x)\n"]
)


@given(st.lists(overlays, max_size=6).map("".join))
def test_a_source_with_lines_of_its_own_that_set_knobs_stays_as_it_is(text: str) -> None:
    assert Recipe.from_text(text).text == text


def test_knob_values_in_the_text_are_those_of_the_recipe_that_runs() -> None:
    recipe = Edit(knobs={"learning_rate": 1e-3, "weight_decay": 0.25}).apply(BASELINE)
    loaded = load(recipe.text).knobs
    assert (loaded["learning_rate"].value, loaded["weight_decay"].value) == (1e-3, 0.25)
    assert loaded["learning_rate"].rule == load(BASELINE).knobs["learning_rate"].rule
    assert loaded["beta1"] == load(BASELINE).knobs["beta1"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Edit((Replacement("line 99 =", "x"),)), r"its text 'line 99 =' is not in the recipe"),
        (Edit((Replacement("line", "x"),)), r"its text 'line' stands in the recipe 30 times, not once"),
        (Edit((Replacement("line 4 =", "line 4 ="),)), "changes nothing"),
        (Edit(knobs={"rate": 0.1}), "changes nothing"),
        (Edit(), "changes nothing"),
    ],
)
def test_an_edit_that_does_not_apply_says_why(edit: Edit, said: str) -> None:
    with pytest.raises(EditError, match=said):
        edit.apply(BASE)


def test_replacements_are_made_in_order_and_knobs_laid_over() -> None:
    edit = Edit((Replacement("line 3 =", "first"), Replacement("first", "second")), {"rate": 0.2, "decay": 1.0})
    edited = edit.apply(BASE)
    assert edited.source == SOURCE.replace("line 3 =", "second")
    assert edited.knobs == {"rate": 0.2, "decay": 1.0}
    assert edited.hash != BASE.hash
    assert edit.apply(BASE).hash == edited.hash


def test_a_patch_shows_what_an_edit_does_and_no_more() -> None:
    lines = unified_diff(BASE, changed(3, rate=0.2)).splitlines()
    assert [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        "-line 3 = 3",
        "+new 3 = 3",
        "-KNOBS['rate'] = KNOBS['rate'].at(0.1)",
        "+KNOBS['rate'] = KNOBS['rate'].at(0.2)",
    ]


far_apart = st.permutations([1, 7, 13, 19, 25]).flatmap(
    lambda lines: st.integers(1, 4).map(lambda cut: (lines[:cut], lines[cut:]))
)


@given(far_apart)
def test_changes_of_different_places_commute(places: tuple[list[int], list[int]]) -> None:
    ours, theirs = changed(*places[0], rate=0.3), changed(*places[1], decay=2.0)
    merged = merge(ours, BASE, theirs)
    assert merged == merge(theirs, BASE, ours)
    assert merged == changed(*places[0], *places[1], rate=0.3, decay=2.0)


def test_the_same_change_twice_is_one_change() -> None:
    assert merge(changed(4, rate=0.3), BASE, changed(4, rate=0.3)) == changed(4, rate=0.3)
    assert merge(BASE, BASE, changed(4)) == changed(4)
    assert merge(changed(4), BASE, BASE) == changed(4)


def test_conflicts_are_told_for_lines_and_for_knobs() -> None:
    with pytest.raises(MergeConflictError, match="change the same lines in 1 place"):
        merge(changed(4, word="mine"), BASE, changed(4, word="yours"))
    with pytest.raises(MergeConflictError, match=r"Both edits set the knob 'rate', to 0\.2 and 0\.3"):
        merge(changed(rate=0.2), BASE, changed(rate=0.3))


def test_a_stack_leaves_out_what_conflicts_with_those_before() -> None:
    edits = [changed(4), changed(10, rate=0.2), changed(4, word="late"), changed(20, rate=0.3), changed(25)]
    stack, left_out = merge_all(BASE, [(BASE, edit) for edit in edits])
    assert stack == changed(4, 10, 25, rate=0.2)
    assert set(left_out) == {2, 3}
    assert "same lines" in left_out[2]
    assert "'rate'" in left_out[3]


def test_an_edit_found_on_one_recipe_is_carried_to_another() -> None:
    tuned = Edit(knobs={"beta1": 0.9}).apply(BASELINE)
    after = patched("h = functional.gelu(h)", "h = functional.relu(h).square()", tuned)
    other = Edit(knobs={"learning_rate": 1e-3}).apply(BASELINE)
    merged = merge(other, tuned, after)
    assert merged.source == after.source
    assert merged.knobs == {"learning_rate": 1e-3}
