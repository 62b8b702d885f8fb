"""What the pairs of a plan can see: with what the study has measured, and with what is assumed where it has not."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import variance

from data.store import Store
from transfer.power import POWER, smallest_visible_saving
from transfer.settings import TransferSettings

ASSUMED = {"cpu": (0.03, 0.45, 0.01), "gpu": (0.001, 0.16, 0.003)}
"""Until a study has measured its own: sigma and kappa (nats per token) and s_time, by accelerator."""
ASSUMED_CORRELATION = 0.5


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of the study's rungs; a rung that no promotion has measured is in none of the tables.

    slopes: sigma and kappa by rung; transition: whether the baseline's curve still steepens there; correlation: of the
    two runs of a pair; s_time: see `timing_spread`.
    """

    accelerator: str
    slopes: Mapping[int, tuple[float, float]]
    transition: Mapping[int, bool | None]
    correlation: Mapping[int, float]
    s_time: float | None

    @classmethod
    def read(cls, store: Store, accelerator: str) -> Sight:
        """Read what the study's latest promotion left; `accelerator` (cpu or gpu) chooses what is assumed."""
        slopes = store.rows("select rung, sigma, kappa, transition from slopes where kappa > 0")
        pairing = store.rows("select rung, correlation from powers where correlation is not null and not assumed")
        return cls(
            accelerator,
            {row["rung"]: (row["sigma"], row["kappa"]) for row in slopes},
            {row["rung"]: row["transition"] for row in slopes},
            {row["rung"]: row["correlation"] for row in pairing},
            timing_spread(store),
        )

    def smallest(self, rung: int, pairs: int, settings: TransferSettings, axis: str) -> float:
        """The smallest saving on an axis that so many pairs establish."""
        sigma, kappa, s_time = ASSUMED[self.accelerator]
        sigma, kappa = self.slopes.get(rung, (sigma, kappa))
        s_time = s_time if self.s_time is None else self.s_time
        return smallest_visible_saving(
            sigma=sigma,
            kappa=kappa,
            s_time=s_time if axis == "seconds" else 0.0,  # tokens and FLOPs are counted, not timed
            pairs=pairs,
            correlation=self.correlation.get(rung, ASSUMED_CORRELATION),
            alpha=settings.alpha,
            power=POWER["transfers"],
        )

    def notes(self, names: Mapping[int, str], axis: str) -> list[str]:
        """What the smallest savings rest on, and the regime; `names` of the rungs by index."""
        sigma, kappa, s_time = ASSUMED[self.accelerator]
        notes = []
        if not names.keys() <= self.slopes.keys():
            notes.append(
                f"Noise and slope of rungs not yet measured are assumed: sigma {sigma}, kappa {kappa} nats per token."
            )
        if not names.keys() <= self.correlation.keys():
            notes.append(f"The correlation of pairs is assumed where it was not measured yet: {ASSUMED_CORRELATION}.")
        if axis == "seconds":
            notes.append(
                f"The spread between blocks of a timing is assumed: s_time {s_time}."
                if self.s_time is None
                else f"The spread between blocks of a timing is measured: s_time {self.s_time:.2g}."
            )
        beside = "" if axis == "tokens" else ", and beside it in tokens"
        notes.append(
            f"Sees from: the smallest saving in {axis}{beside}, that the pairs named establish with 90 % chance."
        )
        return [*notes, *self._regime(names)]

    def _regime(self, names: Mapping[int, str]) -> list[str]:
        still = [name for rung, name in names.items() if self.transition.get(rung)]
        unknown = [name for rung, name in names.items() if self.transition.get(rung) is None]
        notes = []
        if still:
            notes.append(
                f"In transition at rung {', '.join(still)}: the baseline's loss still falls faster with every doubling "
                "of its tokens there, and savings need not hold for models past it."
            )
        if unknown:
            notes.append(
                f"Whether the baseline is in its transition at rung {', '.join(unknown)} is not known before a "
                "promotion has measured its curve; few tokens per parameter make it likely."
            )
        return notes


def timing_spread(store: Store) -> float | None:
    """Sd over blocks of ln(seconds per token, arm / baseline), pooled within arm and rung; None where not timed."""
    blocks: defaultdict[tuple[int, str], list[float]] = defaultdict(list)
    for row in store.rows("select rung, arm, ln_ratio from timings where ln_ratio is not null order by all"):
        blocks[row["rung"], row["arm"]].append(row["ln_ratio"])
    several = [ratios for ratios in blocks.values() if len(ratios) > 1]
    dof = sum(len(ratios) - 1 for ratios in several)
    return math.sqrt(sum((len(ratios) - 1) * variance(ratios) for ratios in several) / dof) if dof else None
