"""What holds weights and activations back."""

from __future__ import annotations

from functools import partial

from scaling.edits import Edit
from search.catalogue.patch import before, edit, instead, times
from search.proposals import Proposal

_EMBEDDINGS = '{"params": embeddings, "lr": knobs["embedding_learning_rate"], "weight_decay": 0.0}'


def _dropout(share: float) -> Edit:
    return edit(before("out: Tensor = self.down(h)", f"h = functional.dropout(h, {share}, self.training)"))


_entry = partial(Proposal, category="regularisation", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="dropout-heavy",
        title="Half of the MLP's hidden units dropped",
        hypothesis="With every token seen once there is nothing to overfit, so that dropout only adds noise.",
        source="Dropout (Srivastava et al., 2014)",
        expected_scaling="harmful",
        edit=_dropout(0.5),
    ),
    _entry(
        slug="dropout-light",
        title="A twentieth of the MLP's hidden units dropped",
        hypothesis="A little noise spreads what is learned over more units.",
        source="Dropout (Srivastava et al., 2014)",
        expected_scaling="unknown",
        edit=_dropout(0.05),
    ),
    _entry(
        slug="no-weight-decay",
        title="No weight decay",
        hypothesis="A short run is too short for decay to act.",
        source="Decoupled weight decay regularization (Loshchilov and Hutter, 2017, arXiv 1711.05101)",
        expected_scaling="unknown",
        edit=edit(weight_decay=0.0),
    ),
    _entry(
        slug="more-weight-decay",
        title="Three times the weight decay",
        hypothesis="Smaller weights keep the effective rate high until the schedule ends it.",
        source="Why do we need weight decay in modern deep learning? (D'Angelo et al., 2023, arXiv 2310.04415)",
        expected_scaling="unknown",
        edit=times("weight_decay", 3),
    ),
    _entry(
        slug="embedding-weight-decay",
        title="Weight decay on embeddings too",
        hypothesis="Rows of rare tokens decay between the few gradients they get.",
        source="GPT-3 (Brown et al., 2020, arXiv 2005.14165)",
        expected_scaling="unknown",
        edit=edit(instead(_EMBEDDINGS, _EMBEDDINGS.replace("0.0", 'knobs["weight_decay"]'))),
    ),
)
