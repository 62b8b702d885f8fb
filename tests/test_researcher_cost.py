"""What a researcher cost, as the report tells it: in all, per trial, per finding, and who is charged."""

import json
from pathlib import Path
from typing import Any

import pytest
from report_fixture import Record, researched_records, write_spool

from analysis.bench_tables import bill_sentence
from analysis.evidence import read_evidence
from analysis.researcher_rows import QUERIES, ResearcherRows, read_researcher
from analysis.researcher_tables import cost_sentences, worth_table
from data.store import Store

DONE: Record = {"kind": "fact", "written_at": 2e9, "name": "search_done", "value": json.dumps("its mark")}


def test_cost_is_told_per_trial_and_per_finding() -> None:
    diary = [{"proposer": "claude"}]
    worth = [{"proposer": "claude", "placebo": False, "proposed": 40, "kept": 4, "cost_usd": 6.0, "seconds": 4000.0}]
    worth[0]["under_way"] = 0
    worth += [{**worth[0], "proposer": "catalogue", "cost_usd": 0.0}]
    models = [{"requests": 10, "refused": 1, "lost": 2, "cost_usd": 8.0, "seconds": 100.0}]
    refusals = [{"category": "frontier_llm", "requests": 1}]
    told = " ".join(cost_sentences(_rows(diary=diary, worth=worth, models=models, refusals=refusals)))
    assert "10 requests cost 8.00 USD and took 100 s" in told
    assert "1 was refused (frontier_llm 1) and 2 brought no answer" in told
    assert "Per trial of its own (40) that is 0.20 USD and 100 s of runs; per finding (4) 2.00 USD and 17 min" in told
    assert "2.00 USD of it went to requests that no trial was charged with." in told
    worth[1]["cost_usd"] = 2.0
    told = " ".join(cost_sentences(_rows(diary=diary, worth=worth, models=models, refusals=refusals)))
    assert "no trial was charged" not in told


def test_an_exchange_that_brought_nothing_is_paid_by_the_researcher(tmp_path: Path) -> None:
    trial = {"kind": "trial", "written_at": 1e9, "placebo": False, "seconds": 60.0, "repairs": 0}
    made = {**trial, "trial_id": "a", "proposer": "claude", "category": "optimiser", "status": "kept", "effect": 0.02}
    nothing = {**trial, "trial_id": "b", "proposer": "claude", "category": "skipped", "status": "rejected"}
    instead = {**trial, "trial_id": "c", "proposer": "catalogue", "category": "schedule", "status": "kept"}
    calls = [
        {"kind": "llm_call", "written_at": 1e9, "request_id": f"e000{number}.t1", "model": "m", "purpose": "propose",
         "stop_reason": said, "cost_usd": 1.0} for number, said in ((1, "tool_use"), (2, "refusal"))
    ]  # fmt: skip
    trials = [{**made, "cost_usd": 1.0}, {**nothing, "cost_usd": 1.0}, {**instead, "cost_usd": 0.0, "effect": 0.01}]
    read = read_researcher(Store(write_spool(tmp_path, [*trials, *calls, DONE])))
    by_name = {row[0]: list(row[1:]) for row in worth_table(read.worth).rows}
    assert by_name["claude"][:3] == ["1", "0.02", "2.00 USD"]
    assert by_name["catalogue"][:3] == ["1", "0.01", "0 USD"]
    told = " ".join(cost_sentences(read))
    assert "2 requests cost 2.00 USD" in told
    assert "Per trial of its own (2) that is 1.00 USD" in told
    assert "per finding (1) 2.00 USD" in told
    assert "no trial was charged" not in told


def test_the_bill_takes_what_requests_say_they_cost(tmp_path: Path) -> None:
    study = write_spool(tmp_path / "study", researched_records(30))
    evidence = read_evidence(Store(study))
    asked = Store(study).rows("select sum(cost_usd) as usd from llm_calls")[0]["usd"]
    assert f"Requests to a model cost {asked:.2f} USD." in bill_sentence(evidence)
    trials = [record for record in researched_records(30) if record["kind"] != "llm_call"]
    charged = sum(record["cost_usd"] for record in trials if record["kind"] == "trial")
    assert f"{charged:.2f} USD" in bill_sentence(read_evidence(Store(write_spool(tmp_path / "trials", trials))))


def test_what_stands_for_a_batch_or_a_try_taken_back_is_no_request_but_costs(tmp_path: Path) -> None:
    records = researched_records(12)
    call = {"kind": "llm_call", "written_at": 2e9, "model": "claude-large", "purpose": "propose", "cost_usd": 0.0}
    rows = [
        {**call, "request_id": "batch.e0001", "purpose": "batch", "stop_reason": "lost", "cost_usd": 1.0},
        {**call, "request_id": "e0009.t1", "stop_reason": "withdrawn"},
        {**call, "request_id": "e0009.t1~1", "stop_reason": "lost", "cost_usd": 0.5},
    ]
    (before,) = read_researcher(Store(write_spool(tmp_path, records))).models
    (after,) = read_researcher(Store(write_spool(tmp_path, rows, name="later"))).models
    assert (after["requests"], after["lost"]) == (before["requests"] + 1, before["lost"] + 1)
    assert after["cost_usd"] == pytest.approx(before["cost_usd"] + 1.5)


def _rows(**subjects: list[Record]) -> Any:
    return ResearcherRows(**{name: json.loads(json.dumps(subjects.get(name, []))) for name in QUERIES})
