"""What a researcher expected of its trials, held against what was measured."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from analysis.evidence import GIVEN_UP, UNDER_WAY, Row, Rows
from analysis.tables import Table
from analysis.wording import count_of, percent

LEAST_FOR_RANKS = 5
AS_EXPECTED = {
    "constant": {"transfers"},
    "shrinks": {"shrinks"},
    "small only": {"vanishes", "reverses"},
    "harmful": {"harmful", "reverses"},
}
UNDECIDED = {"gains", "inconclusive", "invalid"}
"""Words that do not tell how a saving goes with scale; a gain whose change is unknown is one of them."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """Expected effects against measured ones, of the trials that were confirmed and had one expected.

    told counts trials with an expected effect, measured those of them with a measured one, right_sign those of these
    whose signs agree. ranks: Spearman's correlation, None where there are few or all alike. optimism: the median of
    expected over measured among those expected to gain, infinite where most gained nothing; kept_optimism: the same
    among the kept. None where there are none.
    """

    told: int
    measured: int
    right_sign: int
    ranks: float | None
    optimism: float | None
    kept_optimism: float | None


def hold_against(diary: Rows) -> Expectations:
    """Compare the expected effects of the diary's trials with the measured ones; those under way do not count yet."""
    told = [row for row in diary if row["expected_effect"] is not None and row["status"] not in (UNDER_WAY, GIVEN_UP)]
    measured = [row for row in told if row["effect"] is not None]
    hopeful = [row for row in measured if row["expected_effect"] > 0]
    return Expectations(
        told=len(told),
        measured=len(measured),
        right_sign=sum(row["expected_effect"] * row["effect"] > 0 for row in measured),
        ranks=rank_correlation([row["expected_effect"] for row in measured], [row["effect"] for row in measured]),
        optimism=_median_ratio(hopeful),
        kept_optimism=_median_ratio([row for row in hopeful if row["status"] == "kept"]),
    )


def rank_correlation(expected: Sequence[float], measured: Sequence[float]) -> float | None:
    """Spearman's correlation; None for fewer than 5 pairs, or where either side is all alike."""
    if len(expected) < LEAST_FOR_RANKS or len(set(expected)) < 2 or len(set(measured)) < 2:
        return None
    from scipy import stats

    return float(stats.spearmanr(expected, measured).statistic)


def _median_ratio(rows: Sequence[Row]) -> float | None:
    ratios = [row["expected_effect"] / row["effect"] if row["effect"] > 0 else math.inf for row in rows]
    return median(ratios) if ratios else None


def expectation_sentences(found: Expectations) -> list[str]:
    """Return what the comparison shows; nothing where no effect was expected or none was measured."""
    if not found.measured:
        return []
    sentences = [
        f"{found.told - found.measured} of {count_of(found.told, 'trial')} with an expected effect showed nothing at "
        f"the screen, or could not be run. Of the {found.measured} that were confirmed, {found.right_sign} "
        f"({percent(found.right_sign / found.measured)}) have an effect of the expected sign, as most that pass the "
        "screen would."
    ]
    if found.ranks is not None:
        sentences.append(f"Rank correlation of expected and measured effects: {found.ranks:+.2f}.".replace("-", "−"))
    if found.optimism is not None and math.isfinite(found.optimism):
        sentences.append(f"Expected gains are {_times(found.optimism)} the measured ones (median).")
    elif found.optimism is not None:
        sentences.append("At least half of the expected gains did not come at all.")
    if found.kept_optimism is not None and math.isfinite(found.kept_optimism):
        sentences.append(
            f"Among the kept, expected gains are {_times(found.kept_optimism)} the measured ones (median)."
        )
    return sentences


def _times(ratio: float) -> str:
    return f"{ratio:.2g} times" if ratio < 100 else f"{ratio:,.0f} times"


def scaling_table(rows: Rows, axis: str) -> Table:
    """Return what was expected up the ladder against the verdicts, as counts of findings."""
    mine = [row for row in rows if row["axis"] == axis]
    words = sorted({row["verdict"] for row in mine}, key=lambda word: (word in UNDECIDED, word))
    counts = Counter((row["expected_scaling"], row["verdict"]) for row in mine)
    expected = [word for word in (*AS_EXPECTED, "unknown") if any(row["expected_scaling"] == word for row in mine)]
    return Table(
        [("Expected with scale", False), *[(word, True) for word in words]],
        [[one, *[str(counts[one, word] or "") for word in words]] for one in expected],
    )


def scaling_sentence(rows: Rows, axis: str) -> str:
    """Return how many of the verdicts that decide are as expected; empty where there are none."""
    decided = [
        row
        for row in rows
        if row["axis"] == axis and row["verdict"] not in UNDECIDED and row["expected_scaling"] in AS_EXPECTED
    ]
    if not decided:
        return ""
    right = sum(row["verdict"] in AS_EXPECTED[row["expected_scaling"]] for row in decided)
    return f"{right} of {count_of(len(decided), 'finding')} with a verdict went up the ladder as expected."
