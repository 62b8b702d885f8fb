"""A trained model's weights as safetensors: packed and unpacked within cells, counted without."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from scaling.loading import RecipeError
from search.sandbox.wire import WireError

HEADER_BYTES = 2**23


def pack(model: nn.Module) -> bytes:
    """Parameters and buffers, shared ones once.

    Raises:
        RecipeError: when the model's state holds something else.
    """
    packed: dict[str, Tensor] = {}
    seen: set[tuple[object, ...]] = set()
    storages: set[int] = set()
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise RecipeError(f"The state of the recipe's model must hold tensors alone, not {type(tensor).__name__}.")
        if _place(tensor) in seen:
            continue
        seen.add(_place(tensor))
        storage = tensor.untyped_storage().data_ptr()
        # A file of weights holds no two views of one storage.
        packed[name] = (tensor.clone() if storage in storages else tensor).cpu().contiguous()
        storages.add(storage)
    return safetensors.save(packed)


def unpack(model: nn.Module, packed: bytes | bytearray) -> None:
    """Give `model`, built anew, the weights that `pack` took; a bytearray is empty then, to hold them in memory once.

    Raises:
        RecipeError: when they are no weights of this model.
    """
    data = bytes(packed)
    if isinstance(packed, bytearray):
        packed.clear()
    try:
        loaded = safetensors.load(data)
        del data
        own = model.state_dict()
        given = {_place(tensor) for name, tensor in own.items() if name in loaded}
        told = model.load_state_dict(loaded, strict=False)
    except Exception as error:
        raise RecipeError(f"The weights do not fit the model that the recipe builds anew: {error}.") from error
    missing = [name for name in told.missing_keys if _place(own[name]) not in given]
    wrong = [*missing, *told.unexpected_keys]
    if wrong:
        raise RecipeError(f"The weights do not fit the model that the recipe builds anew: {', '.join(wrong[:3])}.")


def count(packed: bytearray) -> int:
    """How many numbers are in a file of weights, by its header, which an enemy may have written.

    Raises:
        WireError: when the header does not describe the file.
    """
    length = int.from_bytes(packed[:8], "little")
    if len(packed) < 8 or length > min(HEADER_BYTES, len(packed) - 8):
        raise WireError("It gave weights that are no safetensors file.")
    try:
        header = json.loads(bytes(packed[8 : 8 + length]))
        sizes = [_elements(one, len(packed) - 8 - length) for name, one in header.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise WireError("It gave weights that are no safetensors file.") from None
    return sum(sizes)


def _elements(entry: Any, data_bytes: int) -> int:  # noqa: ANN401 (whatever JSON holds)
    shape = [int(size) for size in entry["shape"]]
    start, end = (int(place) for place in entry["data_offsets"])
    # Before they are multiplied: the product of thousands of long numbers takes for ever.
    if not all(0 <= size <= data_bytes for size in shape) or not 0 <= start <= end <= data_bytes:
        raise ValueError(shape)
    elements = 0 if 0 in shape else 1
    for size in shape:
        elements *= size
        if elements > end - start:
            raise ValueError(shape)
    return elements


def _place(tensor: Tensor) -> tuple[object, ...]:
    """The same for two names of one tensor, and for them alone."""
    if not tensor.numel() or tensor.device == torch.device("meta"):
        return (id(tensor),)
    return (tensor.device, tensor.dtype, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
