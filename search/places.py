"""Which trials of a search are placebos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from search.proposals import Proposal
from search.settings import SearchSettings

PLACEBO_TRIAL = 100
"""Placebo trials shift the random stream by other amounts than the calibration's placebos."""

Placebo = Callable[[int], Proposal]


class Places:
    """The places of a search's trials, numbered from 0: one in `placebo_every` is a placebo's, whoever proposes."""

    def __init__(self, settings: SearchSettings, placebo: Placebo) -> None:
        """`placebo(k)` is the k-th proposal that changes nothing but the random stream."""
        self._trials, self._placebo = settings.trials, placebo
        self._every, self._apart = settings.placebo_every, min(settings.placebo_every, settings.trials)

    def others(self, first: int, room: int) -> int:
        """How many of the `room` places from `first` on are not a placebo's."""
        return room - sum(map(self._is_placebo, range(first, first + room)))

    def filled(self, first: int, proposals: Sequence[Proposal]) -> list[Proposal]:
        """The proposals, and after them the placebos whose places they have reached."""
        place, numbers, left = first, [], len(proposals)
        while (left or self._is_placebo(place)) and place < self._trials:
            if self._is_placebo(place):
                numbers.append(place // self._every)
            else:
                left -= 1
            place += 1
        return [*proposals, *(self._placebo(PLACEBO_TRIAL + number) for number in numbers)]

    def _is_placebo(self, place: int) -> bool:
        # A search of one trial is somebody's first try of a proposer.
        return self._apart > 1 and place % self._apart == self._apart // 2
