import tomllib
from typing import Any

import pytest

from data.errors import InputError
from scaling.edits import Edit
from search.proposals import Proposal
from search.settings import SearchSettings


def test_a_settings_table_is_read() -> None:
    table = tomllib.loads('trials = 40\nconfirm_looks = [2, 4]\nonly = ["swiglu"]\nseed = 3')
    settings = SearchSettings.read(table)
    assert (settings.trials, settings.confirm_looks, settings.only, settings.seed) == (40, (2, 4), ["swiglu"], 3)
    assert (settings.proposer, settings.placebo_every, settings.calibration_seeds) == ("catalogue", 20, 8)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"trials": 4, "placebos_every": 3}, "'placebos_every' is not a setting .did you mean 'placebo_every'"),
        ({"trials": 4, "zzz": 3}, "'zzz' is not a setting .known are proposer, trials"),
        ({}, "'trials' is missing"),
        ({"trials": "many"}, "'trials'"),
        ({"trials": 0}, "'trials'"),
        ({"trials": 4, "confirm_looks": [2, 3]}, "'confirm_looks': takes 1, 2, 4, 8 and 12"),
        ({"trials": 4, "confirm_looks": [4, 2]}, "rising order"),
        ({"trials": 4, "confirm_looks": []}, "'confirm_looks'"),
        ({"trials": 4, "proposer": "oracle"}, "'catalogue', 'optuna', 'claude' or 'mixed'"),
    ],
)
def test_what_is_wrong_is_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchSettings.read(table)


@pytest.mark.parametrize("slug", ["SwiGLU", "swi glu", "-a", "a--b", ""])
def test_a_slug_that_is_no_name_is_refused(slug: str) -> None:
    with pytest.raises(ValueError, match="slug"):
        Proposal("t", slug, "h", "c", "s", "constant", "unknown", Edit())
