"""What is minimised, and what logits may be."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit
from search.catalogue.patch import after, before, define, edit
from search.proposals import Proposal


def _loss(summary: str, code: str) -> Edit:
    """Bring a training loss; two of them conflict, since the second would hide the first."""
    opening = f'''
def training_loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """{summary}"""
    logits, targets = model(inputs).float().flatten(0, 1), targets.flatten()
    {code}
'''
    return edit(define("def build_model(rung: Rung,", opening))


_entry = partial(Proposal, category="objective", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="logit-soft-cap",
        title="Logits squashed smoothly into -15 to 15",
        hypothesis="A bound on logits stops a few confident errors from driving the gradient.",
        source="Gemma 2 (2024); nanochat (Karpathy, 2025)",
        expected_scaling="constant",
        edit=edit(
            before('"mlp_ratio": Knob(', '"logit_cap": Knob(15, "constant", low=5, high=60),', indent=4),
            after("        self.initialise(rung, knobs)", 'self.logit_cap = knobs["logit_cap"]'),
            before("return logits", "logits = self.logit_cap * torch.tanh(logits.float() / self.logit_cap)"),
        ),
    ),
    _entry(
        slug="label-smoothing",
        title="A tenth of each target spread over all tokens",
        hypothesis="Targets that are never certain are not the distribution that the loss is measured on.",
        source="Rethinking the inception architecture (Szegedy et al., 2015, arXiv 1512.00567)",
        expected_scaling="harmful",
        edit=_loss(
            "Cross-entropy with a tenth of each target spread evenly.",
            "return functional.cross_entropy(logits, targets, label_smoothing=0.1)",
        ),
    ),
    _entry(
        slug="z-loss",
        title="A small penalty on the logarithm of the softmax's sum",
        hypothesis="Logits that cannot drift keep large models stable; a small one does not drift.",
        source="PaLM (Chowdhery et al., 2022, arXiv 2204.02311)",
        expected_scaling="unknown",
        edit=_loss(
            "Cross-entropy plus a small penalty on the squared log of the softmax's sum.",
            "return functional.cross_entropy(logits, targets) + 1e-4 * logits.logsumexp(dim=-1).square().mean()",
        ),
    ),
    _entry(
        slug="focal-loss",
        title="Focal loss: less weight on tokens that are already likely",
        hypothesis="Hard tokens deserve the gradient; but much of what is hard is noise.",
        source="Focal loss for dense object detection (Lin et al., 2017, arXiv 1708.02002)",
        expected_scaling="harmful",
        edit=_loss(
            "Cross-entropy weighted by how unlikely the target still is.",
            """losses = functional.cross_entropy(logits, targets, reduction="none")
    return ((1 - torch.exp(-losses)) * losses).mean()""",
        ),
    ),
)
