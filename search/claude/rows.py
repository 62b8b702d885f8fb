"""Rows of the journal, read as what they stand for."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search.claude.messages import Answer, Request, usable

_NAMED = ("purpose", "model", "exchange", "slug", "max_tokens")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A request that the service does not take: its model, the reason, and whether it was too long."""

    model: str
    reason: str
    too_long: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that the service has: its id there, the row that stands for it, its requests by their ids there.

    Read back from the journal, the requests hold what names them and nothing of what was asked.
    """

    batch_id: str
    group: Request
    requests: dict[str, Request]


@dataclass(frozen=True, slots=True)
class LostBatch:
    """A try to have a batch made of which nobody knows whether the service did: it counts at its worst.

    row: names the try in the journal. requests: by the ids that were sent. sent_at: Unix seconds.
    """

    row: Request
    group: Request
    requests: dict[str, Request]
    sent_at: float
    worst_usd: float


def packed(detail: str) -> bytes:
    """The answer column of a row as it is kept in memory: answers of a long search would fill it."""
    return zlib.compress(detail.encode())


def detail_of(row: dict[str, Any]) -> dict[str, Any]:
    """The answer column of a row, whose text was packed."""
    return json.loads(zlib.decompress(row["answer"])) if row["answer"] else {}


def named(requests: Mapping[str, Request]) -> dict[str, Any]:
    """What names the requests of a group, as plain JSON by the ids that they are sent under."""
    return {
        one: {name: getattr(request, name) for name in _NAMED} | {"key": request.key}
        for one, request in requests.items()
    }


def open_batch(key: str, detail: dict[str, Any]) -> Batch:
    """The batch that the row of a group stands for."""
    return Batch(detail["batch_id"], unasked({"key": key, "purpose": "batch"}), _requests(detail))


def lost_batch(row: dict[str, Any]) -> LostBatch | None:
    """The try of a group that the row of a lost one stands for; None where it is not a group's."""
    key, detail = row["request_id"], detail_of(row)
    if "requests" not in detail:
        return None
    group = unasked({"key": key.rpartition("~")[0], "purpose": "batch"})
    return LostBatch(unasked({**row, "key": key}), group, _requests(detail), detail["sent_at"], row["cost_usd"] or 0.0)


def _requests(detail: dict[str, Any]) -> dict[str, Request]:
    """What `named` gave, read back."""
    return {one: unasked(told) for one, told in detail["requests"].items()}


def unasked(told: dict[str, Any]) -> Request:
    """A request as far as a row names it."""
    key, purpose, model = (told.get(name) or "" for name in ("key", "purpose", "model"))
    exchange, slug, most = told.get("exchange"), told.get("slug"), told.get("max_tokens") or 1
    return Request(key=key, purpose=purpose, model=model, messages=[], max_tokens=most, exchange=exchange, slug=slug)


def recorded_answer(row: dict[str, Any]) -> Answer:
    """The answer that a row stands for."""
    told = detail_of(row)
    return Answer(
        key=row["request_id"],
        content=usable(told.get("content")),
        stop_reason=row["stop_reason"],
        model=row["model"],
        refusal_category=row["refusal_category"],
        input_tokens=row["input_tokens"] or 0,
        output_tokens=row["output_tokens"] or 0,
        cached_tokens=row["cached_tokens"] or 0,
        cache_write_tokens=row["cache_write_tokens"] or 0,
        cost_usd=row["cost_usd"] or 0.0,
        seconds=row["seconds"] or 0.0,
        api_request_id=row["api_request_id"] or told.get("api_request_id"),
        error=row["error"] or "",
        broken=told.get("broken", {}),
    )
