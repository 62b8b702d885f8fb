"""A study's tokens: made once from the corpus, kept as memory-mapped arrays with a manifest of what they are."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data.corpus import SHARES
from data.encoding import Tokens, dtype_of, require_bpe
from data.errors import InputError
from data.locks import exclusive, refused, sync_folder
from data.shards import shard_file, write_shards

_MANIFEST = "manifest.json"
_FORMAT = 2

Accept = Callable[[dict[str, Any]], None]


class CorpusSettings(BaseModel):
    """What to train on: the `[corpus]` table of a study's settings.

    `source`: "python", or the path of a .txt, .jsonl or .parquet file or of a folder of them. `tokenizer`: "bytes" (257
    ids) or "bpe" (at most `vocab_size` ids, trained on the train shard). `max_bytes`: draw a subset of whole documents,
    by content hash and of this size at most, each shard up to its share of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = "python"
    tokenizer: Literal["bytes", "bpe"] = "bytes"
    vocab_size: int = Field(4096, ge=512, le=1 << 20)
    max_bytes: int | None = Field(None, gt=0)

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Self:
        """Check settings from a file; raises InputError that names the entry."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InputError(f"Corpus setting {name!r}: {first['msg']}.") from None

    def identity(self) -> dict[str, Any]:
        """The settings that decide the tokens, for comparison."""
        return self.model_dump(exclude={"vocab_size"} if self.tokenizer == "bytes" else None)


@dataclass(frozen=True, slots=True)
class TokenSet:
    """Tokens of one corpus, by shard, and the manifest that says what they are."""

    path: Path
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open prepared tokens; reads the manifest alone. Raises InputError when there are none."""
        folder = Path(path)
        try:
            manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(f"There are no tokens at {folder}; they are made by `scaleproof init`.") from None
        except (OSError, ValueError) as error:
            raise InputError(f"Cannot read {folder / _MANIFEST}: {error}; delete the folder to make it anew.") from None
        if manifest["format"] != _FORMAT:
            raise InputError(
                f"The tokens at {folder} were made by another scaleproof; delete the folder to make it anew."
            )
        return cls(folder, manifest)

    def shard(self, name: str) -> Tokens:
        """Ids of one shard (tokens,), memory-mapped and read-only; each document is closed by the last id."""
        if name not in SHARES:
            raise InputError(f"There is no shard {name!r}; the shards are {', '.join(SHARES)}.")
        dtype = dtype_of(self.vocab_size)
        if not self.tokens(name):
            return np.zeros(0, dtype)
        return np.memmap(shard_file(self.path, name), dtype, "r", shape=(self.tokens(name),))

    def tokens(self, name: str) -> int:
        """Number of tokens of one shard."""
        return int(self.manifest["shards"][name]["tokens"])

    def bytes_per_token(self, name: str) -> float:
        """Bytes of text per token of one shard, ends of documents counted as tokens.

        Bits per byte = nats per token / (ln 2 * bytes per token). Raises InputError for an empty shard.
        """
        require_size(self.manifest, name, 1)
        return float(self.manifest["shards"][name]["bytes"]) / self.tokens(name)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return int(self.manifest["vocab_size"])

    @property
    def digest(self) -> str:
        """Equal for equal tokens alone."""
        return str(self.manifest["digest"])


def require_size(manifest: dict[str, Any], shard: str, tokens_needed: int) -> None:
    """Raise InputError when a shard holds fewer tokens than are needed, saying how many there are."""
    there = int(manifest["shards"][shard]["tokens"])
    if there < tokens_needed:
        raise InputError(
            f"The corpus is too small: its {shard} shard holds {there:,} tokens and {tokens_needed:,} are needed;"
            " give more text, raise max_bytes, or shorten the runs."
        )


def prepare(folder: Path, settings: CorpusSettings, accept: Accept = lambda manifest: None) -> TokenSet:
    """Make the tokens of a study in `folder`, or open them when they are there.

    They are written aside and renamed as a whole: `folder` holds all of them or nothing. `accept` is given the manifest
    and may raise: nothing is kept then, so that a corpus which was too small is read anew once it has grown.

    Raises InputError for a corpus that cannot be read, a missing tokenizer library, or a folder whose tokens were made
    with other settings.
    """
    if not (folder / _MANIFEST).exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        busy = "Another process ({pid}) has been preparing this study's tokens for too long; end it, then run again."
        with exclusive(folder.parent / f".{folder.name}.lock", 600.0, busy):
            if not (folder / _MANIFEST).exists():
                _make(folder, settings, accept)
    made = TokenSet.open(folder)
    if made.manifest["settings"] != settings.identity():
        raise InputError(
            f"The tokens at {folder} were made with other corpus settings; runs on both could not be compared,"
            " so make a new study."
        )
    accept(made.manifest)
    return made


def _make(folder: Path, settings: CorpusSettings, accept: Accept) -> None:
    if settings.tokenizer == "bpe":
        require_bpe()
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        made = write_shards(aside, settings.source, settings.tokenizer, settings.vocab_size, settings.max_bytes)
        manifest = {"format": _FORMAT, "settings": settings.identity(), **made}
        accept(manifest)
        _write_synced(aside / _MANIFEST, json.dumps(manifest, indent=2).encode())
        sync_folder(aside)
        aside.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise refused(f"write tokens to {folder}", error) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
