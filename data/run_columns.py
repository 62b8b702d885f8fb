"""Which columns of a table are ours: names mapped, the count of parameters chosen, what is missing said."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from data.errors import InputError
from data.run_checks import AXES, listed

ParamsCount = Literal["as given", "with embeddings", "without embeddings"]
ComparedOn = Literal["tokens", "flops", "seconds"]

OPTIONAL = ("params_non_embedding", "split", "status", "tokenizer", "bytes_per_token", "val_bpb")
NAMES = (*AXES, "loss", *OPTIONAL)

ARM_OPTIONAL = (
    "seed",
    "seconds_per_token",
    "learning_rate",
    "tuning_trials",
    "status",
    "corpus",
    "tokenizer",
    "bytes_per_token",
)
ARM_NAMES = ("arm", "loss", *AXES, *ARM_OPTIONAL)


def choose_columns(
    source: str, there: Sequence[str], mapped: Mapping[str, str], wanted: ParamsCount | None
) -> tuple[dict[str, str], ParamsCount]:
    """Our names of the columns to read, each with the table's own, and what `params` counts.

    `there` are the table's columns, `mapped` our names with the table's where these differ, `wanted` what `params` is
    to count. `params_non_embedding` is read as `params` where that is wanted, or where there is nothing else.

    Raises:
        InputError: for an unknown name, a column that is not there or used twice, or too few columns.
    """
    require_count(source, wanted)
    own = own_columns(source, there, mapped, NAMES)
    bare = own.pop("params_non_embedding", None)
    count = wanted or ("without embeddings" if bare is not None and "params" not in own else "as given")
    if count == "without embeddings":
        if bare is None:
            raise InputError(
                f"{source} has no column params_non_embedding, which params_count 'without embeddings' reads; map "
                "params_non_embedding to the column that holds it."
            )
        own["params"] = bare
    if count == "with embeddings" and "params" not in own:
        raise InputError(f"{source} has no column params, which params_count 'with embeddings' reads; map it.")
    _require_column(source, "loss", own, there)
    require_two(source, (axis for axis in AXES if axis in own), f"give two, or map them to some of {listed(there)}")
    _require_apart(source, own, (*AXES, "loss"))
    return own, count


def choose_arm_columns(
    source: str, there: Sequence[str], mapped: Mapping[str, str], axis: ComparedOn
) -> dict[str, str]:
    """Our names of the columns of a table of arms, each with the table's own; `there` and `mapped` as above.

    Needed are `arm`, `loss` and two of params, tokens and flops; on axis 'flops' the column flops does alone, and axis
    'seconds' needs seconds_per_token besides.

    Raises:
        InputError: for an unknown axis or name, a column that is not there or used twice, or too few columns.
    """
    if axis not in get_args(ComparedOn):
        raise InputError(f"{source}: axis {axis!r} is unknown; use {listed(get_args(ComparedOn))}.")
    own = own_columns(source, there, mapped, ARM_NAMES)
    for name in ("arm", "loss"):
        _require_column(source, name, own, there)
    if axis != "flops" or "flops" not in own:
        require_two(source, (one for one in AXES if one in own), f"give two, or map them to some of {listed(there)}")
    if axis == "seconds":
        _require_column(source, "seconds_per_token", own, there)
    _require_apart(source, own, ("arm", "loss", *AXES, "seed", "seconds_per_token"))
    return own


def require_count(source: str, count: str | None) -> None:
    """Raise InputError unless `count` is a ParamsCount, or None."""
    known = get_args(ParamsCount)
    if count not in (None, *known):
        raise InputError(f"{source}: params_count {count!r} is unknown; use {listed(known)}.")


def require_two(source: str, known: Iterable[str], remedy: str) -> None:
    """Raise InputError unless two of params, tokens and flops are `known`."""
    there = list(known)
    if len(there) < 2:
        only = f"only {there[0]}" if there else "none"
        raise InputError(f"{source} has {only} of {', '.join(AXES)}, where two are needed; {remedy}.")


def _require_column(source: str, name: str, own: Mapping[str, str], there: Sequence[str]) -> None:
    if name not in own:
        raise InputError(f"{source} has no column {name}; map it to one of {listed(there)}.")


def _require_apart(source: str, own: Mapping[str, str], names: Iterable[str]) -> None:
    """Raise InputError where two of `names` are read from one column."""
    columns = [own[name] for name in names if name in own]
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise InputError(f"{source}: {listed(twice)} is mapped to twice; map each name to a column of its own.")


def own_columns(source: str, there: Sequence[str], mapped: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Those of our `names` that the table has columns for, each with the table's.

    Raises:
        InputError: for a name that is not ours, and for a column that is not there.
    """
    if unknown := sorted(set(mapped) - set(names)):
        raise InputError(f"{source}: {listed(unknown)} cannot be mapped; the names are {', '.join(names)}.")
    for name, column in mapped.items():
        if column not in there:
            raise InputError(f"{source} has no column {column!r}, to which {name} is mapped; it has {listed(there)}.")
    own = {name: mapped.get(name, name) for name in names}
    return {name: column for name, column in own.items() if column in there}


def mapped_columns(given: Sequence[str], example: str = "params=Model Size") -> dict[str, str]:
    """Our names with the table's, from texts like `example`; raises InputError for what is not like that."""
    columns: dict[str, str] = {}
    for text in given:
        name, equals, column = text.partition("=")
        if not equals or not name.strip() or not column:
            raise InputError(f"--column {text!r} is not NAME=COLUMN; write it like --column {example!r}.")
        if name.strip() in columns:
            raise InputError(f"--column gives {name.strip()} twice; map each name to one column.")
        columns[name.strip()] = column
    return columns
