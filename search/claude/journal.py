"""What was asked of a model, what it answered and what that cost: on disk before anybody acts on it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from data.schema import KINDS, table
from data.spool import SpoolWriter
from data.store import Store
from data.study import Study
from search.claude.messages import Answer, Request

# Words in the place of a stop reason for rows that are no answer.
ASKED, LOST, WITHDRAWN, REJECTED, IN_BATCH = "asked", "lost", "withdrawn", "rejected", "in_batch"
_NO_ANSWER = frozenset({ASKED, WITHDRAWN, REJECTED, IN_BATCH})

_PAGE = 400
_NAMED = ("purpose", "model", "exchange", "slug")
_COLUMNS = tuple(KINDS["llm_call"].columns)


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


class Journal:
    """The `llm_calls` of one study: read at the start, appended to ever after.

    A request's row is written before it is sent, at the most that it can cost, and again when it was answered; so a
    request that was under way when its process was killed counts as lost, at its worst. Rows of lost tries are called
    `<key>~1`, `<key>~2` and so on. Not for several threads at a time.
    """

    def __init__(self, study: Study, writer: Callable[[], SpoolWriter] | None = None) -> None:
        """Read what the study holds; `writer` opens the spool file for new rows, when there are any."""
        self._open = writer or study.writer
        self._writer: SpoolWriter | None = None
        self._rows: dict[str, dict[str, Any]] = {}
        self._spent_usd = 0.0
        written: dict[str, float] = {}
        for row in _recorded(study):
            if row["written_at"] >= written.get(row["request_id"], 0.0):
                written[row["request_id"]] = row["written_at"]
                self._keep({name: row[name] for name in _COLUMNS})
        self._settle()

    @property
    def spent_usd(self) -> float:
        """What all requests cost, those counted that may have been paid for nothing; any thread may look."""
        return self._spent_usd

    def answer(self, key: str) -> Answer | None:
        """The recorded answer of a key."""
        row = self._rows.get(key)
        if row is None or row["stop_reason"] in _NO_ANSWER:
            return None
        return _answer(row)

    def rejection(self, key: str) -> Rejection | None:
        """How the service turned a key's request down."""
        row = self._rows.get(key)
        if row is None or row["stop_reason"] != REJECTED:
            return None
        return Rejection(row["model"], row["error"] or "", bool(_detail(row).get("too_long")))

    def open_batches(self) -> list[Batch]:
        """The batches that the service has and whose results were not all taken yet."""
        rows = [(name, row) for name, row in self._rows.items() if row["stop_reason"] == IN_BATCH]
        return [_batch(name, _detail(row)) for name, row in rows]

    def asked(self, request: Request, worst_usd: float) -> int:
        """Note that a request is about to be sent; returns the number of the try."""
        number = 1 + sum(one.startswith(f"{request.key}~") for one in self._rows)
        self._row(request, ASKED, cost_usd=worst_usd, answer={"try": number})
        return number

    def lost(self, request: Request, number: int, worst_usd: float, reason: str) -> None:
        """Note that a try may have been paid for, and brought nothing."""
        self._row(request, LOST, key=f"{request.key}~{number}", cost_usd=worst_usd, error=reason)
        self.withdraw(request, reason)

    def withdraw(self, request: Request, reason: str) -> None:
        """Note that a request is not under way any more, and cost nothing itself."""
        self._row(request, WITHDRAWN, cost_usd=0.0, error=reason)

    def reject(self, request: Request, reason: str, *, too_long: bool) -> None:
        """Note that the service does not take a request."""
        self._row(request, REJECTED, cost_usd=0.0, error=reason, answer={"too_long": too_long})

    def in_batch(self, batch: Batch, worst_usd: float) -> None:
        """Note that the service made a batch of requests."""
        told = {
            one: {name: getattr(request, name) for name in _NAMED} | {"key": request.key}
            for one, request in batch.requests.items()
        }
        self._row(batch.group, IN_BATCH, cost_usd=worst_usd, answer={"batch_id": batch.batch_id, "requests": told})

    def end_batch(self, batch: Batch, *, lost: bool) -> None:
        """Note that a batch's results were taken; where some were lost, it counts at its worst besides them."""
        worst = self._rows[batch.group.key]["cost_usd"] if lost else 0.0
        reason = f"batch {batch.batch_id} has ended"
        self._row(batch.group, LOST if lost else WITHDRAWN, cost_usd=worst, error=reason)

    def record(self, request: Request, answer: Answer) -> Answer:
        """Write an answer down; returns it."""
        told = asdict(answer)
        columns = {name: told.pop(name) for name in list(told) if name in _COLUMNS}
        columns["answer"] = {**told, "api_request_id": columns.pop("request_id")}
        model, stop_reason = columns.pop("model"), columns.pop("stop_reason")
        self._row(request, stop_reason, model=model, **columns)
        return answer

    def close(self) -> None:
        """Close the spool file."""
        if self._writer is not None:
            self._writer.close()

    def _settle(self) -> None:
        """Count requests as lost that were under way when an earlier process ended."""
        reason = "its process ended before the answer was there"
        for row in [one for one in self._rows.values() if one["stop_reason"] == ASKED]:
            request = _unasked({**row, "key": row["request_id"]})
            self.lost(request, int(_detail(row).get("try", 1)), row["cost_usd"] or 0.0, reason)

    def _row(self, request: Request, stop_reason: str, *, key: str | None = None, **columns: object) -> None:
        name = key or request.key
        row: dict[str, Any] = {
            "request_id": name,
            "exchange": request.exchange,
            "slug": request.slug,
            "purpose": request.purpose,
            "model": request.model,
            "stop_reason": stop_reason,
            **columns,
        }
        if self._writer is None:
            self._writer = self._open()
        self._writer.append("llm_call", **row)
        self._writer.flush()
        answer = row.get("answer")
        self._keep({column: row.get(column) for column in _COLUMNS} | {"answer": answer and json.dumps(answer)})

    def _keep(self, row: dict[str, Any]) -> None:
        name = row["request_id"]
        before = self._rows.get(name, {}).get("cost_usd")
        self._spent_usd += (row["cost_usd"] or 0.0) - (before or 0.0)
        # Answers stay packed until they are wanted: a long search leaves thousands.
        self._rows[name] = row | {"answer": zlib.compress(row["answer"].encode()) if row["answer"] else None}


def _recorded(study: Study) -> Iterator[dict[str, Any]]:
    """Every record of a request, a page at a time: answers of a long search would fill the memory at once."""
    store, after = Store(study.path, patience_seconds=60), {"file": "", "line": 0}
    columns = ", ".join(("spool_file", "spool_line", "written_at", *_COLUMNS))
    page = (
        f"select {columns} from {table('llm_call')} where (spool_file, spool_line) > ($file, $line) "
        f"order by spool_file, spool_line limit {_PAGE}"
    )
    while rows := store.rows(page, after):
        yield from rows
        after = {"file": rows[-1]["spool_file"], "line": rows[-1]["spool_line"]}


def _detail(row: dict[str, Any]) -> dict[str, Any]:
    return json.loads(zlib.decompress(row["answer"])) if row["answer"] else {}


def _batch(key: str, detail: dict[str, Any]) -> Batch:
    requests = {one: _unasked(told) for one, told in detail["requests"].items()}
    return Batch(detail["batch_id"], _unasked({"key": key, "purpose": "batch"}), requests)


def _unasked(told: dict[str, Any]) -> Request:
    key, purpose, model = (told.get(name) or "" for name in ("key", "purpose", "model"))
    exchange, slug = told.get("exchange"), told.get("slug")
    return Request(key=key, purpose=purpose, model=model, messages=[], max_tokens=1, exchange=exchange, slug=slug)


def _answer(row: dict[str, Any]) -> Answer:
    told = _detail(row)
    return Answer(
        key=row["request_id"],
        content=told.get("content", []),
        stop_reason=row["stop_reason"],
        model=row["model"],
        refusal_category=row["refusal_category"],
        input_tokens=row["input_tokens"] or 0,
        output_tokens=row["output_tokens"] or 0,
        cached_tokens=row["cached_tokens"] or 0,
        cache_write_tokens=row["cache_write_tokens"] or 0,
        cost_usd=row["cost_usd"] or 0.0,
        seconds=row["seconds"] or 0.0,
        request_id=told.get("api_request_id"),
        error=row["error"] or "",
        broken=told.get("broken", {}),
    )
