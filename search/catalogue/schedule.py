"""How the learning rate moves over a run."""

from __future__ import annotations

from functools import partial

from search.catalogue.patch import edit, instead, times
from search.proposals import Proposal

_DECAYED = "    decayed = (progress - warmup) / (1 - warmup)"
_FACTOR = '    return 1 - (1 - knobs["final_share"]) * decayed'


_entry = partial(Proposal, category="schedule", scale_rule="constant")


ENTRIES = (
    _entry(
        slug="decay-to-zero",
        title="Decay to zero",
        hypothesis="The last steps should average the noise away, and a rate above zero still stirs it.",
        source="Straight to zero (Bergsma et al., 2025, arXiv 2502.15938)",
        expected_scaling="constant",
        edit=edit(final_share=0.0),
    ),
    _entry(
        slug="warmup-stable-decay",
        title="A constant rate, decayed over the last 40 %",
        hypothesis="A longer stay at the full rate covers more ground before the noise is averaged away.",
        source="MiniCPM (Hu et al., 2024, arXiv 2404.06395); Hägele et al., 2024, arXiv 2405.18392",
        expected_scaling="unknown",
        edit=edit(instead(_DECAYED, "    decayed = max(0.0, (progress - 0.6) / 0.4)")),
    ),
    _entry(
        slug="cosine-decay",
        title="Cosine decay in place of linear",
        hypothesis="A slow start and end of the decay is the habit; its gain over a straight line is small.",
        source="SGDR (Loshchilov and Hutter, 2016, arXiv 1608.03983)",
        expected_scaling="unknown",
        edit=edit(
            instead(
                _FACTOR,
                '    return knobs["final_share"] + (1 - knobs["final_share"]) * (1 + math.cos(math.pi * decayed)) / 2',
            ),
            instead("from collections.abc import Mapping\n", "import math\nfrom collections.abc import Mapping\n"),
        ),
    ),
    _entry(
        slug="square-root-decay",
        title="Decay by one minus the root of progress",
        hypothesis="A fast early decay leaves more steps at low rates, where the loss falls most.",
        source="Beyond fixed durations (Hägele et al., 2024, arXiv 2405.18392)",
        expected_scaling="unknown",
        edit=edit(instead(_FACTOR, '    return 1 - (1 - knobs["final_share"]) * decayed**0.5')),
    ),
    _entry(
        slug="no-warmup",
        title="No warm-up",
        hypothesis="Adam's first steps are of full size on noisy moments, and scatter the initial weights.",
        source="Why warmup the learning rate? (Kalra and Barkeshli, 2024, arXiv 2406.09405)",
        expected_scaling="harmful",
        edit=edit(warmup_share=0.0),
    ),
    _entry(
        slug="longer-warmup",
        title="Four times the warm-up",
        hypothesis="A gentler start lets the full rate be used later, at the price of slow steps.",
        source="Why warmup the learning rate? (Kalra and Barkeshli, 2024, arXiv 2406.09405)",
        expected_scaling="unknown",
        edit=times("warmup_share", 4),
    ),
    _entry(
        slug="no-decay",
        title="A constant rate to the end",
        hypothesis="Without decay the noise of the steps stays in the final loss.",
        source="Beyond fixed durations (Hägele et al., 2024, arXiv 2405.18392)",
        expected_scaling="harmful",
        edit=edit(final_share=1.0),
    ),
)
