"""Corpora: what is read, what is refused by name, and shards that never move."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpus import SHARES, Document, documents, python_corpus, read_corpus
from data.errors import InputError


def texts(path: Path) -> list[str]:
    return [document.content.decode() for document in read_corpus(path)]


def test_each_format_gives_its_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "b.jsonl").write_text('{"text": "zwö"}\n\n{"text": "three", "more": 1}\n{"text": " "}\n')
    pq.write_table(pa.table({"id": [1, 2, 3], "text": ["four", None, "five"]}), tmp_path / "c.parquet")
    (tmp_path / "d.md").write_text("no corpus")
    (tmp_path / ".hidden.txt").write_text("no corpus")
    assert texts(tmp_path) == ["one\n", "zwö", "three", "four", "five"]
    assert texts(tmp_path / "b.jsonl") == ["zwö", "three"]


def test_a_long_text_file_is_cut_where_paragraphs_end_and_loses_nothing(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {number} " + "word " * 150 + "\n\n" for number in range(60)]
    (tmp_path / "book.txt").write_text("".join(paragraphs) + "x" * 200_000)
    cut = texts(tmp_path / "book.txt")
    assert "".join(cut) == (tmp_path / "book.txt").read_text()
    assert len(cut) > 5
    assert all(piece.startswith("Paragraph") for piece in cut[:-1])


def test_text_added_at_the_end_of_a_file_moves_no_earlier_cut(tmp_path: Path) -> None:
    book = "".join(f"line {number} of the book\n" + "\n" * (number % 7 == 0) for number in range(2000))
    (tmp_path / "book.txt").write_text(book)
    before = texts(tmp_path / "book.txt")
    (tmp_path / "book.txt").write_text(book + "and more\n" * 2000)
    assert texts(tmp_path / "book.txt")[: len(before) - 1] == before[:-1]


def no_file(path: Path) -> Path:
    return path / "nowhere"


def empty_folder(path: Path) -> Path:
    return path


def file_of(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        (path / name).write_bytes(content)
        return path / name

    return make


def parquet_of(column: str, values: list[object]) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        pq.write_table(pa.table({column: values}), path / "a.parquet")
        return path / "a.parquet"

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (no_file, "no corpus at .*nowhere"),
        (empty_folder, "is empty"),
        (file_of("a.txt", b" \n"), "a.txt is empty"),
        (file_of("a.txt", b"fine\n\xff\n"), "a.txt is not UTF-8"),
        (file_of("a.csv", b"a,b\n"), "a.csv is no corpus"),
        (file_of("a.jsonl", b'{"text": "x"}\n{"text": \n'), "a.jsonl, line 2, is not JSON"),
        (file_of("a.jsonl", b'{"words": "x"}\n'), "a.jsonl, line 1, has no text"),
        (file_of("a.jsonl", b'{"text": "\\ud800"}\n'), "a.jsonl is not UTF-8"),
        (file_of("a.jsonl", b'"text"\n'), "a.jsonl, line 1, has no text"),
        (file_of("a.parquet", b"PAR1 no PAR1"), "a.parquet is not a Parquet file"),
        (parquet_of("words", ["x"]), 'a.parquet has no column "text"'),
        (parquet_of("text", [1]), 'a.parquet has no column "text"'),
    ],
)
def test_a_bad_corpus_is_refused_by_name(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_corpus(make(tmp_path)))


@given(st.sets(st.text(min_size=1), min_size=1, max_size=30), st.text(min_size=1))
def test_a_document_stays_in_its_shard_whatever_else_there_is(contents: set[str], more: str) -> None:
    def split(chosen: set[str]) -> dict[str, str]:
        return {text: Document(text.encode("utf-8", "replace")).shard for text in sorted(chosen)}

    assert split(contents).items() <= split(contents | {more}).items()


def test_shards_get_their_shares() -> None:
    drawn = [Document(str(number).encode()).shard for number in range(20_000)]
    for shard, share in SHARES.items():
        assert abs(drawn.count(shard) / len(drawn) - share) < 0.005


def test_the_python_corpus_is_sizeable_and_always_in_the_same_order() -> None:
    first, second = python_corpus(), documents("python")
    size = 0
    for one, other in zip(first, second, strict=True):
        assert one == other
        size += len(one.content)
    assert size > 30_000_000
    assert json.dumps(one.content.decode())


def test_of_the_python_corpus_nothing_is_held_out_but_tests_that_lie_nowhere_else() -> None:
    shards: dict[str, list[bytes]] = {name: [] for name in SHARES}
    for one in python_corpus():
        shards[one.shard].append(one.content)
    for name in ("search", "confirm", "final"):
        assert 0.004 < len(b"".join(shards[name])) / len(b"".join(shards["train"])) < 0.03, name
        assert not set(shards[name]) & set(shards["train"])
