"""What a user asked to be measured anew: fresh seeds and fresh timing blocks, the old rows staying where they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data.errors import InputError
from transfer.words import STACK

OF_STACK = ("without:", "trimmed", "plan-row:")
_RUNG = re.compile(r"rung (\d+)\Z")
_ARM = re.compile(r"arm (\S+)\Z")


@dataclass(frozen=True, slots=True)
class Again:
    """How often each thing was asked for again: the timing, rungs by index, arms by name."""

    timing: int = 0
    rungs: Mapping[int, int] = field(default_factory=dict)
    arms: Mapping[str, int] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        """Whether anything was asked for again."""
        return bool(self.timing or self.rungs or self.arms)

    def of_rung(self, index: int) -> int:
        """How often rung `index` was asked for again."""
        return self.rungs.get(index, 0)

    def of_arm(self, name: str) -> int:
        """How often the arm was asked for again; parts of the stack go with it, since they are compared with it."""
        return self.arms.get(STACK if name.startswith(OF_STACK) else name, 0)

    def as_dict(self) -> dict[str, Any]:
        """As it is kept in the study's facts."""
        return {
            "timing": self.timing,
            "rungs": {str(key): count for key, count in sorted(self.rungs.items())},
            "arms": dict(sorted(self.arms.items())),
        }

    @classmethod
    def of_dict(cls, kept: Any) -> Again:  # noqa: ANN401 (a fact is any JSON)
        """Read what `as_dict` gave; nothing where there is none."""
        if not isinstance(kept, dict):
            return cls()
        return cls(
            kept.get("timing", 0),
            {int(key): count for key, count in kept.get("rungs", {}).items()},
            kept.get("arms", {}),
        )

    def plus(self, wanted: Sequence[str], *, rungs: Collection[str], arms: Collection[str]) -> Again:
        """With what is wanted once more: "timing", "rung 1" or "arm X", X an arm's name or its finding's.

        Raises:
            InputError: for anything else, a rung that the ladder does not have, or an arm that was not promoted.
        """
        timing, of_rungs, of_arms = self.timing, dict(self.rungs), dict(self.arms)
        for one in wanted:
            rung, arm = _RUNG.match(one.strip()), _ARM.match(one.strip())
            if one.strip() == "timing":
                timing += 1
            elif rung is not None and int(rung[1]) < len(rungs):
                of_rungs[int(rung[1])] = of_rungs.get(int(rung[1]), 0) + 1
            elif arm is not None and (name := _named(arm[1], arms)) is not None:
                of_arms[name] = of_arms.get(name, 0) + 1
            else:
                raise InputError(
                    f"Cannot measure {one!r} again; name timing, a rung from 'rung 0' to 'rung {len(rungs) - 1}', "
                    f"or one of {', '.join(repr(f'arm {arm}') for arm in sorted(arms)) or 'no arms yet'}."
                )
        return Again(timing, of_rungs, of_arms)


def _named(name: str, arms: Collection[str]) -> str | None:
    return next((one for one in arms if one in (name, f"alone:{name}")), None)
