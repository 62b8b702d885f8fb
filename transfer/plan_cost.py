"""What a rung of a promotion costs, in runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transfer.factorial.plans import plackett_burman
from transfer.half_stacks import MOST_IN_PLAN, MOST_WITHOUT_PLAN
from transfer.settings import TransferSettings

HORIZON_SHARES = (0.25, 0.5)
"""Where the baseline is run besides T, as shares of T."""
CROSSING_SHARE = 1.0
"""What one pair's runs towards the crossing cost, in runs of T; they take some .6 to 1.5."""


@dataclass(frozen=True, slots=True)
class RungCost:
    """The runs of one rung, in units of one at its horizon T, if no gate stops anything.

    pairs: baselines at T; horizons: baselines at shares of T; aa: the A/A check; arms: all arms at T; crossing: all
    arms at the horizons where they meet the baseline's loss; members, half_stacks, landing: at the top rung alone.
    """

    pairs: float
    horizons: float
    aa: float
    arms: float
    crossing: float = 0.0
    members: float = 0.0
    half_stacks: float = 0.0
    landing: float = 0.0

    @property
    def runs(self) -> float:
        """All of them together."""
        baseline, arms = self.pairs + self.horizons + self.aa, self.arms + self.crossing
        return baseline + arms + self.members + self.half_stacks + self.landing


def rung_cost(settings: TransferSettings, findings: int, pairs: int, *, is_bottom: bool, is_top: bool) -> RungCost:
    """What a rung costs with `pairs` baselines at T, for so many findings and their stack.

    Below the top, gates read a few pairs at T. At the top, arms are run where they are expected to cross at once.
    """
    arms = findings + 1
    cost = RungCost(
        pairs=pairs,
        horizons=settings.horizon_seeds * sum(HORIZON_SHARES),
        aa=2 * settings.aa_pairs,
        arms=0.0 if is_top else arms * settings.pairs[0],
        crossing=arms * pairs * CROSSING_SHARE if is_bottom or is_top or settings.cross_everywhere else 0.0,
    )
    if not is_top:
        return cost
    rows = 0 if findings <= MOST_WITHOUT_PLAN else plackett_burman(min(findings, MOST_IN_PLAN)).shape[0]
    return replace(
        cost,
        members=pairs * findings,
        half_stacks=rows * (4 if settings.fold_over else 2),
        landing=2 * settings.landing_pairs - min(settings.landing_pairs, 2 * settings.aa_pairs),
    )
