"""A corpus encoded and written by shard: each document once, all of them or a drawn subset."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.corpus import SHARES, documents, rank_of
from data.encoding import BpeEncoding, ByteEncoding, Encoding, Tokens


def shard_file(folder: Path, shard: str) -> Path:
    """Where the ids of a shard are."""
    return folder / f"{shard}.bin"


def write_shards(folder: Path, source: str, tokenizer: str, vocab_size: int, max_bytes: int | None) -> dict[str, Any]:
    """Encode a corpus into one file of ids per shard, synced; returns what they hold, for the manifest.

    The arguments are those of `CorpusSettings`. Memory holds a digest of each document and a few MB of text. Raises
    InputError as `data.corpus.documents` does, OSError when the disk refuses.
    """
    selection = _Selection(source)
    if max_bytes is not None:
        selection.drawn = _draw(source, max_bytes)
    encoding = _encoding(selection, tokenizer, vocab_size)
    if isinstance(encoding, BpeEncoding):
        encoding.save(folder / "tokenizer.json")
    shards = _write(folder, selection, encoding)
    return {
        "vocab_size": encoding.vocab_size,
        "digest": _digest([shards, encoding.vocab_size]),
        "shards": shards,
        "duplicates_dropped": selection.duplicates,
    }


@dataclass(slots=True)
class _Selection:
    """The documents to take, each once: all, or those whose digests were drawn."""

    source: str
    drawn: set[bytes] | None = None
    duplicates: int = 0

    def __iter__(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Shard, digest and content of each document taken."""
        seen: set[bytes] = set()
        self.duplicates = 0
        for document in documents(self.source):
            digest = document.digest
            if digest in seen:
                self.duplicates += 1
                continue
            seen.add(digest)
            if self.drawn is None or digest in self.drawn:
                yield document.shard, digest, document.content


def _draw(source: str, max_bytes: int) -> set[bytes]:
    """Whole documents by rank, each shard up to its share of `max_bytes`, so that small subsets keep held-out text."""
    found = {digest: (shard, len(content)) for shard, digest, content in _Selection(source)}
    left = {shard: int(share * max_bytes) for shard, share in SHARES.items()}
    drawn: set[bytes] = set()
    for digest in sorted(found, key=rank_of):
        shard, size = found[digest]
        if size <= left[shard]:
            drawn.add(digest)
            left[shard] -= size
    return drawn


def _encoding(selection: Iterable[tuple[str, bytes, bytes]], tokenizer: str, vocab_size: int) -> Encoding:
    if tokenizer == "bytes":
        return ByteEncoding()
    return BpeEncoding.train((content for shard, _, content in selection if shard == "train"), vocab_size)


@dataclass(slots=True)
class _Tally:
    """What a shard holds so far."""

    documents: int = 0
    bytes: int = 0
    tokens: int = 0
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def add(self, size: int, ids: Tokens) -> None:
        self.documents += 1
        self.bytes += size
        self.tokens += len(ids)
        self.digest.update(ids.tobytes())

    def entry(self) -> dict[str, Any]:
        digest = self.digest.hexdigest()
        return {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens, "digest": digest}


def _write(folder: Path, selection: _Selection, encoding: Encoding) -> dict[str, Any]:
    tallies = {shard: _Tally() for shard in SHARES}
    files = {shard: shard_file(folder, shard).open("wb") for shard in SHARES}
    pending: deque[tuple[str, int]] = deque()
    try:
        for ids in encoding.encode(_noted(selection, pending)):
            shard, size = pending.popleft()
            tallies[shard].add(size, ids)
            files[shard].write(ids.tobytes())
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in files.values():
            file.close()
    return {shard: tally.entry() for shard, tally in tallies.items()}


def _noted(selection: _Selection, pending: deque[tuple[str, int]]) -> Iterator[bytes]:
    """Contents, each noted in `pending` as it passes: an encoding may take in several before it gives one back."""
    for shard, _, content in selection:
        pending.append((shard, len(content)))
        yield content


def _digest(content: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()
