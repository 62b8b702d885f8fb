"""What tokens cost is a dated table, and a file of the user's adds to it."""

from pathlib import Path

import pytest

from data.errors import InputError
from search.claude.prices import Prices, Usage

PRICES = Prices.read()
OWN = """
as_of = 2027-01-01
source = "our contract"
batch_factor = 0.4

[models."gateway/claude*"]
input = 1
cache_write_5m = 1.25
cache_write_1h = 2
cache_read = 0.1
output = 4

[models.claude-opus-5-5]
input = 3
cache_write_5m = 3.75
cache_write_1h = 6
cache_read = 0.3
output = 15
"""


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(input=1_000_000, cache_read=2_000_000, cache_write_5m=100_000, cache_write_1h=200_000, output=10_000)
    assert PRICES.of("claude-opus-5").cost(usage) == pytest.approx(5 + 2 * 0.5 + 0.1 * 6.25 + 0.2 * 10 + 0.01 * 25)


def test_a_long_prompt_costs_more_throughout_cached_tokens_included() -> None:
    price = PRICES.of("claude-haiku-5-5")
    assert price.cost(Usage(input=10_000, cache_read=90_000, output=1000)) == pytest.approx(0.0024)
    assert price.cost(Usage(input=10_001, cache_read=90_000, output=1000)) == pytest.approx(0.0120005)
    assert price.most(100_001, 0) == pytest.approx(100_001 * 1.0 / 1e6)


@pytest.mark.parametrize("name", sorted(PRICES.models))
def test_no_request_costs_more_than_its_bound(name: str) -> None:
    price = PRICES.of(name)
    for tokens in (1000, 100_000, 300_000):
        bound = price.most(tokens, 500)
        for kind in ("input", "cache_read", "cache_write_5m", "cache_write_1h"):
            assert price.cost(Usage(**{kind: tokens}, output=500)) <= bound


def test_a_dated_release_costs_what_its_name_says_and_a_successor_is_not_guessed() -> None:
    assert PRICES.of("claude-opus-4-5-20251101") == PRICES.of("claude-opus-4-5")
    assert PRICES.find("claude-opus-5-7") is None
    with pytest.raises(InputError, match=r"price of claude-opus-5-7 is not known \(table of 2026-.*\[models.'claude"):
        PRICES.of("claude-opus-5-7")


def test_a_file_of_the_users_adds_and_replaces(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(OWN)
    mine = Prices.read(file)
    assert mine.of("gateway/claude-whatever").output == 4
    assert mine.of("claude-opus-5-5").input == 3
    assert mine.of("claude-sonnet-5-5") == PRICES.of("claude-sonnet-5-5")
    assert Prices.read("prices.toml", folder=tmp_path) == Prices.read(str(file), folder=tmp_path / "study") == mine
    assert (str(mine.as_of), mine.source, mine.batch_factor) == ("2027-01-01", "our contract", 0.4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[models", "not valid TOML"),
        (OWN.replace("input = 3", "input = -3"), "models.claude-opus-5-5.input: input should be greater"),
        (OWN.replace("cache_read = 0.3", ""), "models.claude-opus-5-5.cache_read: field required"),
        (OWN.replace("output = 15", "outptu = 15"), "outptu: extra inputs"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=words):
        Prices.read(file)
    with pytest.raises(InputError, match="Cannot read the prices"):
        Prices.read(tmp_path / "nowhere.toml")
