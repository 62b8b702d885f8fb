"""The arrays of a bank's summary, as `benchmarks/real_truth.py` writes them, made a bank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.simulation.real_counts import Bank
from transfer.simulation.real_runs import BankRung

Floats = NDArray[np.float64]

UNITS = 10_000
"""Losses are kept as whole ten-thousandths of a nat."""


def bank_of(kept: Mapping[str, NDArray[Any]]) -> Bank:
    """The bank: losses by rung, arm, horizon and seed, and timing blocks by rung and arm."""
    arms = [str(arm) for arm in kept["arms"]]
    losses = kept["losses"].astype(np.float64) / UNITS
    weights = kept["weights"].astype(np.float64)
    rungs = []
    for index, steps in enumerate(kept["steps_at_t"].tolist()):
        by_arm: dict[str, dict[float, Floats]] = {}
        for arm in sorted(set(kept["arm"][kept["rung"] == index].tolist())):
            here = (kept["rung"] == index) & (kept["arm"] == arm)
            by_arm[arms[arm]] = {
                math.log(steps / own): losses[here & (kept["steps"] == own)][
                    np.argsort(kept["seed"][here & (kept["steps"] == own)])
                ]
                for own in sorted(set(kept["steps"][here].tolist()))
            }
        rungs.append(BankRung(by_arm, weights, int(steps), int(kept["params"][index])))
    quiet, busy = (
        {
            (rung, arms[arm]): kept["time_ln_ratio"][
                (kept["time_rung"] == rung) & (kept["time_arm"] == arm) & (kept["time_busy"] == busy)
            ].astype(np.float64)
            for rung in range(len(rungs))
            for arm in sorted(set(kept["time_arm"].tolist()))
        }
        for busy in (False, True)
    )
    return Bank(tuple(rungs), quiet, busy)
