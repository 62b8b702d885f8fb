"""The way up the ladder: pairs at every rung, gates between them, verdicts at the top, and the landing run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from scaling.edits import Recipe
from scaling.lab import Lab
from scaling.loading import load
from scaling.shape import measure
from transfer import gates
from transfer.arms import Arm, Arms, Finding, make_arms, without
from transfer.factorial import contribution, dropped
from transfer.forecast import forecast
from transfer.landing import judge_landing, landing_tokens
from transfer.power import ALPHA, POWER, smallest_visible_saving
from transfer.records import Records
from transfer.rung import BaselineAtRung, RungMeasurement
from transfer.saving import Axis, RungPairs, Saving, savings_up_the_ladder
from transfer.settings import TransferSettings
from transfer.words import STACK, Verdict, judge

AXES: tuple[Axis, ...] = get_args(Axis)
LANDING_SEEDS = 5_000
PLANNED_CORRELATION = 0.5


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
        self.arms_by_name: dict[str, Arm] = {}

    def run(self, findings: Sequence[Finding]) -> dict[str, Verdict]:
        """Measure, gate, judge, forecast and land; returns the verdicts by arm name."""
        arms = make_arms(self.baseline, findings)
        self._record_misfits(arms)
        going = ([arms.stack] if arms.stack else []) + arms.alone
        for arm in going:
            self.evidence[arm.name] = []
            self.arms_by_name[arm.name] = arm
        for index in range(len(self.ladder.rungs)):
            going = self._climb(index, going)
            if self._frozen():
                break
        verdicts = self._judge()
        self._forecast()
        if arms.stack is not None:
            self._land(arms, going)
        self.records.flush()
        self.lab.store.ingest()
        return verdicts

    def _climb(self, index: int, going: Sequence[Arm]) -> list[Arm]:
        """Measure rung `index`; returns the arms that go on. The baseline is measured even where no arm is left."""
        at = RungMeasurement(self.lab, self.baseline, self.settings, index)
        pairs = {arm.name: self.settings.pairs[0] for arm in going}
        is_top = index == len(self.ladder.rungs) - 1
        while True:
            at.measure(going, pairs)
            measured = at.baseline_at_rung(max(pairs.values(), default=self.settings.pairs[0]))
            self.baselines[index:] = [measured]
            self.records.baseline(index, measured, at.rung.tokens)
            if measured.check.frozen:
                for arm in going:
                    self.invalid[arm.name] = (
                        f"the A/A check froze rung {at.rung.name}: the baseline differs from itself there"
                    )
                return []
            going = [arm for arm in going if self._take(at, arm, pairs[arm.name], index)]
            self._record_power(index, max(pairs.values(), default=self.settings.pairs[0]))
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
            self.records.gate(arm, index, decisions[arm.name], self._flops_above(arm, index) if stops else 0.0)
        self.records.flush()
        return [arm for arm in going if decisions[arm.name].decision == "go"]

    def _take(self, at: RungMeasurement, arm: Arm, pairs: int, index: int) -> bool:
        evidence = at.evidence(arm, pairs, self.baselines[index].slope)
        if evidence is None:
            self.invalid[arm.name] = at.invalid[arm.name]
            return False
        self.evidence[arm.name][index:] = [evidence]
        for axis in AXES:
            for rung, saving in enumerate(savings_up_the_ladder(self.evidence[arm.name], axis)):
                self.records.saving(arm, rung, self.baselines[rung].params, saving)
        return True

    def _gate(self, arm: Arm, index: int) -> gates.Gate:
        savings = self._savings(arm.name, self.settings.axis)
        params = [measured.params for measured in self.baselines]
        upper = forecast(params, {arm.name: savings}, self.target_params)[arm.name]
        bound = next((one.ln_speedup_upper_90 for one in upper if one.method == "decay"), float("inf"))
        return gates.decide(
            savings[index], bound, smallest_saving=self.settings.smallest_saving, schedule=self.settings.pairs
        )

    def _judge(self) -> dict[str, Verdict]:
        verdicts = judge(
            self.evidence,
            axis=self.settings.axis,
            smallest_saving=self.settings.smallest_saving,
            invalid=self.invalid,
            rungs=len(self.ladder.rungs),
        )
        for name, verdict in verdicts.items():
            rung = max(0, len(self.evidence[name]) - 1)
            self.records.verdict(self.arms_by_name[name], self.settings.axis, rung, verdict)
            self.lab.progress.say(f"  {name}: {verdict.word}")
        return verdicts

    def _forecast(self) -> None:
        params = [measured.params for measured in self.baselines]
        for axis in AXES:
            measured = {name: self._savings(name, axis) for name in self.evidence if name not in self.invalid}
            # The stack is no finding: it must not teach the others how findings decay.
            for family in (set(measured) - {STACK}, {STACK} & set(measured)):
                chosen = {name: measured[name] for name in sorted(family)}
                for name, forecasts in forecast(params, chosen, self.target_params).items():
                    self.records.forecasts(self.arms_by_name[name], self.ladder.target.tokens, forecasts)

    def _land(self, arms: Arms, at_top: Sequence[Arm]) -> None:
        top = len(self.ladder.rungs) - 1
        where = {"arm": STACK, "rung": top, "tokens_baseline": self.ladder.top.tokens}
        if STACK not in {arm.name for arm in at_top} or STACK in self.invalid:
            self.records.landing(where, None, "No landing run: the stack did not reach the top rung.")
            return
        at = RungMeasurement(self.lab, self.baseline, self.settings, top)
        survivors = {arm.finding_id for arm in at_top}
        recipe = self._leave_one_out(at, arms, [one for one in arms.members if one.finding_id in survivors])
        arm = Arm(STACK, recipe)
        pairs = len(self.evidence[STACK][top].arm)
        at.measure([arm], {STACK: pairs})
        evidence = at.evidence(arm, pairs, self.baselines[top].slope)
        if evidence is None:
            self.records.landing(where, None, f"No landing run: {at.invalid[STACK]}.")
            return
        saving = savings_up_the_ladder([*self.evidence[STACK][:top], evidence], "tokens")[top]
        tokens = landing_tokens(self.ladder.top.tokens, saving.saving_low if saving.known else 0.0)
        count = self.settings.landing_pairs
        base = at.finished_losses(self.baseline, "baseline", LANDING_SEEDS, count, self.ladder.top.tokens)
        stack = at.finished_losses(recipe, "landing", LANDING_SEEDS, count, tokens)
        landing = judge_landing(base, stack, self.baselines[top].slope, self.settings.smallest_saving)
        self.records.landing(
            {**where, "params": self.baselines[top].params, "tokens_stack": tokens},
            landing,
            "The claim stands." if landing.stands else "The claim falls.",
        )

    def _leave_one_out(self, at: RungMeasurement, arms: Arms, members: Sequence[Finding]) -> Recipe:
        """Measure the stack without each member; returns the stack less the members that it is better off without."""
        assert arms.stack is not None
        top = len(self.ladder.rungs) - 1
        stack = self.evidence[STACK][top]
        left = [
            Arm(f"without:{one.finding_id}", without(self.baseline, arms.members, [one]), one.finding_id)
            for one in members
        ]
        pairs = len(stack.arm)
        at.measure(left, {arm.name: pairs for arm in left})
        gone: list[Finding] = []
        for arm, member in zip(left, members, strict=True):
            evidence = at.evidence(arm, pairs, self.baselines[top].slope)
            if evidence is None:
                continue
            worth = contribution(stack, evidence, axis=self.settings.axis)
            drops = dropped(worth)
            gone += [member] if drops else []
            self.records.contribution(arm, top, worth, {"axis": self.settings.axis, "dropped": drops})
        return without(self.baseline, arms.members, gone) if gone else arms.stack.recipe

    def _record_power(self, index: int, pairs: int) -> None:
        measured, slope = self.baselines[index], self.baselines[index].slope
        if not slope.usable:
            return
        saving = smallest_visible_saving(
            sigma=slope.noise.sigma,
            kappa=slope.kappa,
            s_time=0.0,
            pairs=pairs,
            correlation=PLANNED_CORRELATION,
            alpha=ALPHA,
            power=POWER["transfers"],
        )
        self.records.power(
            index,
            params=measured.params,
            pairs=pairs,
            smallest_saving=saving,
            sigma=slope.noise.sigma,
            kappa=slope.kappa,
            axis="tokens",
        )

    def _record_misfits(self, arms: Arms) -> None:
        self.lab.fact("not_alone", dict(arms.not_alone))
        self.lab.fact("not_stacked", dict(arms.not_stacked))

    def _savings(self, name: str, axis: Axis) -> list[Saving]:
        return savings_up_the_ladder(self.evidence[name], axis)

    def _flops_above(self, arm: Arm, index: int) -> float:
        """FLOPs of the pairs that a stopped arm would have had at the rungs above."""
        recipe = load(arm.recipe)
        total = 0.0
        for rung in self.ladder.rungs[index + 1 :]:
            size = measure(recipe, rung, self.ladder.base, self.lab.vocab_size)
            total += size.flops_per_token * rung.tokens * self.settings.pairs[0]
        return total

    def _frozen(self) -> bool:
        return self.baselines[-1].check.frozen
