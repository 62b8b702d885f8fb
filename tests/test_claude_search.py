"""A whole search with a model behind it: the real command, SDK and sandbox; the model is a script on loopback."""

import itertools
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cells import needs_bubblewrap
from hostile_machine import MACHINE
from hostile_numbers import NUMBERS, ORDERS
from messages_server import KEY, Exchange, MessagesServer, Reply, error, tools
from researchers import is_repair, wanted
from small_study import ENVIRONMENT, LADDER, SCALEPROOF, SEARCH, TRANSFER, ended_before, write_corpus

from data.store import Store
from data.study import Study
from search.sandbox.limits import SandboxSettings
from transfer.presets import check_settings

pytestmark = needs_bubblewrap

WARMUP = '    warmup = knobs["warmup_share"]'
CRASH = '    if progress > 0.5:\n        raise ValueError("half way")\n'


def proposal(title: str, replacements: list[tuple[str, str]] | None = None, **knobs: float) -> dict[str, Any]:
    return {
        "title": title,
        "hypothesis": "It may help.",
        "category": "optimiser",
        "expected_effect": 0.02,
        "expected_scaling": "constant",
        "scale_rule": "constant",
        "replacements": [{"old": old, "new": new} for old, new in replacements or []],
        "diff": "",
        "knobs": [{"name": name, "value": value} for name, value in knobs.items()],
    }


class Script:
    """Proposes knob values, and now and then an edit that does not apply or crashes; repairs the former.

    `hold`: when set, no request is answered before it is set again.
    """

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.gate: threading.Event | None = None
        self.failing: Reply | None = None

    def __call__(self, body: dict[str, Any]) -> Reply:
        if self.failing is not None:
            return self.failing
        if is_repair(body):
            number = next(self.numbers)
            return tools(("propose", proposal(f"repaired {number}", epsilon=1e-8 * number)))
        reply = tools(*(("propose", self.edit(next(self.numbers))) for _ in range(wanted(body))))
        return Reply(reply.content, reply.stop_reason, gate=self.gate)

    def edit(self, number: int) -> dict[str, Any]:
        if number % 5 == 2:
            return proposal(f"misfit {number}", [("no line of the recipe", "x")])
        if number % 5 == 4:
            return proposal(f"crash {number}", [(WARMUP, CRASH + WARMUP)], weight_decay=0.01 * number)
        return proposal(f"rate {number}", learning_rate=5.6e-3 * (1 + 0.1 * number))


@pytest.fixture
def server() -> Iterator[MessagesServer]:
    with MessagesServer(Script()) as served:
        yield served


def make(folder: Path, server: MessagesServer, trials: int, **claude: Any) -> Study:
    settings = {
        "corpus": {"source": str(write_corpus(folder / "corpus.jsonl"))},
        "search": {**SEARCH, "only": None, "trials": trials, "proposer": "claude", "placebo_every": 6},
        "claude": {"base_url": server.url, "proposals_per_request": 3, **claude},
        "sandbox": SandboxSettings(wall_seconds=60.0).model_dump(),
        "transfer": TRANSFER,
        "ladder": LADDER,
    }
    check_settings(settings)
    return Study.create(folder / "study", settings)


def command(name: str, study: Study, *options: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("ANTHROPIC")}
    return subprocess.Popen(
        [SCALEPROOF, name, study.path, "--workers", "2", *options],
        env={**kept, "ANTHROPIC_API_KEY": KEY, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(name: str, study: Study, *options: str, **environment: str) -> tuple[int, str]:
    with command(name, study, *options, **environment) as process:
        _, said = process.communicate(timeout=300)
        return process.returncode, said


def trials(study: Study) -> list[dict[str, Any]]:
    return Store(study.path).rows("select * from trials order by trial_id")


def answered(server: MessagesServer) -> list[Exchange]:
    return [one for one in server.asked() if one.sent and one.status == 200]


def ended_trials(study: Study, number: int) -> Callable[[], bool]:
    """Whether so many trials have ended, looked at without the store."""

    def counted() -> bool:
        lines = (line for file in study.spool.glob("*.jsonl") for line in file.open())
        return sum(line.startswith('{"kind":"trial"') and '"status":"' in line for line in lines) >= number

    return counted


def test_killed_searches_lose_nothing_and_pay_for_nothing_twice(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=18)
    for more in (1, 3, 6):
        with command("search", study) as process:
            assert not ended_before(process, ended_trials(study, more)), process.communicate()[1]
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    status, said = run("search", study)
    assert status == 0, said

    rows = trials(study)
    assert len(rows) == 18
    assert {row["status"] for row in rows} <= {"kept", "dropped", "unresolved", "crashed", "rejected"}
    assert sum(row["placebo"] for row in rows) == 3
    made = [row for row in rows if not row["placebo"]]
    assert {row["proposer"] for row in made} == {"claude"}
    assert all(row["patch"] for row in made), "an edit's text was lost"
    crashed = [row for row in made if row["title"].startswith("crash")]
    assert not crashed, "a run that crashed is repaired once"
    assert {row["repairs"] for row in made} == {0, 1}
    assert len({row["recipe_hash"] for row in made if row["recipe_hash"]}) == len([r for r in made if r["recipe_hash"]])

    calls = Store(study.path).rows("select stop_reason, answer from llm_calls")
    recorded, lost = (sum(row["stop_reason"] == word for row in calls) for word in ("tool_use", "lost"))
    # An answer that was sent but not written down when the command was killed counts as lost, and is asked for again.
    assert recorded <= len(answered(server)) <= recorded + lost, "an answer was lost unseen, or paid for twice"
    twice = "select run_id from record_run where status = 'finished' group by run_id having count(*) > 1"
    assert Store(study.path).rows(twice) == []

    before = len(server.exchanges)
    status, said = run("search", study)
    assert (status, len(server.exchanges)) == (0, before), "a finished search asks nobody"
    assert KEY not in "".join(file.read_text() for file in study.spool.rglob("*.jsonl"))


def test_a_signal_lets_the_runs_under_way_end_and_the_next_command_goes_on(
    tmp_path: Path, server: MessagesServer
) -> None:
    study = make(tmp_path, server, trials=8)
    with command("search", study) as process:
        assert not ended_before(process, lambda: bool(answered(server)))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "Stopping after what is under way" in said
    assert "Traceback" not in said
    cut = Store(study.path).rows("select 1 from runs where status = 'running'")
    assert cut == [], "a run was cut off"
    asked = len(answered(server))
    status, said = run("search", study)
    assert status == 0, said
    assert len(trials(study)) == 8
    repeated = [json.dumps(one.body["messages"]) for one in answered(server)]
    assert len(set(repeated)) == len(repeated) >= asked


def test_a_search_ends_before_the_request_that_could_pass_its_budget(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=8)
    status, said = run("search", study, "--max-usd", "0.01")
    assert status == 0, said
    assert answered(server) == []
    assert "0.01" in said
    assert trials(study) == []


def test_a_key_that_is_missing_or_refused_is_said_before_anything_runs(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=8)
    for key in ("", "sk-ant-wrong"):
        status, said = run("search", study, ANTHROPIC_API_KEY=key)
        assert status == 2, said
        assert said.splitlines()[-1].count("key")
        assert "sk-ant-wrong" not in said
    assert Store(study.path).rows("select 1 from runs") == []


def test_a_search_proposes_no_more_when_its_hours_are_over(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=7)
    with command("search", study) as process:
        assert not ended_before(process, ended_trials(study, 1))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    asked = len(answered(server))
    status, said = run("search", study, "--hours", "1e-6", "--trials", "400")
    assert status == 0, said
    # What was proposed in time is tried to its end; only repairs are asked for.
    assert not [one for one in answered(server)[asked:] if not is_repair(one.body)]
    ended = trials(study)
    assert 0 < len(ended) <= 8
    assert None not in {row["status"] for row in ended}


def test_a_service_that_is_down_for_a_while_ends_no_search(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=4)
    script = server.script
    assert isinstance(script, Script)
    script.failing = error(529)
    with command("search", study) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "waiting" in line)
        script.failing = None
        process.communicate(timeout=120)
    assert "529" in said
    assert process.returncode == 0
    assert len(trials(study)) == 4


def test_a_search_that_waits_for_the_service_stops_when_it_is_asked(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=4)
    script = server.script
    assert isinstance(script, Script)
    script.failing = error(529, retry_after=600)
    with command("search", study) as process:
        assert process.stderr is not None
        assert any("waiting" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.splitlines()[-1].startswith("Stopped. What has ended is kept")


def test_what_a_model_wrote_is_promoted_in_the_sandbox_or_not_at_all(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=4)
    status, said = run("search", study)
    assert status == 0, said
    before = len(Store(study.path).rows("select 1 from runs"))
    nowhere = tmp_path / "empty"
    nowhere.mkdir()
    status, said = run("promote", study, PATH=str(nowhere))
    assert status in (1, 2)
    assert "bubblewrap" in said
    assert len(Store(study.path).rows("select 1 from runs")) == before


def test_a_mixed_search_that_was_killed_shares_its_trials_as_it_did(tmp_path: Path, server: MessagesServer) -> None:
    study = make(tmp_path, server, trials=22)
    turns = "select name, value from facts where name like 'mixed-%' order by name"
    with command("search", study, "--proposer", "mixed") as process:
        assert not ended_before(process, ended_trials(study, 8))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    before = Store(study.path).rows(turns)
    status, said = run("search", study, "--proposer", "mixed")
    assert status == 0, said
    after = Store(study.path).rows(turns)
    assert before
    assert after[: len(before)] == before
    rows = trials(study)
    assert len(rows) == 22
    assert {row["proposer"] for row in rows} == {"claude", "catalogue", "optuna", "placebo"}
    assert not [row for row in rows if row["proposer"] != "placebo" and "same recipe" in str(row["reason"])]


HOSTILE = {
    "reads-the-environment": "imports os",
    "patches-the-loss": "functional.cross_entropy",
    "looks-ahead-by-its-mask": "looks ahead",
    "looks-ahead-when-trained": "looks ahead",
    "gives-orders-in-an-error": "Ignore all",
}


class HostileScript:
    """A researcher that is out to cheat, in what its edits do and in what it calls them; it repairs nothing."""

    def __init__(self) -> None:
        edits = {one.slug: one.edits for one in (*MACHINE, *NUMBERS)}
        self.waiting = [
            proposal(f"{slug} <script>alert(1)</script> [bold]{ORDERS}", [(one.old, one.new) for one in edits[slug]])
            for slug in HOSTILE
        ]

    def __call__(self, body: dict[str, Any]) -> Reply:
        if is_repair(body):
            return tools()
        now, self.waiting = self.waiting[: wanted(body)], self.waiting[wanted(body) :]
        return tools(*(("propose", one) for one in now))


def test_nothing_that_a_hostile_researcher_proposes_is_believed(tmp_path: Path) -> None:
    with MessagesServer(HostileScript()) as server:
        study = make(tmp_path, server, trials=len(HOSTILE) + 1, proposals_per_request=5)
        status, said = run("search", study)
        assert status == 0, said
        report = subprocess.run([SCALEPROOF, "report", study.path], check=False, capture_output=True)
        assert report.returncode == 0
    ended = {row["title"].split()[0]: row for row in trials(study) if row["proposer"] == "claude"}
    unnamed = {slug: ended[slug]["reason"] for slug, name in HOSTILE.items() if name not in ended[slug]["reason"]}
    assert unnamed == {}
    assert {row["status"] for row in ended.values()} <= {"rejected", "crashed"}
    page = study.report_html.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert KEY not in page
