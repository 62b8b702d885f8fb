"""From a message of the service to an answer with its cost."""

from __future__ import annotations

from search.claude.messages import Answer, Request
from search.claude.prices import Price
from search.claude.stream import Message


def answered(
    request: Request,
    message: Message,
    price: Price,
    *,
    factor: float = 1.0,
    seconds: float = 0.0,
    name: str | None = None,
) -> Answer:
    """The answer that a message gives; factor: the part of the price that is asked; name: the service's own."""
    used = message.used()
    return Answer(
        key=request.key,
        content=message.content,
        stop_reason=message.stop_reason,
        model=message.model or request.model,
        refusal_category=message.refusal_category,
        input_tokens=used.input,
        output_tokens=used.output,
        cached_tokens=used.cache_read,
        cache_write_tokens=used.cache_write_5m + used.cache_write_1h,
        cost_usd=price.cost(used) * factor,
        seconds=seconds,
        api_request_id=name,
        broken=message.broken,
    )
