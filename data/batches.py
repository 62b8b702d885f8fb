"""Which tokens a step reads: a pure function of (seed, step), whatever the number of devices or a resume."""

import numpy as np
import numpy.typing as npt

from data.encoding import Tokens
from data.errors import InputError

# Keeps this stream apart from any other that is keyed by the same seed.
_STREAM = 0x6261_7463_6865_7321


MAX_DOCUMENTS = 256
"""Of held-out text are told apart: more would say no more of how much an arm's gain depends on the choice of it."""


def train_batch(
    tokens: Tokens, *, seed: int, step: int, batch_size: int, context: int, device_index: int = 0, devices: int = 1
) -> npt.NDArray[np.int64]:
    """One device's part of a step's batch: windows of the shard, (batch_size / devices, context + 1) ids.

    Windows start anywhere, drawn with replacement. The parts of all devices, one after the other, are the same global
    batch for any number of devices. Raises InputError when the shard is shorter than a window, or the batch cannot be
    divided among the devices.
    """
    if batch_size % devices:
        raise InputError(
            f"A batch of {batch_size} sequences cannot be divided among {devices} devices; change one of them."
        )
    starts = _starts(seed, step, batch_size, _places(tokens, context))
    part = batch_size // devices
    return _windows(tokens, starts[device_index * part : (device_index + 1) * part], context)


def evaluation_sequences(tokens: Tokens, count: int, context: int) -> npt.NDArray[np.int64]:
    """Windows (count, context + 1) spread evenly over a held-out shard; no id is predicted twice.

    Raises InputError when the shard holds too few tokens.
    """
    needed = count * context + 1
    if len(tokens) < needed:
        raise InputError(
            f"The held-out shard holds {len(tokens):,} tokens and {count} sequences of {context} need {needed:,};"
            " give more text, raise max_bytes, or evaluate on less."
        )
    return _windows(tokens, _evaluation_starts(tokens, count, context), context)


def evaluation_documents(tokens: Tokens, count: int, context: int, end_id: int) -> npt.NDArray[np.intp]:
    """The document (count,) in which each window of `evaluation_sequences` begins, numbered from 0.

    `end_id` ends each document. Where there are more than MAX_DOCUMENTS, neighbours go by one number.
    """
    ends = np.flatnonzero(tokens == end_id)
    found = np.searchsorted(ends, _evaluation_starts(tokens, count, context))
    return found * MAX_DOCUMENTS // max(len(ends) + 1, MAX_DOCUMENTS)


def _evaluation_starts(tokens: Tokens, count: int, context: int) -> npt.NDArray[np.int64]:
    last = len(tokens) - context - 1
    return np.arange(count, dtype=np.int64) * last // max(count - 1, 1)


def _starts(seed: int, step: int, count: int, places: int) -> npt.NDArray[np.int64]:
    """`count` starts in [0, places). Philox (Salmon et al. 2011) is counter-based: any step is reached at once.

    Raw words, not Generator.integers, because only they stay the same from one numpy to the next.
    """
    words = np.random.Philox(key=[seed, _STREAM], counter=[0, 0, step, 0]).random_raw(count)
    uniform = (words >> np.uint64(11)) * 2.0**-53
    return (uniform * places).astype(np.int64)


def _places(tokens: Tokens, context: int) -> int:
    places = len(tokens) - context
    if places < 1:
        raise InputError(
            f"The corpus is too small: the shard holds {len(tokens):,} tokens and one sequence needs {context + 1:,}."
        )
    return places


def _windows(tokens: Tokens, starts: npt.NDArray[np.int64], context: int) -> npt.NDArray[np.int64]:
    return np.stack([tokens[start : start + context + 1] for start in starts]).astype(np.int64)
