"""The MLP's non-linearity."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit
from search.catalogue.patch import edit, instead
from search.proposals import Proposal

_GELU = "h = functional.gelu(h)"
_HIDDEN = 'hidden = int(knobs["mlp_ratio"] * rung.width)'
_UP = "self.up = nn.Linear(rung.width, hidden, bias=False)"


def _gated(activation: str) -> Edit:
    """Two thirds of the hidden width, rounded to 8, since the gate doubles the first map."""
    return edit(
        instead(_HIDDEN, 'hidden = 8 * round(knobs["mlp_ratio"] * rung.width / 12)'),
        instead(_UP, "self.up = nn.Linear(rung.width, 2 * hidden, bias=False)"),
        instead(_GELU, f"h, gate = h.chunk(2, dim=-1)\n        h = h * functional.{activation}(gate)"),
    )


_entry = partial(Proposal, category="activation", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="squared-relu",
        title="Squared ReLU in place of GELU",
        hypothesis="Sparse, steeper activations fit more per hidden unit, and squaring gives products of features.",
        source="Primer (So et al., 2021, arXiv 2109.08668)",
        expected_scaling="constant",
        edit=edit(instead(_GELU, "h = functional.relu(h).square()")),
    ),
    _entry(
        slug="swiglu",
        title="SwiGLU at equal parameters",
        hypothesis="A multiplicative gate makes the MLP bilinear, which is worth its third matrix.",
        source="GLU variants improve transformer (Shazeer, 2020, arXiv 2002.05202)",
        expected_scaling="constant",
        edit=_gated("silu"),
    ),
    _entry(
        slug="geglu",
        title="GEGLU at equal parameters",
        hypothesis="A multiplicative gate makes the MLP bilinear; which sigmoid shapes it hardly matters.",
        source="GLU variants improve transformer (Shazeer, 2020, arXiv 2002.05202)",
        expected_scaling="constant",
        edit=_gated("gelu"),
    ),
    _entry(
        slug="relu",
        title="ReLU in place of GELU",
        hypothesis="The cheaper non-linearity loses nothing that training cannot make up.",
        source="ReLU strikes back (Mirzadeh et al., 2023, arXiv 2310.04564)",
        expected_scaling="unknown",
        edit=edit(instead(_GELU, "h = functional.relu(h)")),
    ),
    _entry(
        slug="tanh",
        title="Tanh in place of GELU",
        hypothesis="A bounded activation saturates, passes little gradient, and should lose.",
        source="Gaussian error linear units, comparisons (Hendrycks and Gimpel, 2016, arXiv 1606.08415)",
        expected_scaling="harmful",
        edit=edit(instead(_GELU, "h = torch.tanh(h)")),
    ),
)
