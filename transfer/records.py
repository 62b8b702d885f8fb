"""What a promotion leaves in the store: one function per kind of row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.spool import SpoolWriter
from transfer.arms import Arm
from transfer.forecast import Forecast
from transfer.gates import Gate
from transfer.landing import Landing
from transfer.rung import BaselineAtRung
from transfer.saving import Saving
from transfer.words import Verdict


class Records:
    """Appends rows to the driver's spool file."""

    def __init__(self, writer: SpoolWriter) -> None:
        """Write with `writer`."""
        self._writer = writer

    def flush(self) -> None:
        """Make what was written durable."""
        self._writer.flush()

    def baseline(self, rung: int, measured: BaselineAtRung, tokens: int) -> None:
        """Slope and A/A check of a rung."""
        slope, check = measured.slope, measured.check
        self._writer.append(
            "slope",
            rung=rung,
            params=measured.params,
            tokens=tokens,
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

    def saving(self, arm: Arm, rung: int, params: int, saving: Saving) -> None:
        """One arm's saving at one rung on one axis."""
        self._writer.append(
            "saving",
            arm=arm.name,
            finding_id=arm.finding_id,
            rung=rung,
            params=params,
            axis=saving.axis,
            saving=saving.saving,
            saving_low=saving.saving_low,
            saving_high=saving.saving_high,
            ln_speedup=saving.ln_speedup,
            ln_speedup_se=saving.ln_speedup_se,
            dof=saving.dof,
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

    def contribution(self, arm: Arm, rung: int, contribution: Saving, detail: Mapping[str, Any]) -> None:
        """What a member adds to the stack."""
        self._writer.append(
            "interaction",
            arm=arm.name,
            rung=rung,
            ln_speedup=contribution.ln_speedup,
            low=contribution.low,
            high=contribution.high,
            detail=dict(detail),
        )

    def power(self, rung: int, **columns: object) -> None:
        """The smallest saving that a rung's pairs could see."""
        self._writer.append("power", rung=rung, **columns)
