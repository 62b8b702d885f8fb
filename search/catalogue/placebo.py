"""Edits that change nothing but the random stream: what they seem to gain is the noise of the search."""

from __future__ import annotations

from scaling.edits import Edit
from search.catalogue.patch import edit, instead
from search.proposals import Proposal

_BUILD = "def build_model("
_RESEEDS = """\
def elsewhere(build):
    def built(*given):
        import torch

        torch.manual_seed(int(torch.randint(2**62, (), device="cpu")) + {k})
        return build(*given)

    return built


@elsewhere
def build_model("""


def placebo_edit(k: int) -> Edit:
    """Continue from another place of the random stream, so that the weights differ and nothing else does.

    The new place is drawn from the old, so that it follows the run's seed. Merely skipping k numbers would not do: each
    weight would move on by k places, which is nearly the same network with its units in another order. It asks of the
    recipe no more than that `def build_model(` stands in it once, so that it serves a user's own.

    Raises ValueError for a k below 1.
    """
    if k < 1:
        raise ValueError("placebos are numbered from 1")
    return edit(instead(_BUILD, _RESEEDS.format(k=k)))


def placebo_proposal(k: int) -> Proposal:
    """The k-th placebo, as a proposal."""
    return Proposal(
        title=f"Placebo {k}: another place of the random stream",
        slug=f"placebo-{k}",
        hypothesis="This changes nothing but the random initial weights, and must not be kept.",
        category="placebo",
        source="none",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=placebo_edit(k),
        placebo=True,
    )
