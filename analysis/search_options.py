"""What `scaleproof search` is told over a study's settings, looked at before anything is done."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from analysis.wording import listed
from data.errors import InputError
from data.study import Study
from search.claude.settings import ClaudeSettings
from search.settings import Overrides, SearchSettings


def check_options(study: Study, given: Overrides) -> None:
    """Raise InputError that names the option where a value is wrong, or would be of no use to the search's proposer."""
    _check(SearchSettings, given.search, {"trials": 1})
    _check(ClaudeSettings, given.claude, {})
    search = SearchSettings.read({**study.settings.get("search", {}), **_present(given.search)})
    unused = [_option(name) for name in _present(given.claude)]
    if unused and not search.asks_claude:
        raise InputError(f"{listed(unused)} {'needs' if len(unused) == 1 else 'need'} --proposer claude or mixed.")


def _check(settings: type[BaseModel], given: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Take each value by itself; `others` are what the settings cannot do without."""
    for name, value in _present(given).items():
        try:
            settings.model_validate({**others, name: value})
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise InputError(f"{_option(name)} {value}: {said[0].lower()}{said[1:]}.") from error


def _present(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _option(name: str) -> str:
    return "--model" if name == "models" else f"--{name.replace('_', '-')}"
