"""How an exchange was begun, written down before its first request: gone through again, it takes the same course."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from data.spool import SpoolWriter
from data.store import Store
from data.study import Study
from search.claude.settings import ClaudeSettings, Names

_PREFIX = "exchange:"


class Course(BaseModel):
    """What decides how an exchange, or the exchanges of a batch, go on from their answers.

    count: the proposals that were asked for, of all exchanges of the batch. The others are settings of that name.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    models: Names
    turns: int
    proposals_per_request: int
    batch: bool
    requests_per_batch: int

    @classmethod
    def of(cls, settings: ClaudeSettings, count: int) -> Self:
        """The course of exchanges that begin with these settings."""
        return cls(count=count, **settings.model_dump(include=set(cls.model_fields)))

    @property
    def most(self) -> int:
        """The most proposals to ask for at a time."""
        return self.proposals_per_request * (self.requests_per_batch if self.batch else 1)

    def over(self, settings: ClaudeSettings) -> ClaudeSettings:
        """The settings with those of the course in their place."""
        return settings.model_copy(update=self.model_dump(exclude={"count"}))

    def shares(self) -> list[int]:
        """The proposals that each exchange asks for."""
        each = self.proposals_per_request
        asked = self.count if self.batch else min(each, self.count)
        return [min(each, asked - start) for start in range(0, asked, each)]

    def keys(self, first: int) -> list[str]:
        """The keys of all requests that the exchanges may come to, the first of them being number `first`."""
        most = (len(self.models) + 1) * self.turns
        names = [exchange_name(first + place) for place in range(len(self.shares()))]
        return [f"{name}.t{place}" for name in names for place in range(1, most + 1)]


class Courses:
    """The courses of a study's exchanges, by the number of the first of those that go together."""

    def __init__(self, study: Study, met: Callable[[Sequence[str]], bool]) -> None:
        """met: whether the service answered the request of any of these keys, turned it down, or has it in a batch."""
        self._study, self._met = study, met
        self._writer: SpoolWriter | None = None
        known = "select name, value from facts where starts_with(name, $prefix)"
        rows = Store(study.path, patience_seconds=60).rows(known, {"prefix": _PREFIX})
        self._known = {row["name"]: Course.model_validate_json(json.loads(row["value"])) for row in rows}

    def begun(self, first: int) -> Course | None:
        """How an exchange was begun, where anything has come of it; else it begins anew."""
        course = self._known.get(_fact(first))
        return course if course is not None and self._met(course.keys(first)) else None

    def begin(self, first: int, course: Course) -> None:
        """Write down how an exchange is begun; one that was begun before anybody wrote that down stays without."""
        if self._known.get(_fact(first)) == course or self._met(course.keys(first)):
            return
        if self._writer is None:
            self._writer = self._study.writer()
        # Text, of which the report tells how often each came.
        self._writer.append("fact", name=_fact(first), value=json.dumps(course.model_dump_json()))
        self._writer.flush()
        self._known[_fact(first)] = course

    def close(self) -> None:
        """Close the spool file."""
        if self._writer is not None:
            self._writer.close()


def exchange_name(number: int) -> str:
    """The name of an exchange in the store."""
    return f"e{number:04d}"


def _fact(first: int) -> str:
    return f"{_PREFIX}{first}"
