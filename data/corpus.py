"""Documents to train and to judge on: where they come from, which are the same, and which shard each belongs to."""

import hashlib
import importlib.util
import json
import os
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.apart import folders_apart
from data.errors import InputError

Shares = Mapping[str, float]

# Held out: `search` is read by every trial, `confirm` only by confirmation, `final` once per report.
SHARES: Shares = {"train": 0.94, "search": 0.02, "confirm": 0.02, "final": 0.02}

# Of the corpus "python", where a sandbox must show most of the documents, and hides those that may be held out.
SHOWN_SHARES: Shares = {"train": 1.0}
HIDDEN_SHARES: Shares = {"train": 0.1, "search": 0.25, "confirm": 0.2, "final": 0.45}
HELD_OUT_BYTES = 16_384
"""Of a file that may be held out, so much is a document: a few long files would decide what an arm seems to gain."""

PYTHON_PACKAGES = ("numpy", "scipy", "sympy", "torch")
SUFFIXES = (".txt", ".jsonl", ".parquet")

# A .txt file becomes one document per this many bytes, cut at the next blank line, or at a line's end where none comes.
_TEXT_DOCUMENT_BYTES = 4096
_TEXT_DOCUMENT_LIMIT = 16 * _TEXT_DOCUMENT_BYTES


@dataclass(frozen=True, slots=True)
class Document:
    """One text as UTF-8, never empty, and the shares of the shards that it can come to."""

    content: bytes
    shares: Shares = field(default_factory=lambda: SHARES)

    @property
    def digest(self) -> bytes:
        """16 bytes; equal for equal texts alone."""
        return hashlib.blake2b(self.content, digest_size=16).digest()

    @property
    def shard(self) -> str:
        """The shard that it belongs to, from its content alone: adding or removing others never moves it."""
        place = int.from_bytes(self.digest[:8], "big") / 2**64
        for name, share in self.shares.items():
            if place < share:
                return name
            place -= share
        return "train"


def documents(source: str) -> Iterator[Document]:
    """Documents of a corpus, duplicates and all, in an order that does not change.

    `source` is "python" or the path of a file or folder. Raises InputError as `read_corpus` does.
    """
    return python_corpus() if source == "python" else read_corpus(source)


def python_corpus() -> Iterator[Document]:
    """Every Python file of the standard library and of numpy, scipy, sympy and torch, as installed here (some 130 MB).

    It needs no download and is the same wherever the same versions are installed. Files that are not UTF-8 are left
    out. What a recipe runs on cannot be hidden from it, so documents are held out of some folders of tests alone; these
    come last, so that no text is held out that lies elsewhere too, and of each no more than HELD_OUT_BYTES is taken.
    """
    roots = _python_roots()
    apart = {folder for root in roots for folder in folders_apart(root.parent)}
    found = [(not apart.isdisjoint(path.parents), path) for root in roots for path in _files_below(root, (".py",))]
    for hidden, path in sorted(found, key=lambda one: one[0]):
        content = path.read_bytes()
        if content.strip() and _is_utf8(content):
            yield Document(_whole_lines(content), HIDDEN_SHARES) if hidden else Document(content, SHOWN_SHARES)


def read_corpus(path: str | Path) -> Iterator[Document]:
    """Documents of a .txt, .jsonl (field "text") or .parquet (column "text") file, or of all such files below a folder.

    A .txt file is cut into documents of some 4 KiB at blank lines, so that even a single one can be split into shards.
    Empty documents are left out. Raises InputError that names the file when it is missing, of another type, not UTF-8
    or without the field, and when there is no document at all.
    """
    root = Path(path)
    if not root.exists():
        raise InputError(f'There is no corpus at {root}; give a file or folder of {", ".join(SUFFIXES)}, or "python".')
    files = _files_below(root, SUFFIXES) if root.is_dir() else [root]
    found = False
    for file in files:
        for content in _contents(file):
            if content.strip():
                found = True
                yield Document(content)
    if not found:
        raise InputError(f"The corpus at {root} is empty; it needs {', '.join(SUFFIXES)} files that hold text.")


def rank_of(digest: bytes) -> bytes:
    """What subsets are drawn by; independent of the shard."""
    return digest[8:]


def _python_roots() -> list[Path]:
    roots = [Path(sysconfig.get_paths()["stdlib"])]
    for name in PYTHON_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            roots.append(Path(spec.submodule_search_locations[0]))
    return roots


def _files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files below a folder by relative path; installed packages and hidden files belong to nobody's corpus."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name for name in folders if name not in {"site-packages", "dist-packages", "__pycache__"} and name[0] != "."
        ]
        found += [Path(folder, name) for name in names if name.endswith(suffixes) and name[0] != "."]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _whole_lines(content: bytes) -> bytes:
    """The lines of a file that end within its first HELD_OUT_BYTES; those bytes where its first line is longer."""
    if len(content) <= HELD_OUT_BYTES:
        return content
    return content[: content.rfind(b"\n", 0, HELD_OUT_BYTES) + 1 or HELD_OUT_BYTES]


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _contents(file: Path) -> Iterator[bytes]:
    readers = {".txt": _from_text, ".jsonl": _from_jsonl, ".parquet": _from_parquet}
    if file.suffix not in readers:
        raise InputError(f"{file} is no corpus: its name must end in {', '.join(SUFFIXES)}.")
    try:
        yield from readers[file.suffix](file)
    except UnicodeError:
        raise InputError(f"{file} is not UTF-8; convert it first.") from None
    except OSError as error:
        raise InputError(f"Cannot read {file}: {error.strerror or error}.") from None


def _from_text(file: Path) -> Iterator[bytes]:
    pending: list[bytes] = []
    size = 0
    with file.open("rb") as lines:
        for line in lines:
            line.decode()
            pending.append(line)
            size += len(line)
            if (size >= _TEXT_DOCUMENT_BYTES and not line.strip()) or size >= _TEXT_DOCUMENT_LIMIT:
                yield b"".join(pending)
                pending, size = [], 0
    yield b"".join(pending)


def _from_jsonl(file: Path) -> Iterator[bytes]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            text = line.decode()
            if not text.strip():
                continue
            try:
                record = json.loads(text)
            except ValueError:
                raise InputError(f'{file}, line {number}, is not JSON; each line needs {{"text": "..."}}.') from None
            if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                raise InputError(f'{file}, line {number}, has no text; each line needs {{"text": "..."}}.')
            yield record["text"].encode()


def _from_parquet(file: Path) -> Iterator[bytes]:
    try:
        parquet = pq.ParquetFile(file)
    except pa.ArrowInvalid:
        raise InputError(f"{file} is not a Parquet file.") from None
    types = dict(zip(parquet.schema_arrow.names, parquet.schema_arrow.types, strict=True))
    if "text" not in types or not (pa.types.is_string(types["text"]) or pa.types.is_large_string(types["text"])):
        raise InputError(f'{file} has no column "text" of strings.')
    for batch in parquet.iter_batches(batch_size=1024, columns=["text"]):
        yield from (text.encode() for text in batch.column("text").to_pylist() if text is not None)
