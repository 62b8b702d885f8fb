"""Whose code runs where: what a model wrote runs in the sandbox, unless the user says otherwise."""

from __future__ import annotations

from data.store import Store
from data.study import Study
from scaling.executor import TRUSTED_WORKER

SANDBOXED_WORKER = "search.sandbox.worker"
WRITTEN_BY_MODEL = "written_by_model"
"""The fact that a study holds recipes that a model wrote."""


def worker_for(*, model_writes: bool, unsafe_no_sandbox: bool) -> str:
    """The module that does the jobs of a study; see `LocalExecutor`."""
    return SANDBOXED_WORKER if model_writes and not unsafe_no_sandbox else TRUSTED_WORKER


def is_written_by_model(study: Study) -> bool:
    """Whether the study holds recipes that a model wrote: all of its runs are made in the sandbox then.

    The baseline's too, so that both arms of a pair are treated alike.
    """
    store = Store(study.path)
    return bool(store.rows("select 1 from facts where name = $name", {"name": WRITTEN_BY_MODEL}))


def require_trust(worker: str) -> None:
    """Test the sandbox, where one is to be used, by trying to break out of it.

    Raises:
        ScaleproofError: when there is none, or it can be broken out of.
    """
    if worker == SANDBOXED_WORKER:
        from search.sandbox.selftest import require_sandbox

        require_sandbox()
