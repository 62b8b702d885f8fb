"""The top rung once all arms have climbed: what the stack's own measurements there have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transfer.arms import Arm
from transfer.records import Records
from transfer.rung import BaselineAtRung, RungMeasurement
from transfer.saving import Axis, RungPairs, Saving, savings_up_the_ladder


@dataclass(frozen=True, slots=True)
class Top:
    """The stack at the top rung: `stack` holds its pairs at every rung, the top's last."""

    at: RungMeasurement
    baseline: BaselineAtRung
    stack: Sequence[RungPairs]
    records: Records

    @property
    def rung(self) -> int:
        """Index of the top rung."""
        return self.at.index

    @property
    def pairs(self) -> int:
        """Pairs that the stack has here; whatever is compared with it gets as many."""
        return len(self.stack[-1].arm)

    @property
    def axis(self) -> Axis:
        """What verdicts speak of."""
        return self.at.settings.axis

    def saving(self, axis: Axis) -> Saving:
        """What the stack saves here."""
        return savings_up_the_ladder(self.stack, axis)[-1]

    def measure(self, arms: Sequence[Arm], what: str) -> list[RungPairs | None]:
        """Pair further arms with the baseline and record their savings; None as in `RungMeasurement.evidence`."""
        self.at.measure(arms, {arm.name: self.pairs for arm in arms}, what)
        found = [self.at.evidence(arm, self.pairs, self.baseline.slope) for arm in arms]
        for arm, evidence in zip(arms, found, strict=True):
            if evidence is not None:
                # The stack's own rungs below tell best what pairing gains.
                ladder = [*self.stack[:-1], evidence]
                self.records.savings(arm, [self.baseline.params] * len(ladder), ladder, first=self.rung)
        return found
