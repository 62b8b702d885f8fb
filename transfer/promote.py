"""The way up the ladder: pairs at every rung, gates between them, verdicts at the top, and the landing run."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.edits import Recipe
from scaling.lab import Lab
from transfer import gates
from transfer.arms import Arm, Arms, Finding, make_arms
from transfer.claim import land, no_landing
from transfer.forecast import forecast
from transfer.members import Membership, measure_members
from transfer.misfits import with_misfit, within_the_stack
from transfer.pairing import pairing
from transfer.records import AXES, Records
from transfer.rung import BaselineAtRung, RungMeasurement
from transfer.saving import Axis, RungPairs, Saving, savings_up_the_ladder
from transfer.settings import TransferSettings
from transfer.spared import flops_above
from transfer.top import Top
from transfer.words import STACK, Verdict, judge


class Promotion:
    """Takes findings up the ladder; everything it learns goes to the store as it is learnt."""

    def __init__(self, lab: Lab, baseline: Recipe, settings: TransferSettings, target_params: int) -> None:
        """Promote with `lab`; `target_params` is the size of the scale of the forecast."""
        self.lab, self.baseline, self.settings, self.target_params = lab, baseline, settings, target_params
        self.records = Records(lab.writer)
        self.ladder = lab.setting.ladder
        self.evidence: dict[str, list[RungPairs]] = {}
        self.invalid: dict[str, str] = {}
        self.baselines: list[BaselineAtRung] = []
        self.rungs: list[RungMeasurement] = []
        self.arms_by_name: dict[str, Arm] = {}

    def run(self, findings: Sequence[Finding]) -> dict[str, Verdict]:
        """Measure, gate, judge, forecast and land; returns the verdicts by arm name."""
        arms = make_arms(self.baseline, findings)
        self.lab.fact("not_alone", dict(arms.not_alone))
        self.lab.fact("not_stacked", dict(arms.not_stacked))
        going = ([arms.stack] if arms.stack else []) + arms.alone
        for arm in going:
            self.evidence[arm.name] = []
            self.arms_by_name[arm.name] = arm
        for index in range(len(self.ladder.rungs)):
            going = self._climb(index, going)
            if self._why_frozen():
                break
        verdicts = self._judge(arms)
        self._forecast()
        membership = self._land(arms, going)
        verdicts |= self._judge_within(arms, membership)
        self.records.flush()
        self.lab.store.ingest()
        return verdicts

    def _climb(self, index: int, going: Sequence[Arm]) -> list[Arm]:
        """Measure rung `index`; returns the arms that go on. The baseline is measured even where no arm is left."""
        at = RungMeasurement(self.lab, self.baseline, self.settings, index)
        self.rungs.append(at)
        is_top = index == len(self.ladder.rungs) - 1
        # Claims are made at the top, where no gate can ask for more.
        pairs = {arm.name: self.settings.pairs[-1 if is_top else 0] for arm in going}
        while True:
            most = max(pairs.values(), default=self.settings.pairs[0])
            at.measure(going, pairs)
            self.baselines[index:] = [at.baseline_at_rung(most)]
            self.records.baseline(index, self.baselines[index], at.rung.tokens)
            if self._why_frozen():
                return self._freeze(index, going)
            going = [arm for arm in going if self._take(at, arm, pairs[arm.name])]
            self._record_power(index, most)
            if is_top:
                self.records.flush()
                return list(going)
            decisions = {arm.name: self._gate(arm, index) for arm in going}
            more = {name: gate.next_pairs for name, gate in decisions.items() if gate.next_pairs is not None}
            if not more:
                break
            pairs |= more
        for arm in going:
            stops = decisions[arm.name].decision != "go"
            spared = flops_above(self.lab, self.baseline, arm.recipe, index, self.settings.pairs[0]) if stops else 0.0
            self.records.gate(arm, index, decisions[arm.name], spared)
        self.records.flush()
        return [arm for arm in going if decisions[arm.name].decision == "go"]

    def _take(self, at: RungMeasurement, arm: Arm, pairs: int) -> bool:
        """Take in an arm's pairs; False when the arm did not finish them, which makes its verdict invalid."""
        evidence = at.evidence(arm, pairs, self.baselines[at.index].slope)
        if evidence is None:
            self._invalidate(arm, at.index, at.invalid[arm.name])
            return False
        self.evidence[arm.name][at.index :] = [evidence]
        params = [measured.params for measured in self.baselines]
        self.records.savings(arm, params, self.evidence[arm.name])
        return True

    def _freeze(self, index: int, going: Sequence[Arm]) -> list[Arm]:
        for arm in going:
            self._invalidate(arm, index, self._why_frozen())
        self.records.flush()
        return []

    def _invalidate(self, arm: Arm, index: int, why: str) -> None:
        """Stop an arm whose rung cannot judge it; what fewer pairs seemed to say there is withdrawn."""
        self.invalid[arm.name] = why
        for withdrawn in self.evidence[arm.name][index:]:
            self.records.withdrawn(arm, index, self.baselines[index].params, len(withdrawn.arm))
        del self.evidence[arm.name][index:]
        if index < len(self.ladder.rungs) - 1:
            self.records.stopped(arm, index, why)

    def _gate(self, arm: Arm, index: int) -> gates.Gate:
        savings = self._savings(arm.name, self.settings.axis)
        params = [measured.params for measured in self.baselines]
        upper = forecast(params, {arm.name: savings}, self.target_params)[arm.name]
        bound = next((one.ln_speedup_upper_90 for one in upper if one.method == "decay"), float("inf"))
        return gates.decide(
            savings[index], bound, smallest_saving=self.settings.smallest_saving, schedule=self.settings.pairs
        )

    def _judge(self, arms: Arms) -> dict[str, Verdict]:
        judged = judge(
            self.evidence,
            axis=self.settings.axis,
            smallest_saving=self.settings.smallest_saving,
            invalid=self.invalid,
            rungs=len(self.ladder.rungs),
            alpha=self.settings.alpha,
        )
        verdicts = {
            name: with_misfit(verdict, self.arms_by_name[name].finding_id, arms) for name, verdict in judged.items()
        }
        for name, verdict in verdicts.items():
            self._record_verdict(self.arms_by_name[name], max(0, len(self.evidence[name]) - 1), verdict)
        return verdicts

    def _judge_within(self, arms: Arms, membership: Membership) -> dict[str, Verdict]:
        """Verdicts on the findings that cannot be run alone."""
        verdicts = {}
        for finding_id in arms.not_alone:
            arm = Arm(f"alone:{finding_id}", self.baseline, finding_id)
            worth = membership.worth.get(finding_id)
            verdicts[arm.name] = within_the_stack(finding_id, arms, worth, self.settings.smallest_saving)
            self._record_verdict(arm, len(self.baselines) - 1, verdicts[arm.name])
        return verdicts

    def _record_verdict(self, arm: Arm, rung: int, verdict: Verdict) -> None:
        self.records.verdict(arm, self.settings.axis, rung, verdict)
        self.lab.progress.say(f"  {arm.name}: {verdict.word}")

    def _forecast(self) -> None:
        params = [measured.params for measured in self.baselines]
        for axis in AXES:
            measured = {name: self._savings(name, axis) for name in self.evidence if name not in self.invalid}
            # The stack is no finding: it must not teach the others how findings decay.
            for family in (set(measured) - {STACK}, {STACK} & set(measured)):
                chosen = {name: measured[name] for name in sorted(family)}
                for name, forecasts in forecast(params, chosen, self.target_params).items():
                    self.records.forecasts(self.arms_by_name[name], self.ladder.target.tokens, forecasts)

    def _land(self, arms: Arms, at_top: Sequence[Arm]) -> Membership:
        """Measure the members of the stack and land it; where it did not reach the top, say why there is no landing."""
        if arms.stack is None:
            return Membership((), {})
        if STACK not in {arm.name for arm in at_top}:
            last = len(self.evidence[STACK]) - 1
            stopped = f"a gate stopped the stack at rung {self.ladder.rungs[last].name}"
            top = len(self.ladder.rungs) - 1
            no_landing(self.records, top, self.ladder.top.tokens, self.invalid.get(STACK, stopped))
            return Membership((), {})
        top_rung = Top(self.rungs[-1], self.baselines[-1], self.evidence[STACK], self.records)
        membership = measure_members(top_rung, arms)
        self.records.flush()
        land(top_rung, arms, membership)
        return membership

    def _record_power(self, index: int, pairs: int) -> None:
        found = pairing([one for name in sorted(self.evidence) for one in self.evidence[name]])
        self.records.power(index, self.baselines[index], found, self.settings, pairs=pairs)

    def _savings(self, name: str, axis: Axis) -> list[Saving]:
        return savings_up_the_ladder(self.evidence[name], axis)

    def _why_frozen(self) -> str:
        return self.baselines[-1].why_frozen(self.ladder.rungs[len(self.baselines) - 1].name)
