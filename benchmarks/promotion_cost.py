"""What a study's promotion cost in FLOPs, against every finding alone at every rung with as many pairs.

The comparison runs the baseline and each finding that was kept on the full horizon of every rung, with as many pairs as
the promotion had at the top, and nothing else: no stack, no member left out, no A/A, no slope, no landing run.
Run: .venv/bin/python benchmarks/promotion_cost.py [--study studies/demo]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from data.store import Store

SPENT = """
SELECT purpose, rung, count(*) AS runs, sum(flops) AS flops FROM runs
WHERE purpose IN ('pair', 'horizon', 'aa', 'plan', 'landing') AND status = 'finished'
GROUP BY purpose, rung ORDER BY rung, purpose"""
FULL = """
SELECT rung, max(flops) AS flops FROM runs JOIN slopes USING (rung)
WHERE arm = 'baseline' AND runs.horizon = slopes.tokens GROUP BY rung ORDER BY rung"""


def main() -> None:
    """Print the cost by purpose and rung, and both shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("studies/demo"))
    store = Store(parser.parse_args().study)
    spent, full = store.rows(SPENT), {row["rung"]: row["flops"] for row in store.rows(FULL)}
    for row in spent:
        runs = row["flops"] / full[row["rung"]]
        print(f"rung {row['rung']}  {row['purpose']:<8} {row['runs']:4d} runs, {runs:6.1f} full baseline runs")
    pairs = store.rows("SELECT max(pairs) AS pairs FROM savings WHERE rung = (SELECT max(rung) FROM savings)")[0][
        "pairs"
    ]
    kept = store.rows("SELECT count(*) AS n FROM findings")[0]["n"]
    taken = store.rows("SELECT count(DISTINCT arm) AS n FROM savings WHERE arm LIKE 'alone:%'")[0]["n"]
    total = sum(row["flops"] for row in spent)
    for what, count in (("all that were kept", kept), ("those that were promoted", taken)):
        alone = (1 + count) * pairs * sum(full.values())
        print(f"{total:.3g} FLOPs for {taken} findings: {total / alone:.0%} of {what} ({count}) alone, {pairs} pairs")


if __name__ == "__main__":
    main()
