"""What a promotion leaves in the store: one function per kind of row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from data.spool import SpoolWriter
from scaling.ladder import Rung
from transfer.arms import Arm
from transfer.factorial.plans import Interaction
from transfer.forecast import Forecast
from transfer.gates import Gate
from transfer.landing import Landing
from transfer.pairing import Pairing
from transfer.pairs import RungPairs
from transfer.power import POWER, smallest_visible_saving
from transfer.rung_baseline import BaselineAtRung
from transfer.saving import Axis, Saving, saved
from transfer.saving_estimate import savings_up_the_ladder
from transfer.settings import TransferSettings
from transfer.words import Verdict

AXES: tuple[Axis, ...] = get_args(Axis)


class Records:
    """Appends rows to the driver's spool file."""

    def __init__(self, writer: SpoolWriter) -> None:
        """Write with `writer`."""
        self._writer = writer

    def flush(self) -> None:
        """Make what was written durable."""
        self._writer.flush()

    def baseline(self, rung: int, measured: BaselineAtRung, scale: Rung) -> None:
        """Slope and A/A check of a rung."""
        slope, check = measured.slope, measured.check
        self._writer.append(
            "slope",
            rung=rung,
            params=measured.params,
            tokens=scale.tokens,
            tokens_per_param=scale.tokens / measured.params,
            transition=slope.transition,
            kappa=slope.kappa,
            kappa_se=slope.kappa_se,
            curvature=slope.curvature,
            curvature_se=slope.curvature_se,
            sigma=slope.noise.sigma,
            sigma_dof=slope.noise.dof,
        )
        self._writer.append(
            "aa",
            rung=rung,
            params=measured.params,
            ln_speedup=check.ln_speedup,
            low_99=check.low_99,
            high_99=check.high_99,
            pairs=check.pairs,
            frozen=check.frozen,
        )

    def savings(self, arm: Arm, params: Sequence[int], ladder: Sequence[RungPairs], *, first: int = 0) -> None:
        """One arm's savings on every axis, at its rungs from `first` up; `params` of each rung."""
        for axis in AXES:
            for rung, saving in enumerate(savings_up_the_ladder(ladder, axis)):
                if rung >= first:
                    self._saving(arm, rung, params[rung], saving)

    def withdrawn(self, arm: Arm, rung: int, params: int, pairs: int) -> None:
        """That the savings recorded at a rung are none: it was frozen when more baselines were known."""
        for axis in AXES:
            self._saving(arm, rung, params, Saving(axis, math.nan, math.nan, math.nan, pairs))

    def _saving(self, arm: Arm, rung: int, params: int, saving: Saving) -> None:
        known = saving.known
        low, high = (saved(bound) if math.isfinite(bound) else None for bound in (saving.low, saving.high))
        self._writer.append(
            "saving",
            arm=arm.name,
            finding_id=arm.finding_id,
            rung=rung,
            params=params,
            axis=saving.axis,
            saving=saving.saving if known else None,
            saving_low=low if saving.bounded else None,
            saving_high=high if saving.bounded else None,
            bound="at least" if saving.at_least else "",
            method=saving.method,
            horizons=saving.horizons,
            ln_speedup=saving.ln_speedup if known else None,
            ln_speedup_se=saving.ln_speedup_se if known else None,
            dof=saving.dof if known else None,
            pairs=saving.pairs,
        )

    def gate(self, arm: Arm, rung: int, gate: Gate, flops_saved: float) -> None:
        """What a gate decided, and the FLOPs that were not spent above."""
        self._writer.append(
            "gate",
            arm=arm.name,
            finding_id=arm.finding_id,
            rung=rung,
            decision=gate.decision,
            reason=gate.reason,
            lower_80=gate.lower_80,
            flops_saved=flops_saved,
        )

    def stopped(self, arm: Arm, rung: int, reason: str) -> None:
        """That an arm does not go on because it cannot be judged; no gate decided it, so none saved anything."""
        self._writer.append(
            "gate",
            arm=arm.name,
            finding_id=arm.finding_id,
            rung=rung,
            decision="stop",
            reason=f"Stopped: {reason.rstrip('.')}.",
            lower_80=None,
            flops_saved=0.0,
        )

    def verdict(self, arm: Arm, axis: str, rung: int, verdict: Verdict) -> None:
        """The word on an arm."""
        self._writer.append(
            "verdict",
            arm=arm.name,
            finding_id=arm.finding_id,
            axis=axis,
            verdict=verdict.word,
            fragile=verdict.fragile,
            reason=verdict.reason,
            retention=verdict.retention,
            retention_low=verdict.retention_low,
            retention_high=verdict.retention_high,
            margin=verdict.margin,
            p_holm=verdict.p_holm,
            rung=rung,
            pairs_to_settle=verdict.pairs_to_settle,
        )

    def forecasts(self, arm: Arm, tokens: int, forecasts: Sequence[Forecast]) -> None:
        """All methods' forecasts of an arm."""
        for one in forecasts:
            self._writer.append(
                "forecast",
                arm=arm.name,
                finding_id=arm.finding_id,
                params=round(one.params),
                tokens=tokens,
                axis=one.axis,
                saving=one.saving,
                saving_low=one.saving_low,
                saving_high=one.saving_high,
                method=one.method,
                leave_top_rung_out_error=one.leave_top_rung_out_error,
                extrapolated=one.extrapolated,
            )

    def landing(self, where: Mapping[str, Any], landing: Landing | None, reason: str) -> None:
        """How the landing run ended; `landing` is None when none was made, and `reason` says why."""
        measured: dict[str, Any] = {"stands": None}
        if landing is not None:
            measured = {
                "pairs": landing.pairs,
                "loss_difference": landing.loss_difference,
                "loss_difference_high_95": landing.high_95,
                "margin": landing.margin,
                "stands": landing.stands,
            }
        self._writer.append("landing", **where, **measured, reason=reason)

    def interaction(self, arm: str, rung: int, lns: Saving | Interaction | None, detail: Mapping[str, Any]) -> None:
        """What a member adds, or how far the stack is from the sum of its members; None where there is no number."""
        found = {} if lns is None else {"ln_speedup": lns.ln_speedup, "low": lns.low, "high": lns.high}
        measured = {name: value for name, value in found.items() if math.isfinite(value)}
        self._writer.append("interaction", arm=arm, rung=rung, **measured, detail=dict(detail))

    def power(
        self, rung: int, measured: BaselineAtRung, pairing: Pairing, settings: TransferSettings, *, pairs: int
    ) -> None:
        """The smallest saving that a rung's pairs could see, and what that rests on."""
        axis = settings.axis
        slope, s_time = measured.slope, pairing.s_time if axis == "seconds" else 0.0
        smallest = smallest_visible_saving(
            sigma=slope.noise.sigma,
            kappa=slope.kappa,
            s_time=s_time,
            pairs=pairs,
            correlation=pairing.correlation,
            alpha=settings.alpha,
            power=POWER["transfers"],
        )
        self._writer.append(
            "power",
            rung=rung,
            params=measured.params,
            pairs=pairs,
            smallest_saving=smallest,
            sigma=slope.noise.sigma,
            kappa=slope.kappa,
            axis=axis,
            correlation=pairing.correlation,
            s_time=s_time,
            assumed=pairing.assumed,
        )
