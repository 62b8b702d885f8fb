"""The SDK's client, each of its tries watched, and its errors in this project's words."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic
import httpx2

from search.claude.backoff import TroubleError
from search.claude.deadline import Limits, in_time
from search.claude.errors import ContextFullError, KeyRefusedError, RequestRefusedError, StoppedError
from search.claude.flight import Flight
from search.claude.key import secret, with_key
from search.claude.messages import Request
from search.claude.stream import Message

if TYPE_CHECKING:
    from anthropic import APIRequest, APIResponse, CallNext

T = TypeVar("T")

TIMEOUT_SECONDS = 600.0
# The SDK waits in a sleep that nothing can end; what the service asks for beyond this is waited for outside.
_LONGEST_SLEEP_SECONDS = 5.0

_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_TOO_LONG = re.compile(
    r"prompt is too long|context (limit|window|length)|input is too long|too many (input )?tokens", re.I
)
_NO_CREDIT = re.compile(
    r"credit balance|billing|spend(ing)? limit|usage limit|regain access|organization (has been |is )?disabled", re.I
)
_BUSY = {
    "rate_limit_error": "too many requests (429)",
    "overloaded_error": "the service is overloaded (529)",
    "timeout_error": "the service gave up on the request (408)",
    "api_error": "the service failed (500)",
}
_STATUS = {408: "timeout_error", 429: "rate_limit_error", 529: "overloaded_error"}


class Wire:
    """The way to the service. Tries that fail raise TroubleError, what no further try can mend a ScaleproofError."""

    def __init__(
        self,
        stopping: threading.Event,
        base_url: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        limits: Limits,
        retries: int = 2,
    ) -> None:
        """Open it; raises KeyRefusedError when there is no key.

        stopping: once set, an answer under way has to come soon. timeout_seconds: of silence. retries: how often the
        SDK tries again by itself.
        """
        self.client = with_key(
            base_url=base_url, timeout=timeout_seconds, max_retries=retries, middleware=[self._watched]
        )
        self._stopping, self._limits = stopping, limits
        self._flight: Flight | None = None

    def stream(self, request: Request, flight: Flight) -> tuple[Message, str | None]:
        """The whole answer to a request, and the service's own name for it; raises StoppedError beside the rest."""
        return self.tracked(flight, lambda: self._stream(request))

    def tracked(self, flight: Flight, ask: Callable[[], T]) -> T:
        """Like `call`, for what costs money: the flight is told of each try, and of an answer that did not arrive."""
        self._flight = flight
        try:
            return self.call(ask)
        except (Exception, StoppedError) as error:
            flight.lose(str(error))
            raise
        finally:
            self._flight = None

    def count(self, request: Request) -> int:
        """The input tokens of a request as the service counts them; costs nothing."""
        ask: Callable[..., Any] = self.client.messages.count_tokens
        return self.call(lambda: int(ask(**request.prompt()).input_tokens))

    def call(self, ask: Callable[[], T]) -> T:
        """What a call of the SDK gives, its errors translated and free of the key."""
        try:
            return ask()
        except anthropic.APIStatusError as error:
            raise self._refused(error) from None
        except anthropic.APIConnectionError as error:
            raise TroubleError(_broken(error)) from None
        except anthropic.APIError as error:
            raise TroubleError(_strange(error)) from None
        except (anthropic.AnthropicError, RecursionError) as error:
            raise self._unsent(error) from None
        except httpx2.HTTPError as error:
            raise TroubleError(f"the answer broke off ({type(error).__name__})") from None
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise TroubleError(_strange(error)) from None

    def hide(self, text: str) -> str:
        """The text without the key."""
        key = secret(self.client)
        return text.replace(key, "(key)") if key else text

    def close(self) -> None:
        """Close its connections."""
        self.client.close()

    def _stream(self, request: Request) -> tuple[Message, str | None]:
        create: Callable[..., Any] = self.client.messages.create
        message = Message()
        with (
            create(**request.body(), stream=True) as stream,
            closing(in_time(stream, self._stopping, self._limits)) as events,
        ):
            name = stream.response.headers.get("request-id")
            for event in events:
                message.add(event.to_dict(warnings=False))
        if not message.whole:
            raise TroubleError("the answer ended early")
        return message, name

    def _watched(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        flight = self._flight
        if flight is None:
            return _patient(self._sent(request, call_next))
        self._begin(flight)
        try:
            response = self._sent(request, call_next)
        except anthropic.APIConnectionError as error:
            reached = not isinstance(error.__cause__, _NOT_SENT)
            (flight.lose if reached else flight.fail)(_broken(error))
            raise
        except Exception as error:
            flight.fail(str(error))
            raise
        if response.status_code == 504:
            flight.lose("the service timed out (504)")
        elif response.status_code >= 400:
            flight.fail(f"status {response.status_code}")
        return _patient(response)

    def _sent(self, request: APIRequest, call_next: CallNext) -> APIResponse[Any]:
        try:
            return call_next(request)
        except anthropic.AnthropicError:
            raise
        except Exception as error:
            # What an answer held may be no text that can be sent back.
            raise self._unsent(error) from None

    def _unsent(self, error: Exception) -> RequestRefusedError:
        return RequestRefusedError(f"The SDK does not send the request: {self.hide(str(error))}")

    def _begin(self, flight: Flight) -> None:
        # It may ask for a count, which is no try of the request.
        self._flight = None
        try:
            flight.begin()
        finally:
            self._flight = flight

    def _refused(self, error: anthropic.APIStatusError) -> Exception:
        status, told = error.status_code, self.hide(_message(error))
        if (busy := _busy(status, error.type)) is not None:
            return TroubleError(busy, _retry_after(error.response.headers))
        if status in {401, 403}:
            return KeyRefusedError(f"The service refuses the key ({status}: {told}); set a key that it takes.")
        if status == 402 or _NO_CREDIT.search(told):
            return KeyRefusedError(f"The account may not spend ({status}: {told}); see to its credit, then run again.")
        if status == 413 or _TOO_LONG.search(told):
            return ContextFullError(f"The request is too long for the model ({status}: {told}).")
        return RequestRefusedError(f"The service does not take the request ({status}: {told}).")


def _busy(status: int, kind: str | None) -> str | None:
    # An error amid a stream comes with the status of its beginning, 200; its type says what it is.
    if status < 400:
        return _BUSY.get(kind or "")
    if status in _STATUS:
        return _BUSY[_STATUS[status]]
    if status == 409:
        return "the service is busy with the same request (409)"
    return f"the service failed ({status})" if status >= 500 else None


def _patient(response: APIResponse[Any]) -> APIResponse[Any]:
    status = response.status_code
    wanted = _retry_after(response.headers)
    if status >= 400 and wanted is not None and wanted > _LONGEST_SLEEP_SECONDS:
        busy = _busy(status, None)
        if busy is not None:
            raise TroubleError(busy, wanted)
    return response


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


def _broken(error: anthropic.APIConnectionError) -> str:
    if isinstance(error, anthropic.APITimeoutError):
        return "no answer in time"
    if isinstance(error.__cause__, _NOT_SENT):
        return "the service cannot be reached"
    return "the connection broke"


def _strange(error: Exception) -> str:
    return f"what came is no answer of the service ({type(error).__name__})"


def _message(error: anthropic.APIStatusError) -> str:
    return " ".join((error.api_message or f"status {error.status_code}").split())[:500]
