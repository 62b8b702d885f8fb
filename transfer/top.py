"""The top rung once all arms have climbed: what the stack's own measurements there have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transfer.arms import Arm
from transfer.crossing import Crossing, crossings_up_the_ladder
from transfer.horizons import MAX_ROUNDS, Request, expected_shortening, look_pairs, next_request, whole_steps
from transfer.pairs import RungPairs
from transfer.records import Records
from transfer.rung import RungMeasurement
from transfer.rung_baseline import BaselineAtRung
from transfer.saving import Axis, Saving
from transfer.saving_estimate import savings_up_the_ladder


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
        return self.stack[-1].pairs

    @property
    def axis(self) -> Axis:
        """What verdicts speak of."""
        return self.at.settings.axis

    def saving(self, axis: Axis) -> Saving:
        """What the stack saves here."""
        return savings_up_the_ladder(self.stack, axis)[-1]

    @property
    def crossing(self) -> Crossing | None:
        """Where the stack crosses here."""
        return crossings_up_the_ladder(self.stack)[-1]

    def measure(self, arms: Sequence[Arm], what: str) -> list[RungPairs | None]:
        """Pair further arms with the baseline where they cross, and record their savings; None as in `evidence`.

        They are looked for where the stack crosses, since they are stacks too, with few pairs: most cross elsewhere.
        """
        first = Request(whole_steps(expected_shortening(self.crossing), self.at.steps), look_pairs(self.pairs))
        wanted: dict[str, Request] = {arm.name: first for arm in arms}
        found: dict[str, RungPairs | None] = {}
        for _ in range(MAX_ROUNDS):
            asked = [(arm, wanted[arm.name]) for arm in arms if arm.name in wanted]
            if not asked:
                break
            self.at.measure(asked, what)
            self.at.time([arm for arm, _ in asked], 2)
            wanted = {}
            for arm, _ in asked:
                evidence = found[arm.name] = self.at.evidence(arm, self.baseline.slope)
                request = self._next(arm, evidence) if evidence else None
                if request is not None:
                    wanted[arm.name] = request
        for arm in arms:
            evidence = found[arm.name]
            if evidence is not None:
                ladder = [*self.stack[:-1], evidence]
                self.records.savings(arm, [self.baseline.params] * len(ladder), ladder, first=self.rung)
        return [found[arm.name] for arm in arms]

    def _next(self, arm: Arm, evidence: RungPairs) -> Request | None:
        """What to run next of an arm; the stack's own rungs below tell best what pairing gains."""
        _, shortest = self.at.allowed(arm)
        return next_request([*self.stack[:-1], evidence], self.pairs, steps=self.at.steps, shortest=shortest)
