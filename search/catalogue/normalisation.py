"""Which norms there are, and where they stand."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit
from search.catalogue.patch import after, before, define, edit, instead
from search.proposals import Proposal

_NORMS = ("self.attention_norm", "self.mlp_norm", "self.norm")

_DYNAMIC_TANH = '''
class DynamicTanh(nn.Module):
    """A learned squashing in place of a norm."""

    def __init__(self, width: int) -> None:
        """Start with tanh(x / 2)."""
        super().__init__()
        self.slope = nn.Parameter(torch.full((1,), 0.5))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        return torch.tanh(self.slope * x) * self.weight + self.bias
'''


def _all_norms(new: str) -> Edit:
    return edit(*(instead(f"{name} = nn.LayerNorm(rung.width)", f"{name} = {new}") for name in _NORMS))


def _dynamic_tanh() -> Edit:
    swap = _all_norms("DynamicTanh(rung.width)")
    return edit(define("class Block(nn.Module):", _DYNAMIC_TANH), *swap.replacements)


def _post_norm() -> Edit:
    return edit(
        instead(
            "        x = x + self.attention(self.attention_norm(x))",
            "        x = self.attention_norm(x + self.attention(x))",
        ),
        instead("        return x + self.mlp(self.mlp_norm(x))", "        return self.mlp_norm(x + self.mlp(x))"),
    )


def _sandwich() -> Edit:
    norm = "self.out_norm = nn.LayerNorm(rung.width)"
    return edit(
        before('self.heads = max(1, rung.width // int(knobs["head_dim"]))', norm),
        instead("self.out(y)\n        return out", "self.out(y)\n        return self.out_norm(out)"),
        after("self.down = nn.Linear(hidden, rung.width, bias=False)", norm),
        instead("self.down(h)\n        return out", "self.down(h)\n        return self.out_norm(out)"),
    )


def _embedding_norm() -> Edit:
    return edit(
        before(
            "for block in self.blocks:\n            # (B, T, W) throughout", "x = functional.rms_norm(x, x.shape[-1:])"
        )
    )


_entry = partial(Proposal, category="normalisation", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="rmsnorm",
        title="RMSNorm in place of LayerNorm",
        hypothesis="Re-centring and the bias do nothing that matters, and leaving them out saves time.",
        source="Root mean square layer normalization (Zhang and Sennrich, 2019, arXiv 1910.07467)",
        expected_scaling="constant",
        edit=_all_norms("nn.RMSNorm(rung.width)"),
    ),
    _entry(
        slug="plain-norm",
        title="Norms without a learned gain or bias",
        hypothesis="The matrix after a norm can learn what its gain would have learned.",
        source="OLMo (Groeneveld et al., 2024, arXiv 2402.00838)",
        expected_scaling="unknown",
        edit=_all_norms("nn.LayerNorm(rung.width, elementwise_affine=False)"),
    ),
    _entry(
        slug="embedding-norm",
        title="A norm right after the embedding",
        hypothesis="The stream starts at unit size, so that early blocks do not swamp a small embedding.",
        source="8-bit optimizers (Dettmers et al., 2021, arXiv 2110.02861); nanochat (Karpathy, 2025)",
        expected_scaling="constant",
        edit=_embedding_norm(),
    ),
    _entry(
        slug="sandwich-norm",
        title="A second norm at the end of each branch",
        hypothesis="Branches of bounded size keep the stream from growing, which matters in deep stacks.",
        source="CogView (Ding et al., 2021, arXiv 2105.13290); Gemma 2 (2024)",
        expected_scaling="unknown",
        edit=_sandwich(),
    ),
    _entry(
        slug="post-norm",
        title="Norms after the addition, as in the first transformer",
        hypothesis="Norms on the residual path shrink the gradient of early layers, the more so the deeper the stack.",
        source="Vaswani et al., 2017, arXiv 1706.03762; harm in Xiong et al., 2020, arXiv 2002.04745",
        expected_scaling="harmful",
        edit=_post_norm(),
    ),
    _entry(
        slug="dynamic-tanh",
        title="A learned tanh in place of each norm",
        hypothesis="Norms mostly squash outliers, which a tanh does without statistics.",
        source="Transformers without normalization (Zhu et al., 2025, arXiv 2503.10622)",
        expected_scaling="harmful",
        edit=_dynamic_tanh(),
    ),
)
