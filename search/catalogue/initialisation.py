"""Where weights begin."""

from __future__ import annotations

from functools import partial

from search.catalogue.patch import after, edit, instead, times
from search.proposals import Proposal

_OUT = 'nn.init.normal_(block.attention.out.weight, std=knobs["init_std"] / (2 * rung.depth) ** 0.5)'
_DOWN = 'nn.init.normal_(block.mlp.down.weight, std=knobs["init_std"] / (2 * rung.depth) ** 0.5)'
_MATRIX = 'nn.init.normal_(module.weight, std=knobs["init_std"])'
_EMBEDDING = 'nn.init.normal_(module.weight, std=knobs["embedding_std"])'


_entry = partial(Proposal, category="initialisation", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="zero-init-projections",
        title="The projections back into the stream start at zero",
        hypothesis="Every block starts as the identity, so that the gradient reaches all of them unmixed.",
        source="Fixup (Zhang et al., 2019, arXiv 1901.09321); Tensor programs V (Yang et al., 2022, arXiv 2203.03466)",
        expected_scaling="constant",
        edit=edit(
            instead(_OUT, "nn.init.zeros_(block.attention.out.weight)"),
            instead(_DOWN, "nn.init.zeros_(block.mlp.down.weight)"),
        ),
    ),
    _entry(
        slug="zero-init-head",
        title="The head starts at zero",
        hypothesis="The first loss is exactly that of the uniform guess, with no noise to unlearn.",
        source="Tensor programs V (Yang et al., 2022, arXiv 2203.03466); nanochat (Karpathy, 2025)",
        expected_scaling="shrinks",
        edit=edit(after(_EMBEDDING, "nn.init.zeros_(self.head.weight)")),
    ),
    _entry(
        slug="larger-init",
        title="Matrices start twice as large",
        hypothesis="Features move further from a larger start in few steps; a deeper stack is hurt by it.",
        source="Delving deep into rectifiers (He et al., 2015, arXiv 1502.01852)",
        expected_scaling="small only",
        edit=times("init_std", 2),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="smaller-init",
        title="Matrices start at half the size",
        hypothesis="A smaller start lets the learning rate move weights further relative to their size.",
        source="Transformers without tears, SmallInit (Nguyen and Salazar, 2019, arXiv 1910.05895)",
        expected_scaling="unknown",
        edit=times("init_std", 0.5),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="no-depth-scaling",
        title="Projections into the stream start as large as all other matrices",
        hypothesis="Shrinking them with depth matters only where the stack is deep.",
        source="GPT-2 (Radford et al., 2019), whose scaling this takes out",
        expected_scaling="shrinks",
        edit=edit(
            instead(_OUT, 'nn.init.normal_(block.attention.out.weight, std=knobs["init_std"])'),
            instead(_DOWN, 'nn.init.normal_(block.mlp.down.weight, std=knobs["init_std"])'),
        ),
    ),
    _entry(
        slug="truncated-init",
        title="A truncated normal in place of a normal",
        hypothesis="Cutting the tails at two standard deviations changes next to nothing.",
        source="BERT (Devlin et al., 2018, arXiv 1810.04805)",
        expected_scaling="unknown",
        edit=edit(
            instead(
                _MATRIX,
                'nn.init.trunc_normal_(module.weight, std=knobs["init_std"], '
                'a=-2 * knobs["init_std"], b=2 * knobs["init_std"])',
            )
        ),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="orthogonal-init",
        title="Orthogonal matrices of the same size",
        hypothesis="Singular values that start equal let all directions learn at one pace.",
        source="Exact solutions to deep linear networks (Saxe et al., 2013, arXiv 1312.6120)",
        expected_scaling="unknown",
        edit=edit(
            instead(
                _MATRIX,
                'nn.init.orthogonal_(module.weight, gain=knobs["init_std"] * max(module.weight.shape) ** 0.5)',
            )
        ),
        scale_rule="width^-0.5",
    ),
    _entry(
        slug="larger-embedding-init",
        title="Embeddings start ten times as large",
        hypothesis="A stream that starts at the size of what blocks add keeps the token in sight.",
        source="Spike no more (Takase et al., 2023, arXiv 2312.16903)",
        expected_scaling="unknown",
        edit=times("embedding_std", 10),
    ),
    _entry(
        slug="tiny-embedding-init",
        title="Embeddings start at a quarter",
        hypothesis="Under Adam a tiny embedding turns quickly to where the gradient wants it.",
        source="SmallInit embedding in RWKV (Peng et al., 2023, arXiv 2305.13048)",
        expected_scaling="unknown",
        edit=times("embedding_std", 0.25),
    ),
)
