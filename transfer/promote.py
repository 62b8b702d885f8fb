"""The way up the ladder: pairs at every rung, gates between them, verdicts at the top, and the landing run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaling.edits import Recipe
from scaling.lab import Lab
from transfer import gates
from transfer.again import Again
from transfer.arms import Arm, Arms, Finding, make_arms
from transfer.claim import land, no_landing
from transfer.crossing import crossings_up_the_ladder
from transfer.forecast import forecast
from transfer.horizons import MAX_ROUNDS, NEAR_T, Request, expected_shortening, look_pairs, next_request, whole_steps
from transfer.members import Membership, measure_members
from transfer.misfits import with_misfit, within_the_stack
from transfer.pairing import pairing
from transfer.pairs import RungPairs
from transfer.records import AXES, Records
from transfer.rung import RungMeasurement
from transfer.rung_baseline import BaselineAtRung
from transfer.saving import Axis, Saving, delta_of
from transfer.saving_estimate import savings_up_the_ladder
from transfer.settings import TransferSettings
from transfer.spared import flops_above
from transfer.timing import blocks_needed, half_width, time_ratios
from transfer.top import Top
from transfer.words import STACK, Verdict, judge

FIRST_BLOCKS = 2
BLOCKS_A_ROUND = 6
MAX_TIMING_ROUNDS = 6
"""Further timing where the clock hides the smallest saving worth having; the report says where it did not suffice."""


class Promotion:
    """Takes findings up the ladder; everything it learns goes to the store as it is learnt."""

    def __init__(
        self,
        lab: Lab,
        baseline: Recipe,
        settings: TransferSettings,
        target_params: int,
        *,
        again: Again | None = None,
        trusted: bool = True,
    ) -> None:
        """Promote with `lab`; `target_params` is the size of the scale of the forecast.

        again: what the user asked to be measured anew. trusted: whether no model wrote the arms.
        """
        self.again, self.trusted = again or Again(), trusted
        self.lab, self.baseline, self.settings, self.target_params = lab, baseline, settings, target_params
        self.records = Records(lab.writer)
        self.ladder = lab.setting.ladder
        self.evidence: dict[str, list[RungPairs]] = {}
        self.invalid: dict[str, str] = {}
        self.baselines: list[BaselineAtRung] = []
        self.rungs: list[RungMeasurement] = []
        self.arms_by_name: dict[str, Arm] = {}
        self.went_on = _went_on(lab) if self.again.anything else frozenset()

    def run(self, findings: Sequence[Finding]) -> dict[str, Verdict]:
        """Measure, gate, land, judge and forecast; returns the verdicts by arm name."""
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
        going = self._time_again(going)
        membership = self._land(arms, going)
        verdicts = self._judge(arms) | self._judge_within(arms, membership)
        self._forecast()
        self.records.flush()
        self.lab.store.ingest()
        return verdicts

    def _climb(self, index: int, going: Sequence[Arm]) -> list[Arm]:
        """Measure rung `index`; returns the arms that go on. The baseline is measured even where no arm is left."""
        at = RungMeasurement(self.lab, self.baseline, self.settings, index, self.again, trusted=self.trusted)
        self.rungs.append(at)
        at.time(going, FIRST_BLOCKS)
        if index == len(self.ladder.rungs) - 1:
            wanted = {arm.name: self._first_guess(at, arm) for arm in going}
            return self._cross(at, going, wanted, self.settings.pairs[-1])
        going, decisions = self._at_horizon(at, going)
        for name, decision in decisions.items():
            arm = self.arms_by_name[name]
            stops = decision.decision != "go"
            spared = flops_above(self.lab, self.baseline, arm.recipe, index, self.settings.pairs[0]) if stops else 0.0
            self.records.gate(arm, index, decision, spared)
        self.records.flush()
        going = [arm for arm in going if decisions[arm.name].decision == "go"]
        if index == 0:
            return self._cross(at, going, {}, self.settings.pairs[-1])
        return self._cross(at, going, {}, self.settings.pairs[0]) if self.settings.cross_everywhere else going

    def _at_horizon(self, at: RungMeasurement, going: Sequence[Arm]) -> tuple[list[Arm], dict[str, gates.Gate]]:
        """Pairs at T, and what the gate asks for; returns the arms that can be judged, and what the gate decided."""
        decisions: dict[str, gates.Gate] = {}
        wanted = [(arm, Request(0.0, self.settings.pairs[0])) for arm in going]
        for _ in range(MAX_ROUNDS * len(self.settings.pairs)):
            most = max((request.pairs for _, request in wanted), default=0)
            going = self._measure(at, going, wanted, f"{len(wanted)} arms, {most} pairs")
            decisions = {arm.name: self._gate(arm, at.index) for arm in going}
            decisions |= self._went_on_before(decisions, at.index)
            wanted = [
                (arm, self._more(at, arm, gate.next_pairs))
                for arm in going
                if (gate := decisions[arm.name]).next_pairs is not None
            ]
            if not wanted:
                break
        return list(going), decisions

    def _went_on_before(self, decisions: Mapping[str, gates.Gate], index: int) -> dict[str, gates.Gate]:
        """Arms that are measured again go where they went: what was measured above is not to be lost to new luck."""
        return {
            name: replace(
                gate, decision="go", reason="Goes on: it went on before it was measured again.", next_pairs=None
            )
            for name, gate in decisions.items()
            if gate.decision in ("futile", "inconclusive") and (name, index) in self.went_on
        }

    def _more(self, at: RungMeasurement, arm: Arm, pairs: int) -> Request:
        """What tells the gate more: pairs where the arm crosses, since others at T do not tell how far that is."""
        request = self._next_of(at, arm, pairs)
        return Request(0.0, pairs) if request is None or request.ln_shortening < 0 else request

    def _cross(self, at: RungMeasurement, going: Sequence[Arm], wanted: dict[str, Request], pairs: int) -> list[Arm]:
        """Run every arm where it ends at the baseline's finished loss, in steps; `wanted`: where to look first."""
        if not wanted:
            wanted = self._next(at, going, pairs)
        if not wanted and at.index not in range(len(self.baselines)):
            self._measure(at, going, [], "baseline")
        for _ in range(MAX_ROUNDS):
            asked = [(arm, wanted[arm.name]) for arm in going if arm.name in wanted]
            if not asked:
                break
            going = self._measure(at, going, asked, f"{len(asked)} arms where they cross")
            wanted = self._next(at, going, pairs)
        for arm in going:
            self._say(arm, at.index)
        return list(going)

    def _next(self, at: RungMeasurement, going: Sequence[Arm], pairs: int) -> dict[str, Request]:
        requests = {arm.name: self._next_of(at, arm, pairs) for arm in going}
        return {name: request for name, request in requests.items() if request is not None}

    def _next_of(self, at: RungMeasurement, arm: Arm, pairs: int) -> Request | None:
        longest, shortest = at.allowed(arm)
        return next_request(self.evidence[arm.name], pairs, longest=longest, steps=at.steps, shortest=shortest)

    def _first_guess(self, at: RungMeasurement, arm: Arm) -> Request:
        """At the top, where an arm crosses is expected from the rung below: no pairs at T are spent on finding it."""
        below = crossings_up_the_ladder(self.evidence[arm.name])[-1] if self.evidence[arm.name] else None
        guess = expected_shortening(below)
        first = look_pairs(self.settings.pairs[-1])
        return Request(whole_steps(guess, at.steps) if guess >= NEAR_T else 0.0, first)

    def _measure(
        self, at: RungMeasurement, going: Sequence[Arm], wanted: Sequence[tuple[Arm, Request]], what: str
    ) -> list[Arm]:
        """Make pairs and one timing block more; returns the arms that can still be judged."""
        at.measure(wanted, what)
        self.baselines[at.index :] = [at.baseline_at_rung()]
        self.records.baseline(at.index, self.baselines[at.index], at.rung)
        if self._why_frozen():
            return self._freeze(at.index, going)
        self._time_all(going)
        going = [arm for arm in going if self._take(at, arm)]
        self._record_power(at.index)
        self.records.flush()
        return going

    def _time_all(self, going: Sequence[Arm]) -> None:
        """One more block of every arm at every rung reached: what a machine does differs from minute to minute."""
        for at in self.rungs:
            at.time([arm for arm in going if at.timing.blocks(arm)])

    def _time_again(self, going: Sequence[Arm]) -> list[Arm]:
        """Time on, a few blocks at a time, where clocks are what makes intervals wide; returns what can be judged."""
        going = self._take_in_timing(going)
        for _ in range(MAX_TIMING_ROUNDS):
            wanting = self._wanting(going)
            if not wanting:
                break
            for at, arm, blocks in wanting:
                at.time([arm], min(blocks, BLOCKS_A_ROUND))
            going = self._take_in_timing(going)
        still = [f"{arm.name} at rung {at.index}" for at, arm, _ in self._wanting(going)]
        blocks = max((at.timing.blocks(arm) for at in self.rungs for arm in going), default=0)
        self.lab.fact("timing", {"wide": still, "blocks": blocks})
        return going

    def _take_in_timing(self, going: Sequence[Arm]) -> list[Arm]:
        """Put all blocks taken so far in the evidence, and record savings by them; returns what can be judged."""
        going = [arm for arm in going if self._retime(arm)]
        for arm in going:
            self.records.savings(arm, [measured.params for measured in self.baselines], self.evidence[arm.name])
        return going

    def _retime(self, arm: Arm) -> bool:
        """Put all blocks taken so far in the arm's evidence; False where its verdict becomes invalid."""
        for index, at in enumerate(self.rungs[: len(self.evidence[arm.name])]):
            evidence = at.evidence(arm, self.baselines[index].slope)
            if evidence is None:
                self._invalidate(arm, index, at.invalid[arm.name])
                return False
            self.evidence[arm.name][index] = evidence
        return True

    def _wanting(self, going: Sequence[Arm]) -> list[tuple[RungMeasurement, Arm, int]]:
        """Where the clock, and nothing else, hides the smallest saving worth having; and the blocks still to take."""
        if self.settings.axis != "seconds":
            return []
        found = []
        for arm in going:
            rungs = self.evidence[arm.name]
            times = time_ratios([() if one.ln_time_ratios is None else one.ln_time_ratios for one in rungs])
            for index in sorted({0, len(rungs) - 1}):
                tokens = self._savings(arm.name, "tokens")[index]
                own = (tokens.high - tokens.low) / 2 if tokens.known else 0.0
                enough = max(delta_of(self.settings.smallest_saving), own) / 2
                if half_width(times[index]) > enough:
                    more = blocks_needed(times[index], enough) - times[index].blocks
                    found.append((self.rungs[index], arm, max(more, 1)))
        return found

    def _take(self, at: RungMeasurement, arm: Arm) -> bool:
        """Take in an arm's pairs; False when the arm did not finish them, which makes its verdict invalid."""
        if not at.has_pairs(arm):
            return True
        evidence = at.evidence(arm, self.baselines[at.index].slope)
        if evidence is None:
            self._invalidate(arm, at.index, at.invalid[arm.name])
            return False
        self.evidence[arm.name][at.index :] = [evidence]
        params = [measured.params for measured in self.baselines]
        self.records.savings(arm, params, self.evidence[arm.name])
        return True

    def _freeze(self, index: int, going: Sequence[Arm]) -> list[Arm]:
        measured = [arm for name, arm in self.arms_by_name.items() if len(self.evidence[name]) > index]
        for arm in {arm.name: arm for arm in (*going, *measured)}.values():
            self._invalidate(arm, index, self._why_frozen())
        self.records.flush()
        return []

    def _invalidate(self, arm: Arm, index: int, why: str) -> None:
        """Stop an arm whose rung cannot judge it; what fewer pairs seemed to say there is withdrawn."""
        self.invalid[arm.name] = why
        for rung, withdrawn in enumerate(self.evidence[arm.name][index:], index):
            self.records.withdrawn(arm, rung, self.baselines[rung].params, withdrawn.pairs)
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

    def _record_power(self, index: int) -> None:
        measured = [one for name in sorted(self.evidence) for one in self.evidence[name]]
        here = [rungs[index].pairs for rungs in self.evidence.values() if len(rungs) > index]
        self.records.power(
            index,
            self.baselines[index],
            pairing(measured),
            self.settings,
            pairs=max(here, default=self.settings.pairs[0]),
        )

    def _say(self, arm: Arm, index: int) -> None:
        """The best answer so far."""
        saving = self._savings(arm.name, "tokens")[-1]
        interval = f"90 %: {saving.saving_low:.0%} to {saving.saving_high:.0%}"
        number = f"{saving.saving:.0%} ({interval})" if saving.known else ""
        bound = f"saves at least {saving.saving_low:.0%}" if saving.at_least == "gain" else "needs more"
        said = f"saves {number}" if number else bound
        self.lab.progress.say(f"  rung {index}, {arm.name}: {said} of the tokens")

    def _savings(self, name: str, axis: Axis) -> list[Saving]:
        return savings_up_the_ladder(self.evidence[name], axis)

    def _why_frozen(self) -> str:
        return self.baselines[-1].why_frozen(self.ladder.rungs[len(self.baselines) - 1].name)


def _went_on(lab: Lab) -> frozenset[tuple[str, int]]:
    """Arms and rungs where a gate of an earlier promotion let them go on."""
    rows = lab.store.rows("select distinct arm, rung from record_gate where decision = 'go'")
    return frozenset((row["arm"], row["rung"]) for row in rows)
