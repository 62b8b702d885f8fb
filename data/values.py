"""JSON values checked against a column's type."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa


def column(name: str, type_: str, values: list[Any], bad: dict[int, str]) -> pa.Array:
    """One column; rows whose value has the wrong type become null and are entered in `bad`, first reason first."""
    arrow, plain, coerce = _TYPES[type_]
    if {*map(type, values)} <= {plain, type(None)}:
        try:
            return pa.array(values, arrow)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass  # one value out of range or not encodable: found below
    checked = []
    for row, value in enumerate(values):
        try:
            checked.append(None if value is None else coerce(value))
        except (ValueError, OverflowError):
            checked.append(None)
            bad.setdefault(row, f"{name} is not {type_}")
    return pa.array(checked, arrow)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    # Hostile output can hold lone surrogates, which no UTF-8 column can.
    return value.encode("utf-8", "replace").decode()


def _note(value: object) -> str:
    return _text(value if isinstance(value, str) else json.dumps(value))


def _json(value: object) -> str:
    """JSON text: text that is JSON already is kept as it stands, other text becomes a JSON string."""
    if isinstance(value, str) and _is_json(value):
        return _text(value)
    return json.dumps(value, allow_nan=False)


def _no_constant(name: str) -> None:
    raise ValueError(name)


_STRICT_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _is_json(text: str) -> bool:
    try:
        _STRICT_DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _integer(value: object) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or value != int(value)
        or not -(2**63) <= value < 2**63
    ):
        raise ValueError
    return int(value)


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return float(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


# Arrow type, the Python type whose values need no look one by one, and the check of a single value.
_TYPES: dict[str, tuple[Any, type, Callable[[object], object]]] = {
    "text": (pa.string(), str, _text),
    "note": (pa.string(), str, _note),
    "json": (pa.string(), type(None), _json),
    "integer": (pa.int64(), int, _integer),
    "real": (pa.float64(), float, _real),
    "boolean": (pa.bool_(), bool, _boolean),
}
