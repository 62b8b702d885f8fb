"""The examination of a model that may cheat: honest ones pass with the harness's own number, cheats never."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from tiny import BASELINE, rung
from torch import Tensor, nn

from scaling.evaluation import mean_loss
from scaling.loading import load
from scaling.training import FailedError
from search.sandbox.agreement import gained
from search.sandbox.probes import Ask, Asked, Examination

SIZES = rung()
VOCABULARY = 29
SEQUENCES = torch.randint(VOCABULARY, (13, SIZES.context + 1), generator=torch.Generator().manual_seed(5))
BATCH = 4
TIMES = 25
"""Chance chooses the copies; what must never happen must not happen so many times."""

Answer = Callable[[Tensor], Tensor]


class Cheating(nn.Module):
    """An honest model's logits, changed by what another function makes of the ids."""

    def __init__(self, change: Answer) -> None:
        super().__init__()
        torch.manual_seed(3)
        recipe = load(BASELINE)
        self.honest = recipe.build_model(SIZES, recipe.resolve(SIZES, SIZES), VOCABULARY)
        self.change = change

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.honest(ids)
        return logits + self.change(ids)[..., None] * torch.arange(VOCABULARY)


def examined(make: Callable[[], nn.Module], sequences: Tensor = SEQUENCES, rows: int = 2) -> float:
    """Give the logits in groups of rows, as they cross the border; two models of the kind share nothing."""

    def inmate() -> Ask:
        model = make().eval()

        def ask(ids: Tensor) -> Iterator[Tensor]:
            with torch.inference_mode():
                yield from torch.split(model(ids), rows)

        return ask

    return Examination(Asked(inmate(), inmate()), sequences, BATCH, mixed=False, deep=False).evaluated().mean


def nothing(ids: Tensor) -> Tensor:
    return torch.zeros(ids.shape)


@pytest.mark.parametrize("rows", [1, 3, 99])
def test_an_honest_model_passes_with_the_same_bits(rows: int) -> None:
    wanted = mean_loss(Cheating(nothing), SEQUENCES, BATCH, VOCABULARY)
    assert {examined(lambda: Cheating(nothing), rows=rows) for _ in range(TIMES)} == {wanted}


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_any_number_of_sequences_will_do(count: int) -> None:
    sequences = SEQUENCES.repeat(4, 1)[:count]
    assert examined(lambda: Cheating(nothing), sequences) == mean_loss(Cheating(nothing), sequences, BATCH, VOCABULARY)


def seen_before() -> Answer:
    """Knows every beginning that it was shown, and what came after it."""
    known: dict[tuple[int, ...], int] = {}

    def change(ids: Tensor) -> Tensor:
        knows = torch.zeros(ids.shape)
        for row, sequence in enumerate(ids.tolist()):
            for time in range(len(sequence)):
                knows[row, time] = 0.1 * known.get(tuple(sequence[: time + 1]), 0)
        for sequence in ids.tolist():
            for time in range(len(sequence) - 1):
                known[tuple(sequence[: time + 1])] = sequence[time + 1]
        return knows

    return change


def by_heart() -> Answer:
    """Looks ahead, and says of every beginning for ever what it said first."""
    said: dict[tuple[int, ...], float] = {}

    def change(ids: Tensor) -> Tensor:
        ahead = next_token(ids).tolist()
        starts = [[tuple(row[: time + 1]) for time in range(len(row))] for row in ids.tolist()]
        return torch.tensor(
            [[said.setdefault(*one) for one in zip(*rows, strict=True)] for rows in zip(starts, ahead, strict=True)]
        )

    return change


def counted() -> Answer:
    calls = iter(range(10**6))
    return lambda ids: torch.full(ids.shape, 0.01 * next(calls))


def noisy(ids: Tensor) -> Tensor:
    return 0.01 * torch.rand(ids.shape)


def next_token(ids: Tensor) -> Tensor:
    return 1e-3 * shifted(ids, 1)


def shifted(ids: Tensor, by: int) -> Tensor:
    ahead = torch.zeros(ids.shape)
    ahead[:, :-by] = ids[:, by:].float()
    return ahead


CHEATS: dict[str, tuple[Callable[[], Answer], str]] = {
    "one token ahead": (lambda: next_token, "looks ahead"),
    "five tokens ahead": (lambda: lambda ids: 1e-2 * shifted(ids, 5), "looks ahead"),
    "the mean over time": (
        lambda: lambda ids: 0.01 * ids.float().mean(1, keepdim=True).expand(ids.shape),
        "looks ahead",
    ),
    "the batch's mean": (
        lambda: lambda ids: 0.01 * ids.float().mean(0, keepdim=True).expand(ids.shape),
        "looks sideways",
    ),
    "its neighbour": (lambda: lambda ids: 0.01 * ids.float().roll(1, 0), "looks sideways"),
    "its place in the batch": (
        lambda: lambda ids: 0.01 * torch.arange(len(ids))[:, None].expand(ids.shape).float(),
        "looks sideways",
    ),
    "what it was shown": (seen_before, "remembers"),
    "what it once said": (by_heart, "remembers"),
    "its calls": (counted, "remembers"),
    "chance": (lambda: noisy, "remembers"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_is_never_missed_and_rightly_named(cheat: str) -> None:
    make, name = CHEATS[cheat]
    for _ in range(TIMES):
        with pytest.raises(FailedError, match=f"^rejected: The recipe's model {name}"):
            examined(lambda: Cheating(make()))


TEXT = torch.randint(VOCABULARY, (128, 17), generator=torch.Generator().manual_seed(6))


def bigram(gain: float, positions: Answer = lambda ids: torch.ones(ids.shape)) -> Answer:
    """Log-probabilities of a known size that hold the next token for `gain` nats likelier where `positions` says 1."""
    table = (2 * torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(7))).log_softmax(-1)

    def answer(ids: Tensor) -> Tensor:
        said = table[ids]
        ahead = (gain * positions(ids))[:, :-1, None]
        said[:, :-1].scatter_add_(-1, ids[:, 1:, None], ahead.float())
        return said

    return answer


def in_bfloat16(answer: Answer) -> Answer:
    """As where every call rounds in its own way."""
    return lambda ids: (answer(ids) * (1 + torch.randn(*ids.shape, VOCABULARY) * 2**-9)).bfloat16().float()


def judged(answer: Answer, *, mixed: bool, deep: bool) -> str:
    """What the examination of 128 sequences in batches of 16 says."""
    asked = Asked(lambda ids: iter([answer(ids)]), lambda ids: iter([answer(ids)]))
    try:
        Examination(asked, TEXT, 16, mixed=mixed, deep=deep).evaluated()
    except FailedError as error:
        return str(error)
    return ""


def test_rounding_in_bfloat16_is_no_look_ahead() -> None:
    honest = in_bfloat16(bigram(0.0))
    assert {judged(honest, mixed=True, deep=deep) for deep in (True, True, *[False] * 10)} == {""}


def test_a_gain_far_below_the_rounding_of_bfloat16_is_seen_where_findings_are_judged() -> None:
    for _ in range(3):
        assert "looks ahead or sideways" in judged(in_bfloat16(bigram(0.02)), mixed=True, deep=True)


def test_a_gain_below_what_two_answers_may_differ_by_is_seen() -> None:
    for _ in range(TIMES // 5):
        assert "looks ahead or sideways" in judged(bigram(2.5e-4), mixed=False, deep=False)


@pytest.mark.parametrize("scale", [1e-7, 0.02, 1.0])
@pytest.mark.parametrize("shape", ["normal", "heavy", "mostly nothing"])
def test_differences_as_likely_up_as_down_are_no_gain(scale: float, shape: str) -> None:
    draw = torch.Generator().manual_seed(8)
    noise = torch.randn(5000, 64, generator=draw)
    if shape == "heavy":
        noise /= torch.randn(5000, 64, generator=draw)
    if shape == "mostly nothing":
        noise *= torch.rand(5000, 64, generator=draw) < 0.5
    assert not any(gained(row) for row in (scale * noise).tolist())
    assert all(gained(row) for row in (0.02 + 0.02 * torch.randn(100, 256, generator=draw)).tolist())


def rarely(ids: Tensor) -> Tensor:
    """One position in 24, by what is read there."""
    return (((ids * VOCABULARY + ids.roll(1, 1)) * 7919) % 10007 < 10007 / 24).float()


def test_a_rare_look_ahead_is_met_where_findings_are_judged() -> None:
    for _ in range(4):
        assert "looks" in judged(bigram(3.0, rarely), mixed=False, deep=True)


def test_every_position_comes_last_before_a_cut_as_often_as_any() -> None:
    true = {tuple(row) for row in TEXT[:, :-1].tolist()}
    cuts: Counter[int] = Counter()

    def answer(ids: Tensor) -> Tensor:
        for row in (tuple(row) for row in ids.tolist() if tuple(row) not in true):
            cuts[max(next(k for k in range(16) if row[k] != one[k]) for one in true)] += 1
        return bigram(0.0)(ids)

    assert judged(answer, mixed=False, deep=True) == ""
    assert set(cuts) == set(range(1, 16))
    # Texts that begin alike make the first cuts look later than they were. Independent cuts would lie some 13 apart.
    later = [cuts[cut] for cut in range(3, 16)]
    assert max(later) - min(later) <= 8


def test_logits_that_read_nothing_are_rejected() -> None:
    class Constant(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            return torch.arange(VOCABULARY).float().expand(*ids.shape, VOCABULARY)

    with pytest.raises(FailedError, match="same logits whatever it reads"):
        examined(Constant)


def test_a_loss_that_is_not_finite_is_given_as_it_is() -> None:
    def forbidden() -> nn.Module:
        made = Cheating(nothing)
        with torch.no_grad():
            made.honest.get_parameter("norm.weight").fill_(torch.inf)
        return made

    for make in (lambda: Cheating(lambda ids: torch.full(ids.shape, torch.nan)), forbidden):
        assert not torch.tensor(examined(make)).isfinite()
