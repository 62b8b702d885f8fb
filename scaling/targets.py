"""Targets of a prediction as they are written on a command line: "params=7e9,tokens=1.4T"."""

import math
import re
from collections.abc import Mapping, Sequence

from data.errors import InputError
from data.run_table import RunTable
from scaling.laws.optimal import flops_per_param_token
from scaling.laws.question import Target

AXES = ("params", "tokens", "flops")
LARGEST = {"params": 1e18, "tokens": 1e18, "flops": 1e36}
MOST_APART = 10.0
"""By what factor C/(N D) of a target may differ from that of the runs before it is taken for a slip."""

_NUMBER = re.compile(r"(\d+\.?\d*(?:e[+-]?\d+)?)([kmbgt]?)", re.IGNORECASE)
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_EXAMPLE = "write it like params=7e9,tokens=1.4e11 or params=7B,flops=6e21"

Sizes = Mapping[str, float]


def parse_target(text: str) -> dict[str, float]:
    """Two or three of params, tokens and flops, from "params=7B,tokens=1.4e11": numbers, or with k, M, B or T.

    Raises:
        InputError: one sentence, for whatever cannot be read as a target.
    """
    sizes = parse_sizes(text)
    if len(sizes) < 2:
        raise InputError(f"--target {text!r} needs two of {', '.join(AXES)}; {_EXAMPLE}.")
    return sizes


def parse_sizes(text: str) -> dict[str, float]:
    """One, two or three of params, tokens and flops, as in `parse_target`; raises InputError for what is neither."""
    sizes: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (one.strip() for one in part.partition("="))
        if not equals or name not in AXES:
            raise InputError(
                f"--target {text!r} is wrong at {part.strip()!r}: the names are {', '.join(AXES)}; {_EXAMPLE}."
            )
        if name in sizes:
            raise InputError(f"--target {text!r} gives {name} twice; {_EXAMPLE}.")
        sizes[name] = _number(text, name, number)
    return sizes


def complete(sizes: Sequence[Sizes], table: RunTable) -> list[Target]:
    """The targets, what each lacks derived by the runs' own median flops per param and token.

    Raises:
        InputError: where a target gives all three, and they hang together otherwise than in the runs by 10x.
    """
    if not sizes:
        return []
    runs = (column[table.train] for column in (table.params, table.tokens, table.flops))
    ratio = flops_per_param_token(*runs)
    return [_complete(one, ratio) for one in sizes]


def _complete(sizes: Sizes, ratio: float) -> Target:
    if len(sizes) == len(AXES):
        own = sizes["flops"] / sizes["params"] / sizes["tokens"]
        if not 1 / MOST_APART <= own / ratio <= MOST_APART:
            raise InputError(
                f"The target has {own:.3g} flops per param and token where the runs have {ratio:.3g}; give two of "
                f"{', '.join(AXES)}, and the third follows."
            )
        return Target(**sizes)
    params, tokens, flops = (sizes.get(name) for name in AXES)
    if flops is None:
        assert params is not None and tokens is not None
        return Target(params, tokens, ratio * params * tokens)
    if tokens is None:
        assert params is not None
        return Target(params, flops / params / ratio, flops)
    return Target(flops / tokens / ratio, tokens, flops)


def _number(text: str, name: str, number: str) -> float:
    read = _NUMBER.fullmatch(number)
    value = float(read[1]) * _SCALES[read[2].lower()] if read else math.nan
    if not 0 < value <= LARGEST[name]:
        range_ = f"above 0 and up to {LARGEST[name]:g}"
        raise InputError(f"--target {text!r} has no number {range_} for {name}, but {number!r}; {_EXAMPLE}.")
    return value
