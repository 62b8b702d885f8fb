"""From a message of the service to an answer with its cost, as a row can hold it."""

from __future__ import annotations

from search.claude.budget import most_input_tokens
from search.claude.journal import OWN_WORDS
from search.claude.messages import Answer, Request, usable
from search.claude.prices import Price, Usage
from search.claude.stream import Message

_LONGEST_TEXT = 200


def answered(
    request: Request,
    message: Message,
    price: Price,
    *,
    factor: float = 1.0,
    seconds: float = 0.0,
    name: object = None,
) -> Answer:
    """The answer that a message gives; factor: the part of the price that is asked; name: the service's own.

    Where the service does not tell its tokens, or tells what is no count, the answer counts at the most that its
    request can cost. What should be a text and is none is left out.
    """
    used, cost_usd = _used(request, message, price)
    stop_reason = _text(message.stop_reason) or ""
    return Answer(
        key=request.key,
        content=usable(message.content),
        # A word of the journal's own would say that there is no answer.
        stop_reason="" if stop_reason in OWN_WORDS else stop_reason,
        model=_text(message.model) or request.model,
        refusal_category=_text(message.refusal_category),
        input_tokens=used.input,
        output_tokens=used.output,
        cached_tokens=used.cache_read,
        cache_write_tokens=used.cache_write_5m + used.cache_write_1h,
        cost_usd=cost_usd * factor,
        seconds=seconds,
        api_request_id=_text(name),
        broken=message.broken,
    )


def _used(request: Request, message: Message, price: Price) -> tuple[Usage, float]:
    used = message.used()
    if used is not None:
        return used, price.cost(used)
    worst = Usage(input=most_input_tokens(request), output=request.max_tokens)
    return worst, price.most(worst.input, worst.output)


def _text(told: object) -> str | None:
    # Half a character would be read back as another text than was written.
    return told[:_LONGEST_TEXT].encode("utf-8", "replace").decode() if isinstance(told, str) else None
