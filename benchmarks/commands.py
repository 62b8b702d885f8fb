"""How long do the commands take that a user waits for, on a finished demo study?

Prints the median of several whole processes for `--help`, `sql` and a second `demo`, beside what each may take; exit
status 1 when one takes longer.
Run: .venv/bin/python benchmarks/commands.py [--study studies/demo] [--times 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMAND = Path(sys.executable).with_name("scaleproof")


def main() -> None:
    """Time each command and print one line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("studies/demo"))
    parser.add_argument("--times", type=int, default=5)
    chosen = parser.parse_args()
    study = str(chosen.study)
    commands = {
        "scaleproof --help": (["--help"], 0.5),
        "scaleproof sql": (["sql", study, "select arm, verdict, reason from verdicts"], 1.0),
        "scaleproof demo, finished": (["demo", "--study", study], 5.0),
    }
    late = False
    for name, (arguments, most_seconds) in commands.items():
        median = statistics.median(seconds(arguments) for _ in range(chosen.times))
        late |= median > most_seconds
        print(f"{name}: median {median:.2f} s, at most {most_seconds:g} s")
    sys.exit(1 if late else 0)


def seconds(arguments: list[str]) -> float:
    """Wall seconds of one whole process, which must succeed."""
    started = time.perf_counter()
    subprocess.run([COMMAND, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
