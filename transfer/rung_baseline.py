"""What the baseline's own runs say of a rung."""

from __future__ import annotations

import math
from dataclasses import dataclass

from transfer import aa
from transfer.slope import Slope


@dataclass(frozen=True, slots=True)
class BaselineAtRung:
    """What the baseline's own runs say of a rung."""

    slope: Slope
    check: aa.AAResult
    params: int
    flops: float
    tokens: int

    def why_frozen(self, rung: str) -> str:
        """Why nothing may be judged at this rung; empty where it may."""
        if not self.slope.usable:
            return f"at rung {rung} the baseline's finished loss does not fall with tokens, so no saving can be told"
        if not self.check.frozen:
            return ""
        found = f"lnS {self.check.ln_speedup:.3f}, 99 % interval {self.check.low_99:.3f} to {self.check.high_99:.3f}"
        known = math.isfinite(self.check.ln_speedup)
        return (
            f"the A/A check froze rung {rung}: the baseline differs from itself there "
            f"({found if known else 'by more than its slope can express'})"
        )
