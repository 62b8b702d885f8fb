"""Numbers as people read them: percent, parameters, FLOPs, seconds, money, p values."""

from collections.abc import Sequence

MISSING = "–"
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
