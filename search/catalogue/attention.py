"""What attention compares, and what it brings back."""

from __future__ import annotations

from search.catalogue.patch import after, before, define, edit, instead
from search.proposals import Proposal

_SHARED_HEAD = '''
class SharedHead(nn.Linear):
    """A linear map to one head, which serves all query heads."""

    def __init__(self, width: int, heads: int) -> None:
        """Map W to W/H."""
        super().__init__(width, width // heads, bias=False)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W), the head repeated."""
        return super().forward(x).repeat(1, 1, self.heads)
'''


def _qk_norm() -> Proposal:
    return Proposal(
        title="Queries and keys normalised to the same length",
        slug="qk-norm",
        hypothesis="Bounded attention logits keep heads from saturating and allow higher learning rates.",
        category="attention",
        source="Query-key normalization for transformers (Henry et al., 2020, arXiv 2010.04245)",
        scale_rule="constant",
        expected_scaling="constant",
        edit=edit(
            before(
                "v = self.value(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)",
                "q, k = functional.rms_norm(q, q.shape[-1:]), functional.rms_norm(k, k.shape[-1:])",
            ),
        ),
    )


def _multi_query() -> Proposal:
    return Proposal(
        title="One head of keys and values for all queries",
        slug="multi-query",
        hypothesis="Heads need different queries more than different keys and values, which cost parameters and time.",
        category="attention",
        source="Fast transformer decoding (Shazeer, 2019, arXiv 1911.02150)",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=edit(
            define("class Mlp(nn.Module):", _SHARED_HEAD),
            *(
                instead(
                    f"self.{name} = nn.Linear(rung.width, rung.width, bias=False)",
                    f"self.{name} = SharedHead(rung.width, self.heads)",
                )
                for name in ("key", "value")
            ),
        ),
    )


def _gated() -> Proposal:
    return Proposal(
        title="Each head's output through a learned sigmoid gate",
        slug="gated-attention",
        hypothesis="A head that finds nothing can stay silent, instead of parking its attention on the first token.",
        category="attention",
        source="Gated attention for large language models (Qiu et al., 2025, arXiv 2505.06708)",
        scale_rule="constant",
        expected_scaling="constant",
        edit=edit(
            after(
                'self.heads = max(1, rung.width // int(knobs["head_dim"]))',
                "self.gate = nn.Linear(rung.width, self.heads, bias=False)",
            ),
            before(
                "y = y.transpose(1, 2).reshape(batch, time, width)  # (B, T, W)",
                "y = y * torch.sigmoid(self.gate(x)).transpose(1, 2).unsqueeze(-1)",
            ),
        ),
    )


def _key_shift() -> Proposal:
    return Proposal(
        title="Half of each key taken from the token before",
        slug="key-shift",
        hypothesis="A head can look for what follows a token in one layer, where induction otherwise takes two.",
        category="attention",
        source="Token shift (Peng, 2021), in RWKV (Peng et al., 2023, arXiv 2305.13048); modded-nanogpt speedrun",
        scale_rule="constant",
        expected_scaling="shrinks",
        edit=edit(
            after(
                "k = self.key(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)",
                """
                now, late = k.chunk(2, dim=-1)
                k = torch.cat([now, functional.pad(late, (0, 0, 1, -1))], dim=-1)
                """,
            ),
        ),
    )


def _head_dim(slug: str, size: int, title: str) -> Proposal:
    return Proposal(
        title=title,
        slug=slug,
        hypothesis="The number of heads trades how many things are looked up against how exactly.",
        category="attention",
        source="Attention is all you need, table 3 (Vaswani et al., 2017, arXiv 1706.03762)",
        scale_rule="constant",
        expected_scaling="small only",
        edit=edit(head_dim=size),
    )


def _unscaled() -> Proposal:
    return Proposal(
        title="Attention logits over the head size, not over its root",
        slug="mup-attention-scale",
        hypothesis="Queries and keys that learn to agree need 1/d to keep logits bounded as heads grow.",
        category="attention",
        source="Tensor programs V (Yang et al., 2022, arXiv 2203.03466)",
        scale_rule="head_dim^-1 for logits",
        expected_scaling="unknown",
        edit=edit(
            instead(
                "functional.scaled_dot_product_attention(q, k, v, is_causal=True)",
                "functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1 / q.shape[-1])",
            ),
        ),
    )


ENTRIES = (
    _qk_norm(),
    _gated(),
    _key_shift(),
    _multi_query(),
    _head_dim("smaller-heads", 8, "Heads of 8 channels, twice as many"),
    _head_dim("larger-heads", 32, "Heads of 32 channels, half as many"),
    _unscaled(),
)
