"""700 trials with a scripted researcher, unattended, killed three times: does all of it hold together?

Run: .venv/bin/python benchmarks/soak.py [--trials 700] [--kills 3] [--folder FOLDER]

The researcher is a process of its own that speaks the Messages protocol on loopback; the search asks it through the
real SDK, and runs what it writes in the real sandbox. Prints one row per figure, and exits with 1 where one is missed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from soak_truth import RATE

from data.store import Store
from data.study import Study
from scaling.lab import packaged_recipe
from search.claude.journal import LOST, OWN_WORDS
from transfer.presets import study_settings

ROOT = Path(__file__).parent.parent
KEY = "sk-ant-loopback-0123456789"
WORKERS = 2
RUNG = {"name": "soak", "depth": 2, "width": 32, "context": 64, "batch_size": 8, "tokens": 64 * 8 * 100}
LARGER = {**RUNG, "name": "larger", "width": 48}
TARGET = {**RUNG, "name": "target", "width": 64}


def main() -> None:
    """Make the study, search it, kill it on the way, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=700)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="scaleproof-soak-"))
    folder.mkdir(exist_ok=True)
    log = folder / "requests.jsonl"
    with researcher(log) as server:
        assert server.stdout is not None
        study = make_study(folder / "study", given.trials, f"http://127.0.0.1:{server.stdout.readline().strip()}")
        took, memory = search_to_its_end(study, given.trials, given.kills)
        server.kill()
    rows = [*figures_of_time(study, took), *figures_of_memory(memory), *figures_of_trials(study, given.trials)]
    rows += figures_of_requests(study, log)
    print("| figure | measured | wanted | |")
    for name, value, wanted, holds in rows:
        print(f"| {name} | {value} | {wanted} | {'ok' if holds else 'MISSED'} |")
    print(f"\nThe study is {study.path}.")
    sys.exit(0 if all(holds for *_, holds in rows) else 1)


Figure = tuple[str, str, str, bool]


def researcher(log: Path) -> subprocess.Popen[str]:
    """The server, which prints its port first."""
    paths = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "benchmarks")])
    server = str(ROOT / "tests" / "messages_server.py")
    command = [sys.executable, server, "--script", "soak_researcher:researcher", "--log", str(log)]
    environment = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def make_study(path: Path, trials: int, url: str) -> Study:
    """A study whose baseline is undertuned, so that truly good edits are known."""
    settings = study_settings("demo")
    ladder = {"name": "soak", "rungs": [RUNG, LARGER], "target": TARGET}
    settings["ladder"] = {**ladder, "evaluation_sequences": 128, "checkpoint_seconds": 3600}
    settings["search"] = {"trials": trials, "proposer": "claude"}
    settings["claude"] = {"base_url": url, "max_usd": 500.0}
    source = packaged_recipe().source.replace('"learning_rate": Knob(5.6e-3,', f'"learning_rate": Knob({RATE},')
    return Study.create(path, settings, source)


def search_to_its_end(study: Study, trials: int, kills: int) -> tuple[float, list[tuple[int, float]]]:
    """Seconds in all; trials ended and the driver's memory in MB, as sampled on the way."""
    began, memory = time.monotonic(), []
    thresholds = [round(trials * (k + 1) / (kills + 1)) for k in range(kills)]
    scaleproof = str(Path(sys.executable).with_name("scaleproof"))
    while True:
        command = [scaleproof, "search", str(study.path), "--workers", str(WORKERS)]
        environment = {**os.environ, "ANTHROPIC_API_KEY": KEY, "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
            while driver.poll() is None:
                time.sleep(1.0)
                ended = trials_ended(study)
                memory.append((ended, resident_mb(driver.pid)))
                if thresholds and ended >= thresholds[0]:
                    thresholds.pop(0)
                    driver.kill()
        if driver.returncode != -9:
            if driver.returncode:
                sys.exit(f"the search ended with status {driver.returncode}")
            return time.monotonic() - began, memory


def trials_ended(study: Study) -> int:
    """Trials that the spool has an outcome of; those kept or unresolved come at the end only."""
    files = [*study.spool.glob("study.*.jsonl")]
    rows = [json.loads(line) for file in files for line in lines(file, "trial")]
    return len({row["trial_id"] for row in rows if row.get("status")})


def lines(file: Path, kind: str) -> list[str]:
    """Lines of one kind."""
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith(f'{{"kind":"{kind}"')]


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 where it has ended."""
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:
        return 0.0


def figures_of_time(study: Study, took: float) -> list[Figure]:
    """How long it took, what the driver added to the runs, and how soon a free worker had work."""
    runs = Store(study.path).rows(
        "select started_at, ended_at, purpose from runs where ended_at is not null order by started_at"
    )
    searched = [row for row in runs if row["purpose"] in ("screen", "confirm", "placebo")]
    busy = sum(row["ended_at"] - row["started_at"] for row in searched)
    idle, longest = idle_between(searched)
    return [
        ("whole search, minutes", f"{took / 60:.1f}", "<= 45", took <= 45 * 60),
        ("runs", str(len(runs)), "", True),
        ("mean seconds of a run", f"{busy / len(searched):.2f}", "about 1", True),
        ("workers' idle time over the runs' time", f"{idle / busy:.1%}", "<= 5 %", idle <= 0.05 * busy),
        ("longest wait of a free worker, seconds (99 %)", f"{longest:.2f}", "<= 2", longest <= 2.0),
    ]


def idle_between(runs: list[dict[str, Any]]) -> tuple[float, float]:
    """Idle worker seconds, and the 99th percentile of single waits, times of restarts left out."""
    free: list[float] = []
    waits: list[float] = []
    events = sorted([(row["started_at"], 1) for row in runs] + [(row["ended_at"], 0) for row in runs])
    for at, begins in events:
        if begins and free:
            waits.append(at - free.pop(0))
        elif not begins:
            free.append(at)
    usual = sorted(wait for wait in waits if wait < 5.0)
    return sum(usual), usual[int(0.99 * (len(usual) - 1))]


def figures_of_memory(samples: list[tuple[int, float]]) -> list[Figure]:
    """The driver's memory, and whether it grows with the trials."""
    held = [(ended, mb) for ended, mb in samples if mb > 0]
    most = max(mb for _, mb in held)
    third = len(held) // 3
    early = sorted(mb for _, mb in held[third // 2 : third])[third // 4]
    late = sorted(mb for _, mb in held[-third // 2 :])[third // 4]
    return [
        ("driver's memory at most, MB", f"{most:.0f}", "< 300", most < 300),
        ("driver's memory, early and late, MB", f"{early:.0f}, {late:.0f}", "flat", late < early + 60),
    ]


def figures_of_trials(study: Study, trials: int) -> list[Figure]:
    """Outcomes of proposals, and how many of the kept are false."""
    store = Store(study.path)
    rows = store.rows("select trial_id, title, status, placebo from trials")
    proposed = [row for row in rows if not row["placebo"]]
    kept = Counter(row["title"].split()[0] for row in proposed if row["status"] == "kept")
    false = sum(count for kind, count in kept.items() if kind != "good")
    good = sum(row["title"].startswith("good ") for row in proposed)
    share = false / max(1, sum(kept.values()))
    statuses = ", ".join(f"{count} {status}" for status, count in Counter(r["status"] for r in rows).most_common())
    placebos = [row["status"] for row in rows if row["placebo"]]
    lost = sum(row["status"] is None for row in rows) + len(proposals_answered(store) - {r["title"] for r in proposed})
    return [
        ("trials with one outcome", f"{len(rows)} ({statuses})", str(trials), len(rows) == trials),
        ("proposals without an outcome", str(lost), "0", not lost),
        ("kept that are not truly good", f"{false} of {sum(kept.values())} ({share:.1%})", "<= 5 %", share <= 0.05),
        ("truly good that were kept", f"{kept['good']} of {good}", "", kept["good"] > 0),
        ("placebos kept", f"{placebos.count('kept')} of {len(placebos)}", "", True),
    ]


def proposals_answered(store: Store) -> set[str]:
    """Titles of all proposals in recorded answers, but for the last answer's, which may be more than were wanted."""
    calls = store.rows("select request_id, answer from llm_calls where purpose = 'propose' order by request_id")
    answers = [json.loads(row["answer"]) for row in calls if row["answer"]]
    found = [[b["input"]["title"] for b in one["content"] if b["type"] == "tool_use"] for one in answers]
    return {title for titles in found[:-1] for title in titles if not title.startswith(("misfit", "crash"))}


def figures_of_requests(study: Study, log: Path) -> list[Figure]:
    """Whether anything was paid for twice, or lost."""
    sent = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    answered = sum(one["path"] == "/v1/messages" and one["status"] == 200 and one["sent"] for one in sent)
    calls = Store(study.path).rows("select stop_reason, error, cost_usd from llm_calls")
    recorded = sum(row["stop_reason"] not in OWN_WORDS for row in calls)
    lost = sum(row["stop_reason"] == LOST and "process ended" in row["error"] for row in calls)
    # A kill between the sending of an answer and its being written down makes it a lost one, which is asked for again.
    told = recorded <= answered <= recorded + lost
    return [
        ("answers sent, recorded, lost by kills", f"{answered}, {recorded}, {lost}", "sent <= recorded + lost", told),
        ("spent, USD", f"{sum(row['cost_usd'] or 0 for row in calls):.2f}", "", True),
    ]


if __name__ == "__main__":
    main()
