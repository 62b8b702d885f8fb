"""The baseline recipe: a plain decoder-only transformer and its optimiser, as a function of the rung.

This is the only source that an edit may touch. The harness owns data, seeds, budget, clock, checkpoints and
evaluation. Shapes beside the tensors: B batch, T time, W width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling.knobs import Knob
from scaling.ladder import Rung

KNOBS: dict[str, Knob] = {
    "learning_rate": Knob(5.6e-3, "width^-0.5", low=5e-4, high=3e-2),
    "embedding_learning_rate": Knob(3e-2, "constant", low=5e-4, high=1e-1),
    "weight_decay": Knob(0.1, "constant", low=1e-3, high=1.0),
    "beta1": Knob(0.8, "constant", low=0.5, high=0.98),
    "beta2": Knob(0.95, "constant", low=0.85, high=0.999),
    "epsilon": Knob(1e-8, "constant", low=1e-12, high=1e-5),
    "gradient_clip": Knob(0.5, "constant", low=0.1, high=10.0),
    "warmup_share": Knob(0.05, "constant", low=0.005, high=0.3),
    "final_share": Knob(0.2, "constant", low=1e-3, high=0.5),
    "init_std": Knob(0.1, "width^-0.5", low=0.01, high=0.3),
    "embedding_std": Knob(0.01, "constant", low=0.001, high=1.0),
    "head_dim": Knob(16, "constant"),
    "mlp_ratio": Knob(4, "constant"),
}


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, rung: Rung, knobs: Mapping[str, float]) -> None:
        """Build the four projections."""
        super().__init__()
        self.heads = max(1, rung.width // int(knobs["head_dim"]))
        self.query = nn.Linear(rung.width, rung.width, bias=False)
        self.key = nn.Linear(rung.width, rung.width, bias=False)
        self.value = nn.Linear(rung.width, rung.width, bias=False)
        self.out = nn.Linear(rung.width, rung.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        batch, time, width = x.shape
        shape = (batch, time, self.heads, width // self.heads)

        q = self.query(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)

        k = self.key(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)

        v = self.value(x).view(shape).transpose(1, 2)  # (B, H, T, W/H)

        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, W/H)

        y = y.transpose(1, 2).reshape(batch, time, width)  # (B, T, W)

        out: Tensor = self.out(y)
        return out


class Mlp(nn.Module):
    """Two linear maps around a pointwise non-linearity."""

    def __init__(self, rung: Rung, knobs: Mapping[str, float]) -> None:
        """Build the two maps."""
        super().__init__()
        hidden = int(knobs["mlp_ratio"] * rung.width)
        self.up = nn.Linear(rung.width, hidden, bias=False)
        self.down = nn.Linear(hidden, rung.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        h = self.up(x)

        h = functional.gelu(h)

        out: Tensor = self.down(h)
        return out


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to the residual stream."""

    def __init__(self, rung: Rung, knobs: Mapping[str, float]) -> None:
        """Build one block."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(rung.width)
        self.attention = Attention(rung, knobs)

        self.mlp_norm = nn.LayerNorm(rung.width)
        self.mlp = Mlp(rung, knobs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        x = x + self.attention(self.attention_norm(x))

        return x + self.mlp(self.mlp_norm(x))


class Model(nn.Module):
    """Token ids (B, T) to logits (B, T, V)."""

    def __init__(self, rung: Rung, knobs: Mapping[str, float], vocab_size: int) -> None:
        """Build embeddings, blocks and head, and initialise them."""
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, rung.width)

        self.positions = nn.Embedding(rung.context, rung.width)

        self.blocks = nn.ModuleList(Block(rung, knobs) for _ in range(rung.depth))

        self.norm = nn.LayerNorm(rung.width)

        self.head = nn.Linear(rung.width, vocab_size, bias=False)

        self.initialise(rung, knobs)

    def initialise(self, rung: Rung, knobs: Mapping[str, float]) -> None:
        """Draw every weight from a normal distribution; residual projections shrink with depth."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=knobs["init_std"])
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=knobs["embedding_std"])

        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attention.out.weight, std=knobs["init_std"] / (2 * rung.depth) ** 0.5)

            nn.init.normal_(block.mlp.down.weight, std=knobs["init_std"] / (2 * rung.depth) ** 0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Map token ids (B, T) to logits (B, T, V)."""

        x = self.tokens(ids)  # (B, T, W)

        x = x + self.positions.weight[: ids.shape[1]]

        for block in self.blocks:
            # (B, T, W) throughout
            x = block(x)

        x = self.norm(x)

        logits: Tensor = self.head(x)  # (B, T, V)

        return logits


def build_model(rung: Rung, knobs: Mapping[str, float], vocab_size: int) -> nn.Module:
    """Build the model of a rung, on whatever device is the default."""
    return Model(rung, knobs, vocab_size)


def build_optimizer(model: nn.Module, rung: Rung, knobs: Mapping[str, float]) -> torch.optim.Optimizer:
    """AdamW with three groups: matrices, embeddings, and vectors without weight decay; gradients clipped by norm."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    is_embedding = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [p for _, p in named if p.ndim >= 2 and id(p) not in is_embedding]
    embeddings = [p for _, p in named if id(p) in is_embedding]
    vectors = [p for _, p in named if p.ndim < 2]

    groups = [
        {"params": matrices, "lr": knobs["learning_rate"], "weight_decay": knobs["weight_decay"]},
        {"params": embeddings, "lr": knobs["embedding_learning_rate"], "weight_decay": 0.0},
        {"params": vectors, "lr": knobs["learning_rate"], "weight_decay": 0.0},
    ]

    optimizer = torch.optim.AdamW(groups, betas=(knobs["beta1"], knobs["beta2"]), eps=knobs["epsilon"], fused=True)

    parameters = [p for _, p in named]
    optimizer.register_step_pre_hook(lambda *_: clip(parameters, knobs["gradient_clip"]))

    return optimizer


def clip(parameters: list[nn.Parameter], limit: float) -> None:
    """Scale the gradients down to the global norm `limit`."""
    torch.nn.utils.clip_grad_norm_(parameters, limit)


def schedule(progress: float, knobs: Mapping[str, float]) -> float:
    """Learning-rate factor at `progress` in [0, 1]: linear warm-up, then linear decay to `final_share`."""
    warmup = knobs["warmup_share"]

    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)

    decayed = (progress - warmup) / (1 - warmup)

    return 1 - (1 - knobs["final_share"]) * decayed
