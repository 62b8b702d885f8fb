"""How tokens and positions enter, and how tokens leave."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit, Replacement
from search.catalogue.patch import after, before, define, edit, instead
from search.proposals import Proposal

_POSITIONS = "        self.positions = nn.Embedding(rung.context, rung.width)"
_ADD_POSITIONS = "        x = x + self.positions.weight[: ids.shape[1]]"
_ATTEND = "y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, W/H)"
_OUT = "self.out = nn.Linear(rung.width, rung.width, bias=False)"

_ROTARY = '''
class Rotary(nn.Module):
    """Turns pairs of channels by an angle that grows with the position."""

    def __init__(self, size: int, context: int) -> None:
        """Tabulate cosines and sines, (T, size / 2) each."""
        super().__init__()
        rates = 10_000.0 ** -torch.linspace(0, 1, size // 2)
        angles = torch.arange(context).float()[:, None] * rates
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn x, (B, H, T, size)."""
        cosines, sines = (table[: x.shape[2]].to(x.dtype) for table in (self.cosines, self.sines))
        left, right = x.chunk(2, dim=-1)
        return torch.cat([left * cosines - right * sines, left * sines + right * cosines], dim=-1)
'''

_BIGRAMS = '''
class BigramEmbedding(nn.Embedding):
    """Token embedding plus one of the hashed pair of this token and the one before."""

    def __init__(self, vocab_size: int, width: int) -> None:
        """Give the pairs eight rows per token, or one per pair where that is less."""
        super().__init__(vocab_size, width)
        self.pairs = nn.Embedding(min(8 * vocab_size, vocab_size**2), width)

    def forward(self, ids: Tensor) -> Tensor:
        """Map token ids (B, T) to (B, T, W)."""
        late = functional.pad(ids, (1, -1))
        return super().forward(ids) + self.pairs((36_313 * ids + 27_191 * late) % self.pairs.num_embeddings)
'''


def _without_learned_positions(*replacements: Replacement) -> Edit:
    return edit(instead(f"{_POSITIONS}\n", ""), instead(f"{_ADD_POSITIONS}\n", ""), *replacements)


def _rotary() -> Edit:
    return _without_learned_positions(
        define("class Attention(nn.Module):", _ROTARY),
        after(_OUT, "self.rotary = Rotary(rung.width // self.heads, rung.context)"),
        before(_ATTEND, "q, k = self.rotary(q), self.rotary(k)"),
    )


def _alibi() -> Edit:
    """Slopes fall by powers of two over the heads; the future is masked by minus infinity."""
    return _without_learned_positions(
        after(
            _OUT,
            """
            distance = torch.arange(rung.context)[None, :] - torch.arange(rung.context)[:, None]
            slopes = 2.0 ** -torch.linspace(1, 8, self.heads)
            ahead = torch.zeros(distance.shape).masked_fill(distance > 0, -torch.inf)
            self.register_buffer("bias", (slopes[:, None, None] * distance + ahead)[None], persistent=False)
            """,
        ),
        instead(
            _ATTEND,
            "bias = self.bias[:, :, :time, :time].to(q.dtype)  # (1, H, T, T)\n"
            "        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, H, T, W/H)",
        ),
    )


def _sinusoids() -> Edit:
    return edit(
        instead(
            _POSITIONS,
            "        rates = 10_000.0 ** -torch.linspace(0, 1, rung.width // 2)\n"
            "        angles = torch.arange(rung.context).float()[:, None] * rates\n"
            '        table = knobs["embedding_std"] * 2**0.5 * torch.cat([angles.sin(), angles.cos()], dim=1)\n'
            '        self.register_buffer("positions", table, persistent=False)  # (T, W)',
        ),
        instead(_ADD_POSITIONS, "        x = x + self.positions[: ids.shape[1]]"),
    )


_entry = partial(Proposal, category="embedding", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="rotary",
        title="Rotary positions in place of learned ones",
        hypothesis="Attention that sees distances, in every layer, need not learn a vector for every position.",
        source="RoFormer (Su et al., 2021, arXiv 2104.09864)",
        expected_scaling="constant",
        edit=_rotary(),
    ),
    _entry(
        slug="bigram-embeddings",
        title="An embedding of the hashed pair of the last two tokens",
        hypothesis="A table of bigrams spares a small model its first layer; a large one learns them anyway.",
        source="modded-nanogpt speedrun (2025); hash embeddings (Svenstrup et al., 2017, arXiv 1709.03933)",
        expected_scaling="small only",
        edit=edit(
            define("class Model(nn.Module):", _BIGRAMS),
            instead("nn.Embedding(vocab_size, rung.width)", "BigramEmbedding(vocab_size, rung.width)"),
        ),
    ),
    _entry(
        slug="tied-embeddings",
        title="One matrix for the embedding and the head",
        hypothesis="Sharing saves parameters, and each token's row learns from input and output alike.",
        source="Using the output embedding (Press and Wolf, 2016, arXiv 1608.05859)",
        expected_scaling="small only",
        edit=edit(
            after("self.head = nn.Linear(rung.width, vocab_size, bias=False)", "self.head.weight = self.tokens.weight")
        ),
    ),
    _entry(
        slug="token-smear",
        title="Each token's embedding takes in the one before, by a learned amount per channel",
        hypothesis="Local context before the first layer frees its heads for other work.",
        source="modded-nanogpt speedrun (2025); token shift in RWKV (Peng et al., 2023, arXiv 2305.13048)",
        expected_scaling="shrinks",
        edit=edit(
            before(
                "self.head = nn.Linear(rung.width, vocab_size, bias=False)",
                "self.smear = nn.Parameter(torch.zeros(rung.width))",
            ),
            after("x = self.tokens(ids)  # (B, T, W)", "x = x + self.smear * functional.pad(x, (0, 0, 1, -1))"),
        ),
    ),
    _entry(
        slug="sinusoidal-positions",
        title="Fixed sinusoids in place of learned positions",
        hypothesis="Positions need not be learned, but a fixed table fits no better.",
        source="Attention is all you need (Vaswani et al., 2017, arXiv 1706.03762)",
        expected_scaling="unknown",
        edit=_sinusoids(),
    ),
    _entry(
        slug="alibi",
        title="A penalty on distance in place of learned positions",
        hypothesis="A bias towards the near past is right for text, and costs no parameters.",
        source="Train short, test long (Press et al., 2021, arXiv 2108.12409)",
        expected_scaling="shrinks",
        edit=_alibi(),
    ),
    _entry(
        slug="no-positions",
        title="No positions at all",
        hypothesis="The causal mask alone tells a deep enough stack where it is; a shallow one is lost.",
        source="Transformers without positional encodings still learn (Haviv et al., 2022, arXiv 2203.16634)",
        expected_scaling="harmful",
        edit=edit(
            # The comment marks the place, so that this conflicts with whatever else brings positions.
            instead(f"{_POSITIONS}\n", ""),
            instead(_ADD_POSITIONS, "        # no positions: the causal mask alone tells them"),
        ),
    ),
)
