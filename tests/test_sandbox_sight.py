"""Text that models are judged by cannot be read where their recipes run, wherever on the machine it lies."""

import json
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cells import SMALL, needs_bubblewrap, said_in_a_cell, wait

from data.corpus import python_corpus
from data.errors import InputError
from data.study import Study
from search.sandbox.cell import Cell
from search.sandbox.sight import WHY, hidden_paths, out_of_sight


@pytest.fixture
def shown() -> Iterator[Path]:
    """A folder in the environment that cells see."""
    folder = Path(tempfile.mkdtemp(dir=sys.prefix))
    yield folder
    shutil.rmtree(folder)


@needs_bubblewrap
def test_no_file_that_a_cell_shows_is_a_document_held_out_of_the_python_corpus() -> None:
    def tell(channel: socket.socket) -> None:
        channel.sendall(json.dumps(sorted({one.digest.hex() for one in python_corpus()})).encode())

    seen = set(json.loads(said_in_a_cell(tell)[0]))
    everything = {one.digest.hex(): one.shard for one in python_corpus()}
    unseen = {digest for digest, shard in everything.items() if shard != "train"}
    assert len(seen) > 1000 and len(unseen) > 100
    assert not seen & unseen


@needs_bubblewrap
def test_a_study_and_its_corpus_are_out_of_sight_even_where_everything_is_shown(shown: Path) -> None:
    (shown / "corpus.txt").write_text("held out")
    (shown / "link").symlink_to(shown / "corpus.txt")
    study = Study.create(shown / "study", {"corpus": {"source": str(shown / "link")}})
    (shown / "seen.txt").write_text("all may read this")

    def tell(channel: socket.socket) -> None:
        texts = {str(one.relative_to(shown)): one.read_text() for one in shown.rglob("*") if one.is_file()}
        channel.sendall(json.dumps(texts).encode())

    with Cell([], SMALL, hidden=out_of_sight(study)) as cell:
        told = json.loads(wait(cell, cell.run(tell)))
    hidden = dict.fromkeys(["study/why.txt", "corpus.txt", "link"], WHY.read_text())
    assert told == {"seen.txt": "all may read this", **hidden}


@needs_bubblewrap
def test_a_corpus_within_its_study_or_no_longer_there_keeps_no_cell_from_opening(shown: Path) -> None:
    (shown / "study" / "texts").mkdir(parents=True)
    with Cell([], SMALL, hidden=[shown / "study" / "texts", shown / "study", shown / "gone.txt"]) as cell:
        assert wait(cell, cell.run(lambda channel: channel.sendall(b"open"))) == b"open"


def test_what_is_not_shown_needs_no_hiding(tmp_path: Path) -> None:
    assert hidden_paths([tmp_path]) == hidden_paths()


def test_a_corpus_among_the_packages_that_recipes_need_is_refused() -> None:
    with pytest.raises(InputError, match="which recipes need, and text that none may see"):
        hidden_paths([Path(sys.base_prefix)])
