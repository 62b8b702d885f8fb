"""Diffs and replacements that a model wrote, and the one round in which it may put each right."""

import difflib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from messages_server import KEY, Reply, error, refusal, text
from researcher_desk import Desk, applies, asked_for, open_desk
from researchers import Scripted, edit, is_repair, opening, propose, sloppy
from tiny import BASELINE

from scaling.edits import Edit, EditError
from search.catalogue import CATALOGUE
from search.claude.diffs import replacements
from search.proposals import Failure


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with open_desk(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("context", [0, 3])
def test_diffs_are_applied_as_written(desk: Desk, context: int) -> None:
    mine = BASELINE.source.replace("functional.gelu(h)", "functional.relu(h).square()").replace(
        'return 1 - (1 - knobs["final_share"]) * decayed', "return 1 - decayed**2"
    )
    before, after = BASELINE.source.splitlines(keepends=True), mine.splitlines(keepends=True)
    diff = "".join(difflib.unified_diff(before, after, "a/recipe.py", "b/recipe.py", n=context))
    desk.script = Scripted(propose(edit(1, replacements=[], diff=diff)))
    (made,) = asked_for(desk.open(), 1)
    assert made.edit.apply(BASELINE).source == mine


def test_every_entry_of_the_catalogue_survives_as_a_diff() -> None:
    for entry in CATALOGUE:
        wanted = entry.edit.apply(BASELINE).source
        if wanted == BASELINE.source:
            continue  # knobs alone
        before, after = BASELINE.source.splitlines(keepends=True), wanted.splitlines(keepends=True)
        diff = "".join(difflib.unified_diff(before, after, n=0))
        assert Edit(replacements(diff, BASELINE.source)).apply(BASELINE).source == wanted, entry.slug


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        ("--- a/recipe.py\n+++ b/recipe.py\n@@ -1,1 +1,1 @@\n-no such line\n+another\n", "is not in the recipe"),
        ("make it better", "cannot be read"),
        ("@@ -1,1 +1,1 @@\n*odd\n", "neither a blank"),
    ],
)
def test_a_diff_that_does_not_fit_says_why_when_it_is_applied(desk: Desk, diff: str, said: str) -> None:
    desk.script = Scripted(propose(edit(1, replacements=[], diff=diff)))
    (made,) = asked_for(desk.open(), 1)
    with pytest.raises(EditError, match=said):
        made.edit.apply(BASELINE)


def test_repair_gets_one_round_for_the_edit_and_one_for_the_crash(desk: Desk) -> None:
    unfit = [{"old": "no such text", "new": "pass"}]
    desk.script = Scripted(propose(edit(1, replacements=unfit)), propose(edit(2)), propose(edit(3)))
    proposer = desk.open()
    (made,) = asked_for(proposer, 1)
    mended = proposer.repair(made, Failure("edit", "its text is not in the recipe"))
    assert mended is not None
    assert applies(mended)
    assert mended.slug == made.slug
    assert mended.cost_usd > made.cost_usd
    assert mended.exchange == made.exchange == "e0001"
    assert [(row["exchange"], row["slug"]) for row in desk.rows()] == [("e0001", None), ("e0001", made.slug)]
    assert is_repair(desk.asked[1])
    assert "no such text" in opening(desk.asked[1])
    assert proposer.repair(mended, Failure("preflight", "no gradient")) is None
    again = proposer.repair(mended, Failure("crash", "ValueError"))
    assert again is not None
    assert again.edit != mended.edit
    assert proposer.repair(again, Failure("crash", "ValueError")) is None
    assert len(desk.asked) == 3
    resumed = desk.open()
    assert asked_for(resumed, 1) == [made]
    assert resumed.repair(made, Failure("edit", "its text is not in the recipe")) == mended
    assert resumed.repair(mended, Failure("crash", "ValueError")) == again
    assert len(desk.asked) == 3


@pytest.mark.parametrize(
    "reply",
    [refusal(), text("It cannot work."), Reply([], "end_turn"), propose(edit(1, title="Again")), *sloppy()[2:5]],
)
def test_a_repair_that_brings_nothing_leaves_the_proposal_at_what_it_has_cost(desk: Desk, reply: Reply) -> None:
    desk.script = Scripted(propose(edit(1)), reply)
    proposer = desk.open()
    (made,) = asked_for(proposer, 1)
    left = proposer.repair(made, Failure("preflight", "no gradient"))
    assert left is not None
    assert left == replace(made, cost_usd=left.cost_usd)
    assert left.cost_usd == pytest.approx(desk.callers[-1].spent_usd)
    assert left.cost_usd > made.cost_usd
    assert proposer.account() == f"{left.cost_usd:.2f} USD spent"


def test_a_repair_that_the_service_does_not_take_leaves_the_proposal(desk: Desk) -> None:
    desk.script = Scripted(propose(edit(1)), error(400))
    proposer = desk.open()
    (made,) = asked_for(proposer, 1)
    assert proposer.repair(made, Failure("preflight", "no gradient")) is None


def test_a_repair_that_there_was_no_money_for_is_not_made_by_a_later_command_with_more(desk: Desk) -> None:
    (made,) = asked_for(desk.open(), 1)
    for max_usd in (desk.callers[-1].spent_usd + 1e-6, None):
        proposer = desk.open(max_usd=max_usd)
        assert asked_for(proposer, 1) == [made]
        assert proposer.repair(made, Failure("crash", "ValueError")) is None
    assert len(desk.asked) == 1
    row = desk.rows()[-1]
    assert (row["stop_reason"], row["error"]) == ("rejected", "no money was left to repair it")
    assert (row["exchange"], row["slug"], row["cost_usd"]) == ("e0001", made.slug, 0)
