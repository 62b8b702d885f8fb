"""What looks wrong in a run table and yet may be meant: one sentence each, for the user to judge."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from data.run_checks import MOST_NAMED, Array, Mask, Origin, listed, number

FLOPS_FACTOR = 2.0
"""FLOPs and 6 N D may lie so far apart before it is said: attention and embeddings explain as much, units do not."""
SMALLEST_COUNT = 1e3
LOW_LOSS, HIGH_LOSS = 0.1, 20.0
BYTES_TOLERANCE = 0.01


def warnings_of(origin: Origin, columns: Mapping[str, Array], train: Mask, *, flops_given: bool) -> list[str]:
    """Warn of duplicates, of units, and of losses that are hardly nats per token.

    `columns` holds params, tokens, flops and loss, each (m,) and above 0; `flops_given`: flops are not derived.
    """
    said = [_counted_twice(columns, train), _in_both_parts(columns, train)]
    return [*(one for one in said if one), *unit_warnings(origin, columns, flops_given=flops_given)]


def unit_warnings(origin: Origin, columns: Mapping[str, Array], *, flops_given: bool) -> list[str]:
    """Warn of units, and of losses that are hardly nats per token.

    `columns` holds loss and what is known of params, tokens and flops, each (m,) and above 0; `flops_given`: all three
    are known, none of them derived.
    """
    said = [_flops_apart(origin, columns) if flops_given else None]
    said += [_small_counts(origin, name, columns[name]) for name in ("params", "tokens") if name in columns]
    said.append(_odd_losses(origin, columns["loss"]))
    return [one for one in said if one]


def _counted_twice(columns: Mapping[str, Array], train: Mask) -> str | None:
    rows = np.column_stack([*columns.values(), train])
    repeats = len(rows) - len(np.unique(rows, axis=0))
    if not repeats:
        return None
    return (
        f"{_rows(repeats, 'repeats', 'repeat')} another one in every number, so that a run counts twice; leave them "
        "out unless they are runs of their own."
    )


def _in_both_parts(columns: Mapping[str, Array], train: Mask) -> str | None:
    if train.all():
        return None
    rows = np.column_stack([*columns.values()])
    parts = [np.unique(rows[part], axis=0) for part in (train, ~train)]
    shared = len(parts[0]) + len(parts[1]) - len(np.unique(np.concatenate(parts), axis=0))
    if not shared:
        return None
    return f"{_rows(shared, 'stands', 'stand')} both in train and in test, which is then no test; keep one of each."


def _flops_apart(origin: Origin, columns: Mapping[str, Array]) -> str | None:
    ln_ratio = np.log(columns["flops"]) - math.log(6) - np.log(columns["params"]) - np.log(columns["tokens"])
    apart = np.abs(ln_ratio) > math.log(FLOPS_FACTOR)
    if not apart.any():
        return None
    with np.errstate(over="ignore"):
        middle = float(np.exp(np.median(ln_ratio[apart])))
    return (
        f"{origin.column('flops')} differs from 6 x params x tokens by more than a factor of {FLOPS_FACTOR:g} in "
        f"{origin.places(apart)} (by {middle:.3g} in the median of these); check the units and what is counted."
    )


def _small_counts(origin: Origin, name: str, values: Array) -> str | None:
    small = values < SMALLEST_COUNT
    if not small.any():
        return None
    beside = "" if small.all() else f", while other rows reach {values.max():.3g}"
    return (
        f"{origin.column(name)} is below {SMALLEST_COUNT:,.0f} in {origin.places(small)}{beside}; give plain counts "
        "if these are thousands, millions or billions."
    )


def _odd_losses(origin: Origin, loss: Array) -> str | None:
    odd = (loss < LOW_LOSS) | (loss > HIGH_LOSS)
    if not odd.any():
        return None
    return (
        f"{origin.column('loss')} is outside {LOW_LOSS:g} to {HIGH_LOSS:g} in {origin.places(odd)}, which is rare for "
        "nats per token; take the natural logarithm if these are perplexities."
    )


def _rows(count: int, one: str, many: str) -> str:
    return f"{count:,} row {one}" if count == 1 else f"{count:,} rows {many}"


def mixed_tokenisers(cells: Mapping[str, Sequence[object]], loss_column: str, bpb_column: str | None) -> list[str]:
    """Warn of runs of different tokenisers, whose losses per token cannot be compared; losses stay as they are.

    `cells` are the optional columns `tokenizer` and `bytes_per_token` (m,); `loss_column` and `bpb_column` the names of
    the columns of losses and, where there is one, bits per byte = loss / (ln 2 x bytes per token).
    """
    names = sorted({str(cell) for cell in cells.get("tokenizer", ()) if cell not in (None, "")})
    widths = np.array([number(cell) for cell in cells.get("bytes_per_token", ())])
    widths = widths[np.isfinite(widths) & (widths > 0)]
    if len(names) > 1:
        mixed = f"Tokenisers are mixed ({listed(names, MOST_NAMED)})"
    elif not names and len(widths) and widths.max() > widths.min() * (1 + BYTES_TOLERANCE):
        mixed = f"Tokenisers are mixed (bytes_per_token {widths.min():.3g} to {widths.max():.3g})"
    else:
        return []
    if loss_column == bpb_column:
        return [f"{mixed}, so a token is not the same amount of text in every row; laws in tokens mix them."]
    if bpb_column is not None:
        how = f"map loss to the column {bpb_column!r}"
    elif len(widths):
        how = "convert them to bits per byte, loss / (ln 2 x bytes_per_token)"
    else:
        how = "fit one tokeniser at a time, or convert them to bits per byte"
    return [f"{mixed}, so losses per token are not comparable; {how}."]
