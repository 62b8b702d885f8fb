"""One more chance for a proposal that could not be tried: the error, quoted, and the edit as it was."""

from __future__ import annotations

import threading
from dataclasses import replace

from scaling.edits import Edit, Recipe
from search.claude.calls import Answer, BudgetSpentError, Caller, Request, RequestRefusedError
from search.claude.parse import InvalidCallError, proposal, read_proposal
from search.claude.prompt import Prompt
from search.claude.settings import ClaudeSettings
from search.proposals import Failure, Proposal

# An edit that does not apply and one that cannot be built are one round together; a crash is another.
_ROUNDS = {"edit": "build", "preflight": "build", "crash": "crash"}


class Repairs:
    """Asks for repairs, each round of a proposal once; safe for several threads."""

    def __init__(self, prompt: Prompt, baseline: Recipe, caller: Caller, settings: ClaudeSettings) -> None:
        """What an exchange asks with as well, so that the cached prefix is the same."""
        self._prompt, self._baseline, self._caller, self._settings = prompt, baseline, caller, settings
        self._lock = threading.Lock()
        self._broken: dict[str, Edit] = {}

    def repair(self, broken: Proposal, failure: Failure) -> Proposal | None:
        """A proposal of the same slug, or None when its round is over or no answer came.

        An answer that mends nothing is told by the broken proposal at what it has cost with it. One that there is no
        money for is given up for good, so that a later command with more money does not decide otherwise.

        Raises what Caller.ask raises, requests that the service does not take apart.
        """
        key = f"r.{broken.slug}.{_ROUNDS[failure.kind]}"
        with self._lock:
            if self._broken.setdefault(key, broken.edit) != broken.edit:
                return None
        request = self._request(key, broken, failure)
        try:
            answer = self._caller.ask(request)
        except RequestRefusedError:
            return None
        except BudgetSpentError:
            self._caller.hold_back(request, "no money was left to repair it")
            return None
        mended = self._read(answer, broken)
        given = broken if mended is None or mended.edit == broken.edit else mended
        return replace(given, cost_usd=broken.cost_usd + answer.cost_usd, exchange=broken.exchange)

    def _request(self, key: str, broken: Proposal, failure: Failure) -> Request:
        told = self._prompt.repair(broken, failure)
        return Request(
            key=key,
            purpose="repair",
            model=self._settings.models[0],
            system=self._prompt.system,
            tools=self._prompt.tools,
            messages=[{"role": "user", "content": told}],
            max_tokens=self._settings.max_tokens,
            effort=self._settings.efforts[0],
            exchange=broken.exchange,
            slug=broken.slug,
        )

    def _read(self, answer: Answer, broken: Proposal) -> Proposal | None:
        if answer.stop_reason == "refusal":
            return None
        for call in answer.tool_calls():
            if call["name"] == "propose" and call["id"] not in answer.broken:
                try:
                    given = read_proposal(call["input"], self._prompt.categories)
                except InvalidCallError:
                    continue
                return proposal(given, broken.slug, self._baseline)
        return None
