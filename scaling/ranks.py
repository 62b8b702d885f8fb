"""Several devices in one run: this process is the first, and starts one peer for each of the others."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from torch import distributed

from data.errors import ScaleproofError
from scaling.executor import DIED, die_with_parent, ignore_interrupts, main_hidden
from scaling.runs import RunSpec

SECONDS_TO_DIE = 2.0
"""A peer's connections break before its end is known."""

Train = Callable[[Any, RunSpec], None]


@contextmanager
def peers(train: Train, given: object, spec: RunSpec) -> Iterator[None]:
    """Start `train(given, spec)` once more for every device but the first; wait for all at the end.

    The processes find each other as torch's elastic launcher would let them: Lightning then starts none of its own,
    which would run the command line again.

    Raises:
        ScaleproofError: when a peer failed or was killed.
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
    }
    started = [_start(train, given, spec, {**shared, **_place(rank)}) for rank in range(1, devices)]
    try:
        with _environment({**shared, **_place(0)}):
            try:
                yield
            except ScaleproofError:
                raise
            except Exception as error:
                # A broken connection to a peer that was killed is no fault of the recipe.
                if _killed(started):
                    raise ScaleproofError(DIED) from error
                raise
        for process in started:
            process.join()
        if any(process.exitcode for process in started):
            raise ScaleproofError(DIED)
    finally:
        for process in started:
            process.kill()
            process.join()
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _start(train: Train, given: object, spec: RunSpec, environment: Mapping[str, str]) -> BaseProcess:
    # Peers are forked from one process that has torch loaded and no device touched: it is imported once for all.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scaling.worker"])
    process = context.Process(target=_peer, args=(train, given, spec, {**os.environ, **environment}))
    with main_hidden():
        process.start()
    return process


def _peer(train: Train, given: object, spec: RunSpec, environment: Mapping[str, str]) -> None:
    die_with_parent()
    ignore_interrupts()
    os.environ.update(environment)
    train(given, spec)


def _killed(started: list[BaseProcess]) -> bool:
    connection.wait([process.sentinel for process in started], SECONDS_TO_DIE)
    return any((process.exitcode or 0) < 0 for process in started)


def _place(rank: int) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank)}


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
