"""Several devices in one run: this process is the first, and starts one peer for each of the others."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from data.errors import ScaleproofError
from scaling.executor import die_with_parent, ignore_interrupts, main_hidden
from scaling.runs import RunSpec

Train = Callable[[Path, RunSpec], None]


@contextmanager
def peers(train: Train, study_path: Path, spec: RunSpec) -> Iterator[None]:
    """Start `train(study_path, spec)` once more for every device but the first; wait for all at the end.

    The processes find each other as torch's elastic launcher would let them: Lightning then starts none of its own,
    which would run the command line again.

    Raises:
        ScaleproofError: when a peer failed.
    """
    devices = spec.rung.devices
    if devices == 1:
        yield
        return
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        "GROUP_RANK": "0",
        "TORCHELASTIC_RUN_ID": spec.run_id,
        "OMP_NUM_THREADS": "1",
    }
    context = multiprocessing.get_context("spawn")
    started: list[BaseProcess] = []
    for rank in range(1, devices):
        environment = {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process: BaseProcess = context.Process(target=_peer, args=(train, study_path, spec, environment))
        with main_hidden():
            process.start()
        started.append(process)
    os.environ.update({**shared, "RANK": "0", "LOCAL_RANK": "0"})
    try:
        yield
        for process in started:
            process.join()
        if any(process.exitcode for process in started):
            raise ScaleproofError("A process of one of the run's devices failed.")
    finally:
        for process in started:
            process.kill()


def _peer(train: Train, study_path: Path, spec: RunSpec, environment: dict[str, str]) -> None:
    die_with_parent()
    ignore_interrupts()
    os.environ.update(environment)
    train(study_path, spec)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
