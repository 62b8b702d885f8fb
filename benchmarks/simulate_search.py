"""Error rates of keep-or-drop in many simulated worlds: the table of docs/method.md, "Keep or drop".

Run: .venv/bin/python benchmarks/simulate_search.py [--searches 400]
"""

import argparse
from typing import Any

from search.error_rates import Rate, error_rates
from search.simulated import SearchWorld

FRESH_STREAMS = 20_000  # none of the streams that the limits were chosen on
WORLDS: dict[str, dict[str, Any]] = {
    "correlation 0": {"correlation": 0.0},
    "correlation .5": {},
    "correlation .9": {"correlation": 0.9},
    "gains half as large": {"mean_gain": 5e-4},
    "gains twice as large": {"mean_gain": 2e-3},
    "gains all alike": {"gains": "equal"},
    "1 % real": {"share_real": 0.01},
    "10 % real": {"share_real": 0.1},
    "no harm, 96 % nulls": {"share_null": 0.96},
    "nothing real": {"share_real": 0.0, "share_null": 0.4},
    "sigma half": {"sigma": 2e-4},
    "sigma twice": {"sigma": 8e-4},
    "edits twice as noisy": {"edit_noise": 2.0},
    "the same, correlation 0": {"edit_noise": 2.0, "correlation": 0.0},
    "40 proposals": {"proposals": 40},
    "150 proposals": {"proposals": 150},
}


def main() -> None:
    """Print one row per world and rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=400)
    searches = parser.parse_args().searches
    print("| world | rule | kept | false share | per null | per placebo | power | runs | bias | coverage |")
    for number, (name, settings) in enumerate(WORLDS.items()):
        more = min(700 // settings.get("proposals", 700), 5)  # small searches keep little each
        world = SearchWorld(seed=FRESH_STREAMS + number, searches=more * searches, **settings)
        for rule, rates in error_rates(world).rules.items():
            shares = (rates.false_share, rates.null_keep_rate, rates.placebo_keep_rate, rates.power)
            cells = [name, rule, _number(rates.kept, 1), *(_number(one, 2, 100) for one in shares)]
            cells += [_number(rates.runs_per_proposal, 3), _number(rates.effect_bias, 1, 1e5)]
            print("|", " | ".join([*cells, _number(rates.effect_coverage, 1, 100)]), "|", flush=True)


def _number(rate: Rate, digits: int, scale: float = 1.0) -> str:
    if rate.value is None or rate.se is None:
        return "-"
    return f"{rate.value * scale:.{digits}f} ± {rate.se * scale:.{digits}f}"


if __name__ == "__main__":
    main()
