"""What a worker process does when runs are sandboxed: it minds them; imported by the warm parent of the workers."""

from __future__ import annotations

from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from scaling.runs import Job
from scaling.worker import do_job, perform
from search.sandbox.minder import train
from search.sandbox.sight import hidden_paths
from search.sandbox.timed import time_pair

hidden_paths()  # found here, once, and not by each fork


def work(study_path: Path, job: Job, environment: Mapping[str, str], sender: Connection) -> None:
    """Do one job in cells; sends None when it is done, or a sentence when this machine could not do it."""
    perform(lambda: do_job(study_path, job, train, time_pair), environment, sender)
