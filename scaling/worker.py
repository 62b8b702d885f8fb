"""What a worker process does; imported by the warm parent that workers are forked from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import lightning  # noqa: F401  loaded once in the warm parent, so that no fork pays for it
import torch

from data.errors import ScaleproofError
from scaling.executor import die_with_parent, ignore_interrupts
from scaling.runs import Job, RunSpec, TimingSpec
from scaling.timing import time_pair
from scaling.training import train

# Before anything computes: a forked process must not inherit a pool of threads.
torch.set_num_threads(1)


def work(study_path: Path, job: Job, environment: Mapping[str, str], sender: Connection) -> None:
    """Do one job; sends None when it is done, or a sentence when this machine could not do it."""
    perform(lambda: do_job(study_path, job, train, time_pair), environment, sender)


def perform(do: Callable[[], None], environment: Mapping[str, str], sender: Connection) -> None:
    """Do what a worker was started for, and send how it ended."""
    die_with_parent()
    ignore_interrupts()
    os.environ.update(environment)
    try:
        do()
    except (OSError, MemoryError) as error:
        sender.send(f"This machine could not do the run: {type(error).__name__}: {error}.")
    except ScaleproofError as error:
        sender.send(str(error))
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send(None)
    sender.close()


def do_job(
    study_path: Path, job: Job, make: Callable[[Path, RunSpec], None], time_two: Callable[[Path, TimingSpec], None]
) -> None:
    """Make the run that a job describes, or take its timing."""
    if isinstance(job, RunSpec):
        make(study_path, job)
    else:
        time_two(study_path, job)
