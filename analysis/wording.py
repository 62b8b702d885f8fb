"""Numbers as people read them: percent, parameters, FLOPs, seconds, money, p values."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MISSING = "–"
AT_LEAST = "at least"
"""The `bound` of a saving whose arm did not meet the baseline's loss within the horizons that it was run to."""
FINE_INTERVAL = 0.1  # two decimals would hide an interval of lnS that is narrower
LARGE_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None, *, sign: bool = True) -> str:
    """Return 0.213 as '21 %', 0.0431 as '4.3 %'; `sign=False` leaves the percent sign out."""
    if share is None:
        return MISSING
    value = 100.0 * share
    text = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"
    text = "0" if text in {"0.0", "-0.0"} else text.removesuffix(".0").replace("-", "−")
    return f"{text} %" if sign else text


def percent_interval(low: float | None, high: float | None) -> str:
    """Return (0.12, 0.29) as '12 to 29 %'."""
    return MISSING if low is None or high is None else f"{percent(low, sign=False)} to {percent(high)}"


def saving_text(saving: float | None, low: float | None, high: float | None) -> str:
    """Return a saving with its interval: '21 % (12 to 29 %)'."""
    if saving is None:
        return MISSING
    return percent(saving) if low is None or high is None else f"{percent(saving)} ({percent_interval(low, high)})"


def bounded(row: Mapping[str, Any]) -> bool:
    """Whether a row of `savings` holds a bound alone; rows of older studies have no such column, or none in it."""
    return row.get("bound") == AT_LEAST


def measured_text(row: Mapping[str, Any]) -> str:
    """Return a row of `savings` in words: '82 % (69 to 89 %)', 'at least 87.5 %', 'loses at least 12 %'.

    A bound is rounded to the side on which it claims less.
    """
    low, high = row["saving_low"], row["saving_high"]
    if not bounded(row):
        return saving_text(row["saving"], low, high)
    if low is not None:
        return f"{AT_LEAST} {_tenths(math.floor(1000 * low + 1e-6))}"
    if high is None:
        return MISSING
    if high >= 0:
        return f"at most {_tenths(math.ceil(1000 * high - 1e-6))}"
    return f"loses {AT_LEAST} {_tenths(math.floor(-1000 * high + 1e-6))}"


def _tenths(tenths: int) -> str:
    return f"{tenths / 10:.1f}".removesuffix(".0").replace("-", "−") + " %"


def least_saving(row: Mapping[str, Any]) -> float | None:
    """Return the number that a row of `savings` is ordered by: the saving, or the bound where nothing else is known."""
    values = (row["saving_low"], row["saving_high"]) if bounded(row) else (row["saving"],)
    return next((float(value) for value in values if value is not None), None)


def change_text(change: float | None, low: float | None, high: float | None) -> str:
    """Return a difference of lnS with its interval: '−0.12 [−0.30, 0.06]', '−0.003 [−0.012, 0.006]'."""
    if change is None:
        return MISSING
    if low is None or high is None:
        return _places(change, 3)
    places = 3 if high - low < FINE_INTERVAL else 2
    return f"{_places(change, places)} [{_places(low, places)}, {_places(high, places)}]"


def _places(value: float, places: int) -> str:
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")  # adding 0 makes -0.0 a plain 0


def params_text(params: float | None) -> str:
    """Return a count of parameters with two digits that count: '28k', '0.4M', '1.2B'."""
    if params is None:
        return MISSING
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if params >= (1e5 if unit == 1e6 else unit):
            return f"{float(f'{params / unit:.2g}'):g}{letter}"
    return f"{params:.0f}"


def large(value: float | None, unit: str) -> str:
    """Return a large amount with an SI prefix: 8.1e12, 'FLOP' -> '8.1 TFLOP'."""
    if value is None:
        return MISSING
    for size, prefix in LARGE_UNITS:
        if value >= size:
            return f"{digits(value / size)} {prefix}{unit}"
    return f"{digits(value)} {unit}"


def tokens_text(tokens: float | None) -> str:
    """Return a count of tokens: '2.1M', '6.6M', '1.3B'."""
    if tokens is None:
        return MISSING
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if tokens >= unit:
            return f"{digits(tokens / unit)}{letter}"
    return f"{tokens:.0f}"


def duration(seconds: float | None) -> str:
    """Return seconds as '41 s', '12 min' or '3.4 h'."""
    if seconds is None:
        return MISSING
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{digits(seconds / unit)} {name}"
    return f"{digits(seconds)} s"


def digits(value: float) -> str:
    """Return a positive number with about three digits and no exponent: '0.043', '8.1', '127', '12,400'."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{float(f'{value:.2g}'):g}"


def number(value: object) -> str:
    """Return one value of a table cell with four digits at most."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−")
    return str(value)


def count_of(amount: int, singular: str, plural: str | None = None) -> str:
    """Return '1 finding', '5 findings'."""
    return f"{amount} {singular if amount == 1 else plural or singular + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Return 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def shortened(text: str, length: int) -> str:
    """Return the text on one line, cut with an ellipsis where it is longer than `length`."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"
