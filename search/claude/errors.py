"""How asking a model can end without an answer."""

from data.errors import InputError, ScaleproofError
from scaling.stopping import StoppedError

__all__ = [
    "BudgetSpentError",
    "ContextFullError",
    "KeyRefusedError",
    "RequestRefusedError",
    "ServiceDownError",
    "StoppedError",
]


class KeyRefusedError(InputError):
    """There is no key, or the service does not take it, or its account may not spend."""


class BudgetSpentError(ScaleproofError):
    """The next request could pass the limit on money; it was not sent."""


class ServiceDownError(ScaleproofError):
    """The service gave no answer in as many tries as were allowed."""


class RequestRefusedError(ScaleproofError):
    """The service does not take the request as it stands; asking again gives the same."""


class ContextFullError(RequestRefusedError):
    """The request is too long for the model."""
