"""How gradients become steps."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit, Replacement
from search.catalogue.optimiser_sources import ADEMAMIX, CAUTIOUS, LION, MUON
from search.catalogue.patch import after, before, define, edit, instead, lengthen, times
from search.proposals import Proposal

_DEFINITION = "def build_optimizer(model: nn.Module, rung: Rung, knobs: Mapping[str, float]) -> torch.optim.Optimizer:"
_CLIP = "def clip(parameters: list[nn.Parameter], limit: float) -> None:"
_ADAMW = 'torch.optim.AdamW(groups, betas=(knobs["beta1"], knobs["beta2"]), eps=knobs["epsilon"], fused=True)'
_VECTORS = "vectors = [p for _, p in named if p.ndim < 2]"
_RETURN = "    return optimizer"


def _muon() -> Edit:
    """Hidden matrices to Muon, the rest to AdamW; Muon's steps have one size whatever the gradient's."""
    split = """
    inside = {id(p) for name, p in named if name.startswith("blocks.")}
    hidden = [p for p in matrices if id(p) in inside]
    matrices = [p for p in matrices if id(p) not in inside]
    """
    several = _DEFINITION.replace("torch.optim.Optimizer:", "list[torch.optim.Optimizer]:")
    return edit(
        before('"learning_rate": Knob(', '"muon_learning_rate": Knob(0.02, "constant", low=2e-3, high=0.2),', indent=4),
        Replacement(_DEFINITION, define(_DEFINITION, MUON).new.replace(_DEFINITION, several)),
        after(_VECTORS, split, indent=4),
        instead(
            _RETURN,
            '    muon = Muon(hidden, lr=knobs["muon_learning_rate"], weight_decay=knobs["weight_decay"])\n'
            "    return [optimizer, muon]",
        ),
    )


_entry = partial(Proposal, category="optimiser", scale_rule="constant")


def _in_place_of_adamw(definition: str, call: str) -> Edit:
    return edit(instead(_ADAMW, call), define(_CLIP, definition))


def _adamw_variant(name: str, definition: str) -> Edit:
    call = f'{name}(groups, (knobs["beta1"], knobs["beta2"]), knobs["epsilon"], rung.steps)'
    return _in_place_of_adamw(definition, call)


ENTRIES = (
    _entry(
        slug="muon",
        title="Muon for the matrices inside blocks",
        hypothesis="Orthogonalised momentum moves all directions of a matrix alike, where Adam's steps favour a few.",
        source="Muon (Jordan et al., 2024); Muon is scalable for LLM training (Liu et al., 2025, arXiv 2502.16982)",
        expected_scaling="shrinks",
        edit=_muon(),
    ),
    _entry(
        slug="cautious-adamw",
        title="Steps only where the momentum agrees with the gradient",
        hypothesis="Momentum that fights the current gradient raises the loss; leaving it out is a free gain.",
        source="Cautious optimizers (Liang et al., 2024, arXiv 2411.16085)",
        expected_scaling="unknown",
        edit=_adamw_variant("CautiousAdamW", CAUTIOUS),
    ),
    _entry(
        slug="lion",
        title="Lion in place of AdamW",
        hypothesis="The sign of the momentum alone is a good step, and keeps one average less.",
        source="Symbolic discovery of optimization algorithms (Chen et al., 2023, arXiv 2302.06675)",
        expected_scaling="unknown",
        edit=_in_place_of_adamw(LION, "Lion(groups, (0.9, 0.99))"),
    ),
    _entry(
        slug="ademamix",
        title="AdEMAMix in place of AdamW",
        hypothesis="Old gradients stay useful for thousands of steps, so that a slow average pays in long runs.",
        source="The AdEMAMix optimizer (Pagliardini et al., 2024, arXiv 2409.03137)",
        expected_scaling="unknown",
        edit=_adamw_variant("AdEMAMix", ADEMAMIX),
    ),
    _entry(
        slug="amsgrad",
        title="AMSGrad: the largest second moment so far",
        hypothesis="A denominator that never falls guarantees convergence, which was not what was lacking.",
        source="On the convergence of Adam and beyond (Reddi et al., 2018, arXiv 1904.09237)",
        expected_scaling="unknown",
        edit=edit(instead(_ADAMW, _ADAMW.replace("fused=True", "amsgrad=True, fused=True"))),
    ),
    _entry(
        slug="adam-l2",
        title="Weight decay inside the gradient, as L2 in Adam",
        hypothesis="Adam divides the decay by the gradient's size, so that rarely used weights shrink too fast.",
        source="Decoupled weight decay, which argues against it (Loshchilov and Hutter, 2017, arXiv 1711.05101)",
        expected_scaling="harmful",
        edit=edit(instead(_ADAMW, _ADAMW.replace("AdamW", "Adam"))),
    ),
    _entry(
        slug="sgd-momentum",
        title="Gradient descent with momentum in place of AdamW",
        hypothesis="Without a rate of its own for each weight, rare tokens and flat directions hardly learn.",
        source="Why are adaptive methods good for attention models? (Zhang et al., 2019, arXiv 1912.03194)",
        expected_scaling="harmful",
        edit=edit(
            instead(
                _ADAMW,
                'torch.optim.SGD([{**g, "lr": 25 * g["lr"]} for g in groups], momentum=knobs["beta1"])',
            )
        ),
    ),
    _entry(
        slug="beta2-longer",
        title="Five times the memory of squared gradients (beta2)",
        hypothesis="Small batches make noisy second moments, which a longer average steadies.",
        source="Small batch size training for language models (Marek et al., 2025, arXiv 2507.07101)",
        expected_scaling="shrinks",
        edit=lengthen("beta2", 5),
    ),
    _entry(
        slug="beta2-shorter",
        title="Half the memory of squared gradients (beta2)",
        hypothesis="Few steps leave no time to average, and gradients shrink while one waits.",
        source="Adam (Kingma and Ba, 2014, arXiv 1412.6980); swept in most projects",
        expected_scaling="unknown",
        edit=lengthen("beta2", 0.5),
    ),
    _entry(
        slug="beta1-longer",
        title="Twice the memory of gradients (beta1)",
        hypothesis="Noisy gradients are steadied by a longer average, if the run is long enough for it.",
        source="Adam (Kingma and Ba, 2014, arXiv 1412.6980); swept in most projects",
        expected_scaling="unknown",
        edit=lengthen("beta1", 2),
    ),
    _entry(
        slug="epsilon-tiny",
        title="A hundredth of the epsilon",
        hypothesis="Where gradients are tiny, epsilon damps steps; at this size it hardly ever does.",
        source="Small-scale proxies for large-scale instabilities (Wortsman et al., 2023, arXiv 2309.14322)",
        expected_scaling="unknown",
        edit=times("epsilon", 0.01),
    ),
    _entry(
        slug="learning-rate-double",
        title="Twice the learning rate of matrices",
        hypothesis="A small model in a short run takes larger steps than is safe in a deep one.",
        source="nanochat sweeps (Karpathy, 2025)",
        expected_scaling="small only",
        edit=times("learning_rate", 2),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="learning-rate-half",
        title="Half the learning rate of matrices",
        hypothesis="If the baseline's steps are too large, smaller ones end lower.",
        source="Swept in every project",
        expected_scaling="unknown",
        edit=times("learning_rate", 0.5),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="embedding-rate-higher",
        title="Three times the learning rate of embeddings",
        hypothesis="A token's row gets a gradient only when the token occurs, so that it can take longer steps.",
        source="Tensor programs V (Yang et al., 2022, arXiv 2203.03466); nanochat (Karpathy, 2025)",
        expected_scaling="shrinks",
        edit=times("embedding_learning_rate", 3),
    ),
    _entry(
        slug="no-gradient-clip",
        title="No clipping of the gradient",
        hypothesis="Adam's steps are bounded anyway, and clipping slows the early ones.",
        source="modded-nanogpt speedrun (Jordan et al., 2024)",
        expected_scaling="unknown",
        edit=edit(gradient_clip=1e6),
    ),
)
