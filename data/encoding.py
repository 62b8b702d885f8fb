"""From text to token ids: bytes by default, or byte-pair encoding trained on the train shard."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from data.errors import InputError

Tokens = npt.NDArray[np.unsignedinteger[Any]]

# Documents of so many bytes are encoded in one call, which is what the tokenizer's own threads share.
_BATCH_BYTES = 4 << 20


class Encoding(Protocol):
    """Turns documents into ids; the last id of the vocabulary ends each document."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, the end of a document included."""
        ...

    def encode(self, contents: Iterable[bytes]) -> Iterator[Tokens]:
        """One array of ids per document, its end included."""
        ...


def dtype_of(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest of the two integer types that hold every id."""
    return np.uint16 if vocab_size <= 2**16 else np.uint32


class ByteEncoding:
    """Each byte is its own id, 256 ends a document; nothing to train and nothing that two arms could differ in."""

    vocab_size = 257

    def encode(self, contents: Iterable[bytes]) -> Iterator[Tokens]:
        """One array of ids per document, its end included."""
        for content in contents:
            ids = np.full(len(content) + 1, 256, np.uint16)
            ids[:-1] = np.frombuffer(content, np.uint8)
            yield ids


class BpeEncoding:
    """Byte-level byte-pair encoding; the end of a document is no text, so that no text can fake it."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 (an optional library without types)
        """Wrap a trained `tokenizers.Tokenizer`."""
        self._tokenizer = tokenizer

    @classmethod
    def train(cls, contents: Iterable[bytes], vocab_size: int) -> "BpeEncoding":
        """Train on documents; fewer than `vocab_size` ids come out of a small corpus."""
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator((content.decode() for content in contents), trainer)
        return cls(tokenizer)

    @property
    def vocab_size(self) -> int:
        """Number of ids, the end of a document included."""
        return int(self._tokenizer.get_vocab_size()) + 1

    def encode(self, contents: Iterable[bytes]) -> Iterator[Tokens]:
        """One array of ids per document, its end included."""
        end = self.vocab_size - 1
        for batch in _batches(contents):
            for encoded in self._tokenizer.encode_batch_fast([content.decode() for content in batch]):
                yield np.array([*encoded.ids, end], dtype_of(self.vocab_size))

    def save(self, path: Path) -> None:
        """Keep the tokenizer, as the `tokenizers` library reads it."""
        self._tokenizer.save(str(path))


def require_bpe() -> None:
    """Raise InputError when the optional library is not installed."""
    _library()


def _library() -> Any:  # noqa: ANN401 (an optional library without types)
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            'Byte-pair encoding needs the tokenizers library: pip install "scaleproof[bpe]", or use bytes.'
        ) from None
    return tokenizers


def _batches(contents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for content in contents:
        batch.append(content)
        size += len(content)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
