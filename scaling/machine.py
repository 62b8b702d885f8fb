"""What this machine did while something was timed: how busy others kept it, and the state of its GPU."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from contextlib import suppress

import psutil

GPU_FIELDS = ("name", "clocks.sm", "clocks.mem", "clocks_throttle_reasons.active", "temperature.gpu", "power.draw")
GPU_SECONDS = 5.0
"""What nvidia-smi may take: it answers within a second, and hangs where a driver is broken."""


class Load:
    """Measures the share of the machine's cores that other processes keep busy, from its making on."""

    def __init__(self) -> None:
        """Start now."""
        self._started, self._busy = time.perf_counter(), _busy_seconds()

    def share(self, own_seconds: float) -> float:
        """Share of all cores that others used since the start, 0 to 1; NaN where the machine does not tell.

        own_seconds: CPU seconds since the start of the processes that are not others.
        """
        passed = (time.perf_counter() - self._started) * (psutil.cpu_count() or 1)
        others = (_busy_seconds() - self._busy - own_seconds) / passed if passed > 0 else math.nan
        return others if math.isnan(others) else min(1.0, max(0.0, others))


def _busy_seconds() -> float:
    """CPU seconds of the whole machine since it was started, what its host took from it included; NaN if untold."""
    try:
        told = psutil.cpu_times()
    except (OSError, RuntimeError):
        return math.nan
    # Guests' time stands in `user` and `nice` already.
    idle = told.idle + getattr(told, "iowait", 0.0) + getattr(told, "guest", 0.0) + getattr(told, "guest_nice", 0.0)
    return float(sum(told) - idle)


def gpu_state() -> str | None:
    """Name, clocks, throttle reasons, temperature and power of the first visible GPU as JSON text; None if untold."""
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    command = ["nvidia-smi", f"--id={device}", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(command, capture_output=True, text=True, timeout=GPU_SECONDS, check=True).stdout
        values = [value.strip() for value in said.splitlines()[0].split(",")] if said else []
        if len(values) == len(GPU_FIELDS):
            return json.dumps(dict(zip(GPU_FIELDS, values, strict=True)))
    return None
