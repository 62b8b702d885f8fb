"""What several test files share."""

from collections.abc import Iterator

import pytest
import torch
from tiny import Bench, make_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One tiny study for all runs: they do not meet, since each recipe, rung and seed has a run of its own."""
    return make_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As workers on a CPU have: sums come out the same only on as many threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
