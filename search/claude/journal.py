"""What was asked of a model, what it answered and what that cost: on disk before anybody acts on it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from data.schema import KINDS, table
from data.spool import SpoolWriter
from data.store import Store
from data.study import Study
from search.claude.messages import Answer, Request
from search.claude.rows import (
    Batch,
    LostBatch,
    Rejection,
    detail_of,
    lost_batch,
    named,
    open_batch,
    packed,
    recorded_answer,
    unasked,
)

# Words in the place of a stop reason for rows that are no answer.
ASKED, LOST, WITHDRAWN, REJECTED, IN_BATCH = "asked", "lost", "withdrawn", "rejected", "in_batch"
_NO_ANSWER = frozenset({ASKED, WITHDRAWN, REJECTED, IN_BATCH})
OWN_WORDS = frozenset({*_NO_ANSWER, LOST})

_PAGE = 400
_COLUMNS = tuple(KINDS["llm_call"].columns)


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
        return recorded_answer(row)

    def rejection(self, key: str) -> Rejection | None:
        """How the service turned a key's request down."""
        row = self._rows.get(key)
        if row is None or row["stop_reason"] != REJECTED:
            return None
        return Rejection(row["model"], row["error"] or "", bool(detail_of(row).get("too_long")))

    def open_batches(self) -> list[Batch]:
        """The batches that the service has and whose results were not all taken yet."""
        rows = [(name, row) for name, row in self._rows.items() if row["stop_reason"] == IN_BATCH]
        return [open_batch(name, detail_of(row)) for name, row in rows]

    def lost_batches(self) -> list[LostBatch]:
        """The tries to have a batch made that were lost."""
        rows = [row for row in self._rows.values() if row["stop_reason"] == LOST and row["purpose"] == "batch"]
        return [lost for row in rows if (lost := lost_batch(row)) is not None]

    def asked(self, request: Request, worst_usd: float, carried: Mapping[str, Request] | None = None) -> int:
        """Note that a request is about to be sent; returns the number of the try.

        carried: for a group that is to be made a batch, its requests by the ids that are sent.
        """
        number = 1 + sum(one.startswith(f"{request.key}~") for one in self._rows)
        told = {"sent_at": time.time(), "requests": named(carried)} if carried else {}
        self._row(request, ASKED, cost_usd=worst_usd, answer={"try": number, **told})
        return number

    def lost(self, request: Request, number: int, worst_usd: float, reason: str) -> None:
        """Note that a try may have been paid for, and brought nothing."""
        sent = detail_of(self._rows[request.key])
        self._row(request, LOST, key=f"{request.key}~{number}", cost_usd=worst_usd, error=reason, answer=sent)
        self.withdraw(request, reason)

    def withdraw(self, request: Request, reason: str) -> None:
        """Note that a request is not under way any more, and cost nothing itself."""
        self._row(request, WITHDRAWN, cost_usd=0.0, error=reason)

    def reject(self, request: Request, reason: str, *, too_long: bool) -> None:
        """Note that the service does not take a request."""
        self._row(request, REJECTED, cost_usd=0.0, error=reason, answer={"too_long": too_long})

    def in_batch(self, batch: Batch, worst_usd: float) -> None:
        """Note that the service made a batch of requests."""
        told = {"batch_id": batch.batch_id, "requests": named(batch.requests)}
        self._row(batch.group, IN_BATCH, cost_usd=worst_usd, answer=told)

    def take_up(self, lost: LostBatch, batch_id: str) -> Batch:
        """Note that the service did make a batch whose making was lost; returns it."""
        batch = Batch(batch_id, lost.group, lost.requests)
        self.in_batch(batch, lost.worst_usd)
        self.withdraw(lost.row, f"the service has it as batch {batch_id}")
        return batch

    def end_batch(self, batch: Batch, *, lost: bool) -> None:
        """Note that a batch's results were taken; where some were lost, it counts at its worst besides them."""
        worst = self._rows[batch.group.key]["cost_usd"] if lost else 0.0
        reason = f"batch {batch.batch_id} has ended"
        self._row(batch.group, LOST if lost else WITHDRAWN, cost_usd=worst, error=reason)

    def forget(self, key: str) -> None:
        """Forget that the service did not take a key's request; anything else that is known of the key stays."""
        row = self._rows.get(key)
        if row is not None and row["stop_reason"] == REJECTED:
            self.withdraw(unasked({**row, "key": key}), row["error"] or "")

    def record(self, request: Request, answer: Answer) -> Answer:
        """Write an answer down; returns it."""
        told = {field.name: getattr(answer, field.name) for field in fields(answer)}
        columns = {name: told.pop(name) for name in list(told) if name in _COLUMNS}
        self._row(request, columns.pop("stop_reason"), answer=told, **columns)
        return answer

    def close(self) -> None:
        """Close the spool file."""
        if self._writer is not None:
            self._writer.close()

    def _settle(self) -> None:
        """Count requests as lost that were under way when an earlier process ended; close the batches that it read."""
        reason = "its process ended before the answer was there"
        for row in [one for one in self._rows.values() if one["stop_reason"] == ASKED]:
            request = unasked({**row, "key": row["request_id"]})
            self.lost(request, int(detail_of(row).get("try", 1)), row["cost_usd"] or 0.0, reason)
        for batch in self.open_batches():
            answers = [self.answer(request.key) for request in batch.requests.values()]
            if None not in answers:
                self.end_batch(batch, lost=any(answer and answer.stop_reason == LOST for answer in answers))

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
        self._rows[name] = row | {"answer": packed(row["answer"]) if row["answer"] else None}


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
