"""What the service of the Messages protocol does with a request, whatever way it came."""

import json
import random
import re
import threading
from datetime import UTC, datetime
from typing import Any

from messages_replies import Reply, Researcher, error, error_body
from messages_rules import KNOWN, Cache, WrongRequestError, check, count

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Service:
    """The state of the service: its script, prompts seen and batches."""

    def __init__(
        self, script: Researcher, models: frozenset[str] | None, context_tokens: int, batch_polls: int
    ) -> None:
        """models: those it knows, None for any."""
        self.script, self.models, self.context_tokens = script, models, context_tokens
        self.batch_polls = batch_polls
        self.batches: dict[str, dict[str, Any]] = {}
        self.cache = Cache()
        self.lock = threading.Lock()
        self.number = 0

    def next_id(self, kind: str) -> str:
        """A name that was not given before."""
        with self.lock:
            self.number += 1
            return f"{kind}_{self.number:06d}"

    def answer(self, body: dict[str, Any]) -> tuple[Reply, dict[str, Any]]:
        """What the script says to a request, and the usage of it."""
        try:
            check(body, KNOWN)
        except WrongRequestError as wrong:
            return error(400, str(wrong)), {}
        if self.models is not None and body["model"] not in self.models:
            return error(404, f"model: {body['model']}"), {}
        tokens = count(body)
        if tokens > self.context_tokens:
            return error(400, f"prompt is too long: {tokens} tokens > {self.context_tokens} maximum"), {}
        with self.lock:
            reply = self.script(body)
            usage = {} if reply.status or reply.drop == "before" else self.cache.usage(body)
        written = -(-len(json.dumps(reply.content)) // 4) if reply.content else 1
        usage["output_tokens"] = written if reply.output_tokens is None else reply.output_tokens
        return reply, usage

    def message(self, body: dict[str, Any], reply: Reply, usage: dict[str, Any]) -> dict[str, Any]:
        """The answer in the shape of the protocol."""
        content = [{name: part for name, part in block.items() if name != "raw"} for block in reply.content]
        for block in content:
            if block["type"] == "tool_use":
                block.setdefault("id", self.next_id("toolu"))
                block.setdefault("input", {})
        refused = reply.stop_reason == "refusal"
        return {
            "id": self.next_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": reply.stop_reason,
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": reply.category, "explanation": None} if refused else None,
            "usage": usage,
        }

    def make_batch(self, wanted: list[dict[str, Any]], url: str) -> dict[str, Any]:
        """A batch of requests, answered at once and shown later; raises WrongRequestError."""
        names = [one["custom_id"] for one in wanted]
        if not names or len(set(names)) < len(names) or not all(map(_CUSTOM_ID.fullmatch, names)):
            raise WrongRequestError("requests: custom_id should be unique and match '^[a-zA-Z0-9_-]{1,64}$'")
        name = self.next_id("msgbatch")
        results = [{"custom_id": one["custom_id"], "result": self._result(one["params"])} for one in wanted]
        random.Random(name).shuffle(results)
        made = datetime.now(UTC).isoformat()
        self.batches[name] = {"results": results, "looks": 0, "canceled": False, "created_at": made}
        return self._batch_state(name, url)

    def look_at_batch(self, name: str, url: str) -> dict[str, Any]:
        """How a batch stands; after some looks it has ended."""
        self.batches[name]["looks"] += 1
        return self._batch_state(name, url)

    def list_batches(self, url: str) -> dict[str, Any]:
        """Every batch, the newest first, on one page."""
        data = [self._batch_state(name, url) for name in reversed(self.batches)]
        return {"data": data, "has_more": False, "first_id": None, "last_id": None}

    def cancel_batch(self, name: str, url: str) -> dict[str, Any]:
        """End a batch without results."""
        batch = self.batches[name]
        batch["canceled"] = True
        batch["results"] = [{"custom_id": one["custom_id"], "result": {"type": "canceled"}} for one in batch["results"]]
        return self._batch_state(name, url)

    def _result(self, params: dict[str, Any]) -> dict[str, Any]:
        reply, usage = self.answer(params)
        if reply.batch is not None:
            return {"type": reply.batch}
        if reply.status is not None:
            return {"type": "errored", "error": error_body(reply, "req_of_a_batch")}
        message = self.message(params, reply, {**usage, "service_tier": "batch"})
        return {"type": "succeeded", "message": message}

    def _batch_state(self, name: str, url: str) -> dict[str, Any]:
        batch = self.batches[name]
        ended = batch["looks"] >= self.batch_polls
        kinds = [one["result"]["type"] for one in batch["results"]] if ended else []
        tallies = {kind: kinds.count(kind) for kind in ("succeeded", "errored", "canceled", "expired")}
        return {
            "id": name,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch["canceled"] else "in_progress",
            "request_counts": {"processing": 0 if ended else len(batch["results"]), **tallies},
            "created_at": batch["created_at"],
            "expires_at": batch["created_at"],
            "ended_at": batch["created_at"] if ended else None,
            "results_url": f"{url}/v1/messages/batches/{name}/results" if ended else None,
        }
