"""What became of findings on larger rungs, in lines for the researcher: which kinds shrank, vanished or held."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from data.store import Store
from search.claude.parse import one_line
from search.claude.quoting import quoted

_VERDICTS = """
SELECT v.arm, v.finding_id, v.axis, v.verdict, v.fragile, v.retention, v.retention_low, v.retention_high, v.reason,
       t.title, t.category, t.expected_scaling
FROM verdicts v LEFT JOIN trials t ON t.trial_id = v.finding_id
ORDER BY v.finding_id NULLS LAST, v.arm, v.axis DESC"""
_SAVINGS = "SELECT arm, axis, rung, saving, saving_low, saving_high FROM savings ORDER BY arm, axis, rung"


def larger_rungs(store: Store) -> list[str]:
    """Lines on every verdict, with the savings by rung, and how each category and expectation fared; may be empty."""
    verdicts = store.rows(_VERDICTS)
    if not verdicts:
        return []
    savings: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for row in store.rows(_SAVINGS):
        share = row["saving"] if row["saving"] is not None else row["saving_low"]
        if share is not None:
            least = "" if row["saving"] is not None else "at least "
            savings[row["arm"], row["axis"]].append(f"{least}{100 * share:.1f} % at rung {row['rung']}")
    lines = [_line(row, savings[row["arm"], row["axis"]]) for row in verdicts]
    return [*_fared(verdicts), *lines]


def _line(row: Mapping[str, Any], savings: Sequence[str]) -> str:
    what = one_line(row["title"] or row["arm"], 100)
    kind = f"[{one_line(row['category'], 40)}] " if row["category"] else ""
    name = f" ({row['finding_id']})" if row["finding_id"] else ""
    fragile = ", fragile" if row["fragile"] else ""
    parts = [f"- {kind}{what}{name}, in {row['axis']}: {row['verdict']}{fragile}"]
    if savings:
        parts.append(f"saved {', '.join(savings)}")
    if row["expected_scaling"]:
        parts.append(f"expected: {row['expected_scaling']}")
    if row["reason"]:
        parts.append(f"reason {quoted(row['reason'], 160)}")
    return "; ".join(parts)


def _fared(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Counts of verdicts in tokens by category, and by what was expected."""
    lines = []
    for column, words in (("category", "Category"), ("expected_scaling", "Expected")):
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in verdicts:
            if row["axis"] == "tokens" and row[column]:
                counts[one_line(row[column], 40)][row["verdict"]] += 1
        for name, found in sorted(counts.items()):
            counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(found.items()))
            lines.append(f"- {words} {name}: {counted}")
    return lines
