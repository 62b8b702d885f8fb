"""Text that came from elsewhere, as a request shows it: capped, on one line, in quotes that it cannot close."""

from __future__ import annotations

import json


def quoted(text: str, most: int, *, tail: bool = False) -> str:
    """Text as one JSON string of plain ASCII, of at most about `most` characters, its beginning or its tail."""
    short = text.strip()
    if len(short) > most:
        short = f"... {short[-most:]}" if tail else f"{short[:most]} ..."
    escaped = json.dumps(short)
    # Escapes make a string of control characters up to six times as long.
    return escaped if len(escaped) <= 3 * most + 40 else quoted(short, most // 2, tail=tail)
