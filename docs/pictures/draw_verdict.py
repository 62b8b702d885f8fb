"""Makes verdict.svg from a made-up table: `python docs/pictures/draw_verdict.py`. The truth of every arm is below."""

import csv
import tempfile
from pathlib import Path

import numpy as np

from analysis.chart_verdict import draw
from analysis.style import to_svg
from analysis.verdict_command import Asked, run_verdict

PARAMS = (3e7, 1e8, 3e8, 1e9)
TOKENS_PER_PARAM = (10, 20, 40)
SEEDS = 3
SIGMA = 0.003  # of a run, nats per token
SMALLEST_SAVING = 0.02
CORRELATION = 0.6  # of runs that share a seed
LN_SPEEDUPS = {
    "baseline": (0.0, 0.0, 0.0, 0.0),
    "matrix optimiser": (0.34, 0.26, 0.19, 0.14),
    "gated attention": (0.11, 0.11, 0.11, 0.11),
    "bigram embeddings": (0.12, 0.05, 0.01, 0.0),
    "shorter warm-up": (0.03, -0.02, -0.05, -0.08),
}


def write_table(path: Path) -> None:
    """Write one row per arm, size, horizon and seed: finished losses of L = 1.7 + 400 N^-.34 + 410 (S D)^-.28."""
    random = np.random.default_rng(7)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("arm", "params", "tokens", "seed", "loss"))
        for rung, params in enumerate(PARAMS):
            for tokens in (params * ratio for ratio in TOKENS_PER_PARAM):
                shared = random.standard_normal(SEEDS)
                for arm, gains in LN_SPEEDUPS.items():
                    luck = CORRELATION**0.5 * shared + (1 - CORRELATION) ** 0.5 * random.standard_normal(SEEDS)
                    loss = 1.7 + 400 * params**-0.34 + 410 * (tokens * np.exp(gains[rung])) ** -0.28
                    writer.writerows(
                        (arm, params, tokens, seed, loss + SIGMA * float(one)) for seed, one in enumerate(luck)
                    )


def main() -> None:
    """Judge the table as `scaleproof verdict` does, and draw what its page shows."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "made-up.csv"
        write_table(table)
        answer = run_verdict(table, Asked(target="params=3e9", smallest_saving=SMALLEST_SAVING))
    chart = draw(answer)
    assert chart is not None
    Path(__file__).with_name("verdict.svg").write_text(to_svg(chart, "verdict"), encoding="utf-8")


if __name__ == "__main__":
    main()
