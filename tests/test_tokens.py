"""Tokens: made once, whole or not at all, and always the same."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.corpus import SHARES
from data.errors import InputError
from data.tokens import CorpusSettings, TokenSet, prepare, require_size


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": f"Document {n} says é {n * n}. " * 5}) + "\n" for n in range(1500)))
    return path


def bytes_of(corpus: Path, **settings: object) -> CorpusSettings:
    return CorpusSettings.read({"source": str(corpus), **settings})


def test_bytes_and_document_ends_are_all_there_once(tmp_path: Path, corpus: Path) -> None:
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    corpus.write_text(corpus.read_text() + json.dumps({"text": texts[0]}) + "\n")
    made = prepare(tmp_path / "tokens", bytes_of(corpus))
    assert made.vocab_size == 257
    documents = []
    for name in SHARES:
        ids = made.shard(name)
        assert ids[-1] == 256
        ends = np.flatnonzero(ids == 256)
        documents += [bytes(part[part < 256].astype(np.uint8)).decode() for part in np.split(ids, ends[:-1] + 1)]
        assert made.manifest["shards"][name]["documents"] == len(ends)
        assert made.bytes_per_token(name) == pytest.approx(1 - len(ends) / len(ids))
    assert sorted(documents) == sorted(texts)
    assert made.manifest["duplicates_dropped"] == 1


def test_a_second_call_reads_the_manifest_alone(tmp_path: Path, corpus: Path) -> None:
    made = prepare(tmp_path / "tokens", bytes_of(corpus))
    corpus.unlink()
    assert prepare(tmp_path / "tokens", bytes_of(corpus)) == made == TokenSet.open(tmp_path / "tokens")


def test_the_same_text_has_the_same_digest_and_other_text_another(tmp_path: Path, corpus: Path) -> None:
    first = prepare(tmp_path / "first", bytes_of(corpus))
    moved = tmp_path / "moved.jsonl"
    shutil.copy(corpus, moved)
    assert prepare(tmp_path / "second", bytes_of(moved)).digest == first.digest
    moved.write_text(moved.read_text().replace("Document 7 ", "document 7 ", 1))
    assert prepare(tmp_path / "third", bytes_of(moved)).digest != first.digest


def test_other_settings_for_the_same_study_are_refused(tmp_path: Path, corpus: Path) -> None:
    prepare(tmp_path / "tokens", bytes_of(corpus))
    with pytest.raises(InputError, match="other corpus settings"):
        prepare(tmp_path / "tokens", bytes_of(corpus, max_bytes=1000))


def test_a_subset_keeps_its_size_its_shares_and_each_documents_shard(tmp_path: Path, corpus: Path) -> None:
    whole = prepare(tmp_path / "whole", bytes_of(corpus))
    part = prepare(tmp_path / "part", bytes_of(corpus, max_bytes=60_000))
    assert part.manifest["settings"]["max_bytes"] == 60_000
    for name, share in SHARES.items():
        size = part.manifest["shards"][name]["bytes"]
        assert share * 60_000 - 200 < size <= share * 60_000
        assert part.shard(name).tobytes() != whole.shard(name).tobytes()
        ends = np.flatnonzero(part.shard(name) == 256)
        first = part.shard(name)[: ends[0] + 1].tobytes()
        assert first in whole.shard(name).tobytes()


def test_byte_pairs_give_the_text_back_and_their_end_marks_only_ends(tmp_path: Path, corpus: Path) -> None:
    from tokenizers import Tokenizer

    made = prepare(tmp_path / "tokens", bytes_of(corpus, tokenizer="bpe", vocab_size=600))
    assert made.vocab_size <= 600
    assert made.bytes_per_token("train") > 1.5
    ids = made.shard("search")
    ends = np.flatnonzero(ids == made.vocab_size - 1)
    assert len(ends) == made.manifest["shards"]["search"]["documents"]
    tokenizer = Tokenizer.from_file(str(made.path / "tokenizer.json"))
    assert tokenizer.decode(ids[: ends[0]].tolist()) in corpus.read_text().encode().decode("unicode_escape")
    again = prepare(tmp_path / "again", bytes_of(corpus, tokenizer="bpe", vocab_size=600))
    assert again.digest == made.digest


def test_byte_pairs_without_their_library_are_refused(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"scaleproof\[bpe\]"):
        prepare(tmp_path / "tokens", bytes_of(corpus, tokenizer="bpe"))
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sources": "x"}, "'sources'"),
        ({"tokenizer": "words"}, "'tokenizer'"),
        ({"max_bytes": 0}, "'max_bytes'"),
        ({"vocab_size": 10}, "'vocab_size'"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        CorpusSettings.read(settings)


def test_too_little_text_says_how_much_there_is_and_how_much_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("tiny")
    made = prepare(tmp_path / "tokens", bytes_of(tmp_path / "a.txt"))
    empty = next(name for name in SHARES if not len(made.shard(name)))
    with pytest.raises(InputError, match=f"{empty} shard holds 0 tokens and 1,000 are needed"):
        require_size(made.manifest, empty, 1000)
    with pytest.raises(InputError, match="too small"):
        made.bytes_per_token(empty)


def test_no_tokens_yet_and_no_such_shard_are_said_so(tmp_path: Path, corpus: Path) -> None:
    with pytest.raises(InputError, match="no tokens"):
        TokenSet.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no shard 'test'"):
        prepare(tmp_path / "tokens", bytes_of(corpus)).shard("test")


PREPARE = """
import sys
from pathlib import Path
import data.corpus, data.shards
from data.tokens import CorpusSettings, prepare

def told(source):
    for number, document in enumerate(data.corpus.documents(source)):
        if number == 700:
            print("half way", flush=True)
            sys.stdin.read()
        yield document

data.shards.documents = told
prepare(Path(sys.argv[1]), CorpusSettings(source=sys.argv[2]))
"""


def test_killed_half_way_there_is_no_half_set_and_the_next_call_makes_a_whole_one(tmp_path: Path, corpus: Path) -> None:
    folder = tmp_path / "study" / "tokens"
    folder.mkdir(parents=True)
    child = subprocess.Popen(
        [sys.executable, "-c", PREPARE, folder, corpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert list(folder.iterdir()) == []
    made = prepare(folder, bytes_of(corpus))
    assert made.digest == prepare(tmp_path / "whole", bytes_of(corpus)).digest
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["tokens"]
