"""The key to the service, which is looked for before anything runs and never written anywhere."""

from __future__ import annotations

import re
from typing import Any

import anthropic

from search.claude.errors import KeyRefusedError

# What a header can carry: others fail at every try, and would pass for a broken connection.
_KEY = re.compile(r"[!-~]+")


def require_key(base_url: str | None = None) -> None:
    """Raise KeyRefusedError where the SDK would find no key, or one that no request can carry."""
    with_key(base_url=base_url).close()


def with_key(**settings: Any) -> anthropic.Anthropic:  # noqa: ANN401 (the client's own settings)
    """The SDK's client with the key that it finds; raises KeyRefusedError as `require_key` does."""
    try:
        client = anthropic.Anthropic(**settings)
    except (anthropic.AnthropicError, ValueError, OSError) as error:
        raise KeyRefusedError(f"The key for Claude cannot be read: {error}") from None
    found = secret(client)
    if found is None and client.credentials is None:
        raise KeyRefusedError(
            "There is no key for Claude; set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), or take --proposer catalogue."
        )
    if found is not None and not _KEY.fullmatch(found):
        raise KeyRefusedError(
            "The key for Claude holds a blank, a line break or another character that no key has; set it anew."
        )
    return client


def secret(client: anthropic.Anthropic) -> str | None:
    """The key that a client sends, to be kept out of whatever is written."""
    return client.api_key or client.auth_token
