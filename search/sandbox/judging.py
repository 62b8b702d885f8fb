"""A trained model judged from outside: built anew in two cells, it answers without knowing what for."""

from __future__ import annotations

import math

import torch

from data.tokens import TokenSet
from scaling.evaluation import Evaluated
from scaling.loading import RecipeError
from scaling.preflight import LEAK_TOLERANCE
from scaling.runs import REJECTED, RunSpec
from scaling.training import FailedError, held_out
from search.sandbox.agreement import agree, log_probabilities
from search.sandbox.feeding import Trained, answers
from search.sandbox.probes import REMEMBERS, Ask, Asked, Examination
from search.sandbox.talk import Talk

MIXED_SAME = 3e-2
"""Of the same batch in bfloat16: rounding differs only where a compiler has chosen other kernels."""
SEARCHED = "search"
"""The shard that every trial is judged on; on others findings are, and examined more deeply."""
ANOTHER = (
    "The recipe's model gives other logits when it is built anew from its weights: keep all that training changes in "
    "parameters or persistent buffers."
)


def judged(talk: Talk, copied: Talk, trained: Trained, tokens: TokenSet, spec: RunSpec) -> Evaluated:
    """The finished loss of weights that are given to two inmates, in nats per token; may be NaN.

    talk: with the inmate that is asked for true sequences. copied: with the one that is asked for copies of them.

    Raises:
        RecipeError: when the model built anew is not the one that was trained.
        FailedError: for what else the inmate does wrong; once it reads held-out text, in fixed words alone.
    """

    def asking(one: Talk) -> Ask:
        return lambda ids: answers(one, ids, tokens.vocab_size)

    for one in (talk, copied):
        one.send("weights", trained.packed)
    for one in (talk, copied):
        one.hear("ready")
    mixed = spec.setting.ladder.precision == "bf16-mixed"
    _require_same(asking(talk), trained, MIXED_SAME if mixed else LEAK_TOLERANCE)
    for one in (talk, copied):
        one.hush()
    batch_size = spec.rung.batch_size // spec.rung.devices
    asked = Asked(asking(talk), asking(copied))
    return Examination(asked, held_out(tokens, spec), batch_size, mixed=mixed, deep=spec.shard != SEARCHED).evaluated()


def _require_same(ask: Ask, trained: Trained, tolerance: float) -> None:
    """Logits that are no number, or endless, are not compared: the finished loss says so."""
    if not (trained.answer < math.inf).all():
        return
    wanted, anew = (log_probabilities(one) for one in (trained.answer, torch.cat(list(ask(trained.asked)))))
    if agree(wanted, anew, tolerance):
        return
    if not agree(anew, log_probabilities(torch.cat(list(ask(trained.asked)))), tolerance):
        raise FailedError(REJECTED + REMEMBERS)
    raise RecipeError(ANOTHER)
