"""What several test files share."""

import pytest
from tiny import Bench, make_bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One tiny study for all runs: they do not meet, since each recipe, rung and seed has a run of its own."""
    return make_bench(tmp_path_factory.mktemp("bench"))
