"""Tables of settings files, checked against their models: every key that is wrong is named in one sentence."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from data.errors import InputError

Settings = TypeVar("Settings", bound=BaseModel)


def read_table(name: str, settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Check the table `name` of a settings file.

    Raises InputError that names every key that is wrong, and for an unknown one what may have been meant.
    """
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_problem(one["loc"], one["type"], one["msg"], settings) for one in error.errors())
        raise InputError(f"[{name}] in the settings is wrong: {problems}.") from error


def _problem(where: tuple[int | str, ...], kind: str, message: str, settings: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        known = list(_model_at(settings, where[:-1]).model_fields)
        near = get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        return f"'{key}' is not a setting ({hint})"
    if kind == "missing":
        return f"'{key}' is missing"
    said = message.removeprefix("Value error, ")
    return f"'{key}': {said}" if key else said


def _model_at(settings: type[BaseModel], where: tuple[int | str, ...]) -> type[BaseModel]:
    """The model of a table within the table, at the path `where`."""
    for part in where:
        field = settings.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        settings = inner
    return settings
