"""How blocks are wired."""

from __future__ import annotations

from search.catalogue.patch import after, before, edit, instead
from search.proposals import Proposal

_IN_LOOP = "# (B, T, W) throughout\n            x = block(x)"
_ATTENTION = "        x = x + self.attention(self.attention_norm(x))"
_MLP = "        return x + self.mlp(self.mlp_norm(x))"
_BLOCK_FORWARD = '''    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        x = x + self.attention(self.attention_norm(x))'''
_ATTENTION_FORWARD = '''    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        batch, time, width = x.shape'''


def _value_embeddings() -> Proposal:
    return Proposal(
        title="Value embeddings: a second embedding of the token, added to every layer's values",
        slug="value-embeddings",
        hypothesis="Layers far from the input get the identity of the token back, which residual mixing has blurred.",
        category="architecture",
        source="modded-nanogpt speedrun (Jordan et al., 2024); after value residual learning (Zhou et al., 2024, "
        "arXiv 2410.17897)",
        scale_rule="constant",
        expected_scaling="shrinks",
        edit=edit(
            after(
                "self.blocks = nn.ModuleList(Block(rung, knobs) for _ in range(rung.depth))",
                "self.value_tokens = nn.Embedding(vocab_size, rung.width)",
            ),
            instead(_IN_LOOP, _IN_LOOP.replace("block(x)", "block(x, values)")),
            before("x = self.tokens(ids)  # (B, T, W)", "values = self.value_tokens(ids)  # (B, T, W)"),
            after(
                "self.attention = Attention(rung, knobs)",
                "self.value_scale = nn.Parameter(torch.full((1,), 0.5))",
            ),
            instead(
                _BLOCK_FORWARD,
                _BLOCK_FORWARD.replace("x: Tensor", "x: Tensor, values: Tensor").replace(
                    "self.attention_norm(x)", "self.attention_norm(x), self.value_scale * values"
                ),
            ),
            instead(_ATTENTION_FORWARD, _ATTENTION_FORWARD.replace("x: Tensor", "x: Tensor, values: Tensor")),
            after(
                "v = self.value(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)",
                "v = v + values.view(shape).transpose(1, 2).to(v.dtype)",
            ),
        ),
    )


def _skip_lambdas() -> Proposal:
    return Proposal(
        title="Every block's input mixes the stream with the embedding, by learned scalars",
        slug="x0-lambdas",
        hypothesis="Deep layers can read the token itself, and every layer can choose how much of the past it keeps.",
        category="architecture",
        source="modded-nanogpt speedrun (Jordan et al., 2024); nanochat (Karpathy, 2025)",
        scale_rule="constant",
        expected_scaling="constant",
        edit=edit(
            after("self.mlp = Mlp(rung, knobs)", "self.lambdas = nn.Parameter(torch.tensor([1.0, 0.0]))"),
            before(
                "# (B, T, W) throughout",
                """
                first = x if block is self.blocks[0] else first
                x = block.lambdas[0] * x + block.lambdas[1] * first
                """,
                indent=12,
            ),
        ),
    )


def _u_net() -> Proposal:
    return Proposal(
        title="U-net skips: late blocks add the output of their mirror block, by learned scalars",
        slug="u-net-skips",
        hypothesis="Skips from early to late blocks shorten the path of the gradient and of shallow features.",
        category="architecture",
        source="U-ViT (Bao et al., 2022, arXiv 2209.12152); modded-nanogpt speedrun (Jordan et al., 2024)",
        scale_rule="constant",
        expected_scaling="shrinks",
        edit=edit(
            before(
                "self.blocks = nn.ModuleList(Block(rung, knobs) for _ in range(rung.depth))",
                "self.skips = nn.Parameter(torch.full((rung.depth // 2,), 0.2))",
            ),
            after('"""Map token ids (B, T) to logits (B, T, V)."""', "outputs: list[Tensor] = []"),
            instead(
                "        x = self.norm(x)",
                "            outputs.append(x)\n"
                "            mirror = len(self.blocks) - len(outputs)\n"
                "            if mirror < self.skips.numel():\n"
                "                x = x + self.skips[mirror] * outputs[mirror]\n"
                "\n"
                "        x = self.norm(x)",
            ),
        ),
    )


def _parallel() -> Proposal:
    return Proposal(
        title="Attention and MLP of a block side by side, not one after the other",
        slug="parallel-block",
        hypothesis="Half as many steps in sequence save time per token; the loss given up for it fades with scale.",
        category="architecture",
        source="GPT-J (Wang and Komatsuzaki, 2021); PaLM (Chowdhery et al., 2022, arXiv 2204.02311)",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=edit(
            instead(_ATTENTION, "        attended = self.attention(self.attention_norm(x))"),
            instead(_MLP, "        return x + attended + self.mlp(self.mlp_norm(x))"),
        ),
    )


def _layer_scale() -> Proposal:
    scale = "self.scale = nn.Parameter(torch.full((rung.width,), 0.1))"
    return Proposal(
        title="Each branch times a learned vector that starts at a tenth",
        slug="layer-scale",
        hypothesis="Branches that start small and grow by channel keep a deep stack stable early on.",
        category="architecture",
        source="LayerScale, in CaiT (Touvron et al., 2021, arXiv 2103.17239)",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=edit(
            before('self.heads = max(1, rung.width // int(knobs["head_dim"]))', scale),
            instead("self.out(y)\n        return out", "self.out(y)\n        return self.scale * out"),
            after("self.down = nn.Linear(hidden, rung.width, bias=False)", scale),
            instead("self.down(h)\n        return out", "self.down(h)\n        return self.scale * out"),
        ),
    )


def _shared_layers() -> Proposal:
    return Proposal(
        title="All blocks share one set of weights",
        slug="shared-layers",
        hypothesis="One block repeated has far fewer parameters to learn, at the same cost per token.",
        category="architecture",
        source="ALBERT (Lan et al., 2019, arXiv 1909.11942)",
        scale_rule="constant",
        expected_scaling="harmful",
        edit=edit(
            instead(
                "nn.ModuleList(Block(rung, knobs) for _ in range(rung.depth))",
                "nn.ModuleList([Block(rung, knobs)] * rung.depth)",
            ),
        ),
    )


def _mlp_ratio(slug: str, ratio: float, title: str, hypothesis: str) -> Proposal:
    return Proposal(
        title=title,
        slug=slug,
        hypothesis=hypothesis,
        category="architecture",
        source="Scaling laws for neural language models, shape sweeps (Kaplan et al., 2020, arXiv 2001.08361)",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=edit(mlp_ratio=ratio),
    )


def _bias() -> Proposal:
    return Proposal(
        title="Biases in the MLP",
        slug="mlp-bias",
        hypothesis="A learned threshold per hidden unit is nearly free and lets a unit choose when to fire.",
        category="architecture",
        source="Left out in PaLM (Chowdhery et al., 2022, arXiv 2204.02311), kept in GPT-2 (Radford et al., 2019)",
        scale_rule="constant",
        expected_scaling="unknown",
        edit=edit(
            instead("nn.Linear(rung.width, hidden, bias=False)", "nn.Linear(rung.width, hidden)"),
            instead("nn.Linear(hidden, rung.width, bias=False)", "nn.Linear(hidden, rung.width)"),
        ),
    )


ENTRIES = (
    _value_embeddings(),
    _skip_lambdas(),
    _u_net(),
    _parallel(),
    _layer_scale(),
    _shared_layers(),
    _mlp_ratio("mlp-wide", 6, "An MLP six times the width", "More parameters per token help when data are plentiful."),
    _mlp_ratio("mlp-narrow", 2, "An MLP twice the width", "A cheaper MLP gives up little loss for its time."),
    _bias(),
)
