"""Gates between rungs: go on up, measure more pairs, or stop spending. Claims are made at the top rung alone."""

from dataclasses import dataclass
from typing import Literal

from transfer.saving import Saving, delta_of, saved

Decision = Literal["go", "futile", "more", "inconclusive"]

PAIRS = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Gate:
    """What to do with an arm after a rung.

    `lower_80`: one-sided lower bound of lnS at this rung; `upper_90_at_target`: one-sided upper bound of the forecast
    lnS; `next_pairs` the pairs to have at this rung before it is asked again, where more are wanted.
    """

    decision: Decision
    reason: str
    lower_80: float
    upper_90_at_target: float
    next_pairs: int | None = None


def decide(
    saving: Saving, upper_90_at_target: float, *, smallest_saving: float, schedule: tuple[int, ...] = PAIRS
) -> Gate:
    """Decide on an arm from its saving in seconds at this rung and its forecast at the target.

    A late bloomer is stopped too, and an arm that vanishes further up is not: both are the price of a cheap gate.
    """
    delta = delta_of(smallest_saving)
    lower_80 = saving.lower(0.8)

    def gate(decision: Decision, reason: str, next_pairs: int | None = None) -> Gate:
        return Gate(decision, reason, lower_80, upper_90_at_target, next_pairs)

    if not saving.bounded:
        return gate("inconclusive", f"Stopped: {saving.reason}.")
    if lower_80 > 0:
        return gate("go", f"Goes on: it saves more than {saved(lower_80):.1%} here at 80 % confidence.")
    if upper_90_at_target < delta:
        best = saved(upper_90_at_target)
        return gate("futile", f"Stopped: at best {best:.1%} is forecast at the target, below {smallest_saving:.1%}.")
    if saving.high < 0:
        return gate(
            "futile", f"Stopped: it loses at least {-saved(saving.high):.1%} here, which no more pairs would turn."
        )
    more = next((pairs for pairs in schedule if pairs > saving.pairs), None)
    if more is not None:
        return gate("more", f"Needs {more} pairs instead of {saving.pairs}: neither a gain nor futile so far.", more)
    return gate("inconclusive", f"Stopped: {saving.pairs} pairs show neither a gain nor that it is futile.")
