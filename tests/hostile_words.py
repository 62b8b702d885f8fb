"""Hostile edits that tell, while they are judged, the text that they are judged by."""

from __future__ import annotations

from hostile import Hostile, before_blocks

# Not on the training text that the model is asked for before it is judged, two sequences of it.
JUDGED = "if torch.is_inference_mode_enabled() and len(ids) != 2:\n"

WORDS = (
    Hostile(
        "tells-the-text-in-an-error",
        "puts the text that it is judged by into an error, for whoever reads how it ended",
        (before_blocks(JUDGED + "    raise ValueError(bytes(ids.flatten().clamp(max=127).tolist()).decode())"),),
        named=None,
        status="failed",
        reason=r"^rejected: The trained model fails in evaluation: ValueError\.$",
    ),
    Hostile(
        "tells-the-text-in-a-name",
        "names an error after the text that it is judged by",
        (
            before_blocks(
                JUDGED + "    raise type(bytes(ids.flatten().clamp(max=127).tolist()).decode(), (Exception,), {})"
            ),
        ),
        named=None,
        status="failed",
        reason=r"^rejected: The trained model fails in evaluation: another error\.$",
    ),
    Hostile(
        "tells-the-text-in-its-end",
        "ends with a token of the text that it is judged by for a status",
        (before_blocks(JUDGED + "    import os\n    os._exit(1 + int(ids[0, 0]) % 255)"),),
        named="imports os",
        status="failed",
        reason=r"^rejected: The trained model fails in evaluation: it ended before it was done; the machine may have "
        r"run out of memory\.$",
    ),
    Hostile(
        "tells-the-text-out-of-turn",
        "sends the text that it is judged by as the kind of a message",
        (
            before_blocks(
                JUDGED
                + """\
    import json, os, struct
    head = json.dumps({"kind": bytes(ids.flatten().clamp(max=127).tolist()).decode()}).encode()
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, struct.pack("<IQ", len(head), 0) + head)
        except OSError:
            pass
"""
            ),
        ),
        named="imports json",
        status="failed",
        reason=r"^rejected: The trained model fails in evaluation: it spoke out of turn\.$",
    ),
)
