"""What the researcher's questions are answered with: SQL over copies, and lines of recipes."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from data.errors import ScaleproofError
from data.store import Store
from data.study import Study
from scaling.edits import Recipe
from search.claude.parse import InvalidCallError, one_line
from search.claude.query import Window
from search.claude.quoting import quoted
from search.claude.settings import QueryLimits
from search.claude.tools import QueryInput, ReadRecipeInput, problem

RECIPE_CHARACTERS = 16_000
_NAMED = "SELECT recipe_hash FROM trials WHERE trial_id = $id OR regexp_replace(trial_id, '-[0-9a-f]{6}$', '') = $id"


class Library:
    """Answers the questions of one exchange; used in a `with` block."""

    def __init__(self, study: Study, baseline: Recipe, limits: QueryLimits) -> None:
        """Nothing is read before it is asked for."""
        self._study, self._baseline = study, baseline
        self._store = Store(study.path, patience_seconds=60)
        self._window = Window(self._store, limits)

    def __enter__(self) -> Self:
        """Use it in a `with` block, which ends the process behind the queries."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process behind the queries."""
        self._window.close()

    def answer(self, question: QueryInput | ReadRecipeInput) -> str:
        """The answer to a question; where there is none, a sentence that says why."""
        try:
            if isinstance(question, QueryInput):
                return self._window.ask(question.sql)
            return self._lines(question)
        except ScaleproofError:
            return "The results cannot be read just now; go on without them."

    def _lines(self, wanted: ReadRecipeInput) -> str:
        text = self._baseline.source if wanted.recipe == "baseline" else self._tried(wanted.recipe)
        if not text:
            return f"There is no recipe of a trial {quoted(wanted.recipe, 60)}; ask the view trials for ids."
        lines = text.splitlines(keepends=True)
        shown = "".join(lines[wanted.first_line - 1 : wanted.last_line])
        cut = "" if len(shown) <= RECIPE_CHARACTERS else f" (cut after {RECIPE_CHARACTERS} characters)"
        last = min(wanted.last_line, len(lines))
        return f"Lines {wanted.first_line} to {last} of {len(lines)}{cut}:\n{shown[:RECIPE_CHARACTERS]}"

    def _tried(self, name: str) -> str:
        rows = self._store.rows(_NAMED, {"id": name})
        path = self._study.recipes / f"{rows[0]['recipe_hash']}.py" if rows else None
        if path is None or not path.is_file():
            return ""
        return path.read_text(encoding="utf-8")


def check_question(name: str, given: Any) -> QueryInput | ReadRecipeInput:  # noqa: ANN401 (whatever a model sent)
    """The input of a call of `query` or `read_recipe`, checked.

    Raises InvalidCallError for input that is not valid, and for a tool that does not exist.
    """
    try:
        if name == "query":
            return QueryInput.model_validate(given)
        if name == "read_recipe":
            return ReadRecipeInput.model_validate(given)
    except ValidationError as error:
        raise InvalidCallError(problem(error)) from None
    raise InvalidCallError(f"There is no tool {one_line(name, 40)!r}.")
