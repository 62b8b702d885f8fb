"""Edits that change nothing but the random stream: what they seem to gain is the noise of the search."""

from __future__ import annotations

from scaling.edits import Edit
from search.catalogue.patch import before, edit
from search.proposals import Proposal


def placebo_edit(k: int) -> Edit:
    """Draw k numbers before the weights are drawn, so that these differ and nothing else does.

    One by one, since a GPU's random stream moves on by the call and hardly by the count.

    Raises ValueError for a k below 1.
    """
    if k < 1:
        raise ValueError("a placebo draws at least one number")
    draw = f"for _ in range({k}):\n    torch.rand(())"
    return edit(before("return Model(rung, knobs, vocab_size)", draw, indent=4))


def placebo_proposal(k: int) -> Proposal:
    """The placebo of k draws, as a proposal."""
    return Proposal(
        title=f"Placebo: {k} more draw{'s' if k > 1 else ''} from the random stream",
        slug=f"placebo-{k}",
        hypothesis="This changes nothing but the random initial weights, and must not be kept.",
        category="placebo",
        source="none",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=placebo_edit(k),
        placebo=True,
    )
