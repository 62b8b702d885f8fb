"""What a worker process does when runs are sandboxed: it minds them; imported by the warm parent of the workers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import lightning  # noqa: F401  loaded once in the warm parent, so that no fork pays for it
import torch

from data.errors import ScaleproofError
from scaling.executor import die_with_parent, ignore_interrupts
from scaling.runs import Job, RunSpec
from search.sandbox.minder import train
from search.sandbox.timed import time_pair

# Before anything computes: a forked process must not inherit a pool of threads.
torch.set_num_threads(1)


def work(study_path: Path, job: Job, environment: Mapping[str, str], sender: Connection) -> None:
    """Do one job in cells; sends None when it is done, or a sentence when this machine could not do it."""
    die_with_parent()
    ignore_interrupts()
    os.environ.update(environment)
    try:
        if isinstance(job, RunSpec):
            train(study_path, job)
        else:
            time_pair(study_path, job)
    except (OSError, MemoryError) as error:
        sender.send(f"This machine could not do the run: {type(error).__name__}: {error}.")
    except ScaleproofError as error:
        sender.send(str(error))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send(None)
    sender.close()
