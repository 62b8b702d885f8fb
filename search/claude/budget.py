"""The limit on money: a request that could pass it is not sent."""

from __future__ import annotations

import json
from collections.abc import Callable

from search.claude.errors import BudgetSpentError, RequestRefusedError
from search.claude.messages import Request
from search.claude.prices import Prices

# What the service puts before a prompt with tools, in tokens, with room.
_UNSEEN_TOKENS = 2000
# The service calls its count an estimate.
_COUNT_ERROR = 1.05


def most_input_tokens(request: Request) -> int:
    """An upper bound of a prompt's tokens without asking anybody: no token is less than a byte."""
    return len(json.dumps(request.prompt(), ensure_ascii=False).encode("utf-8", "replace")) + _UNSEEN_TOKENS


class Budget:
    """What may still be spent. count: asks the service for a request's input tokens, free of charge."""

    def __init__(self, prices: Prices, max_usd: float | None, count: Callable[[Request], int]) -> None:
        """max_usd: the most that all requests together may cost in US dollars; None for no limit."""
        self._prices = prices
        self._max_usd = max_usd
        self._count = count

    def require(self, requests: list[Request], spent_usd: float, *, factor: float = 1.0) -> float:
        """The most in US dollars that requests can cost together, each at `factor` of its price.

        Raises BudgetSpentError when that could pass the limit, InputError for a model without a known price.
        """
        worst = factor * sum(self._most(request, most_input_tokens(request)) for request in requests)
        if self._max_usd is None or spent_usd + worst <= self._max_usd:
            return worst
        worst = factor * sum(self._most(request, self._exact(request)) for request in requests)
        if spent_usd + worst <= self._max_usd:
            return worst
        raise BudgetSpentError(
            f"{spent_usd:.2f} of {self._max_usd:.2f} dollars are spent, and the next request could cost {worst:.2f};"
            " give a higher --max-usd to go on."
        )

    def _most(self, request: Request, input_tokens: int) -> float:
        return self._prices.of(request.model).most(input_tokens, request.max_tokens)

    def _exact(self, request: Request) -> int:
        try:
            counted = int(self._count(request) * _COUNT_ERROR) + 1
        except RequestRefusedError:
            # Not every service counts; the bound by bytes stands.
            return most_input_tokens(request)
        return min(counted, most_input_tokens(request))
