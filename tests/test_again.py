"""What a user asks to be measured anew: read, counted, kept, and refused with a word on what there is."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from transfer.again import Again

RUNGS = ("small", "middle", "large")
ARMS = ("alone:muon", "alone:rotary", "stack")


def asked(*wanted: str, before: Again | None = None) -> Again:
    return (before or Again()).plus(wanted, rungs=RUNGS, arms=ARMS)


def test_timing_rungs_and_arms_are_read() -> None:
    again = asked("timing", "rung 2", "arm stack", "arm muon")
    assert again.timing == 1
    assert [again.of_rung(index) for index in range(3)] == [0, 0, 1]
    assert [again.of_arm(name) for name in ARMS] == [1, 0, 1]


def test_an_arm_goes_by_its_own_name_or_its_findings() -> None:
    assert asked("arm muon") == asked("arm alone:muon")
    assert asked(" arm muon ") == asked("arm muon")  # blanks around it do not matter


def test_counts_add_up_and_what_was_asked_before_stays() -> None:
    before = asked("timing", "rung 0", "arm muon")
    after = asked("rung 0", "rung 0", "rung 1", "arm muon", before=before)
    assert (after.timing, after.of_rung(0), after.of_rung(1), after.of_arm("alone:muon")) == (1, 3, 1, 2)
    assert (before.of_rung(0), before.of_rung(1), before.of_arm("alone:muon")) == (1, 0, 1)
    assert asked(before=before) == before


@pytest.mark.parametrize(
    "wrong",
    ["rung 3", "rung -1", "rung", "rung one", "rung 1 2", "arm nobody", "arm", "arms stack", "Timing", "", "all"],
)
def test_what_cannot_be_measured_is_named_with_what_can(wrong: str) -> None:
    with pytest.raises(InputError) as refused:
        asked("timing", wrong)
    said = str(refused.value)
    assert f"Cannot measure {wrong!r} again" in said
    assert re.search(r"timing, a rung from 'rung 0' to 'rung 2'", said)
    assert "'arm alone:muon', 'arm alone:rotary', 'arm stack'" in said


def test_where_nothing_was_promoted_yet_that_is_said() -> None:
    with pytest.raises(InputError, match="no arms yet"):
        Again().plus(["arm muon"], rungs=RUNGS, arms=())


WANTED = st.lists(st.sampled_from(["timing", "rung 0", "rung 1", "rung 2", "arm stack", "arm muon", "arm rotary"]))


@given(WANTED, WANTED)
def test_what_is_kept_is_read_back(first: list[str], second: list[str]) -> None:
    again = asked(*first)
    read = Again.of_dict(json.loads(json.dumps(again.as_dict())))
    assert read == again
    assert asked(*second, before=read) == asked(*first, *second)
    assert any(again.as_dict().values()) == bool(first)


@pytest.mark.parametrize("kept", [None, {}, [], "timing"])
def test_where_nothing_is_kept_nothing_was_asked(kept: object) -> None:
    assert Again.of_dict(kept) == Again()
