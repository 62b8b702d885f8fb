"""The examples in docs/sql.md are SQL that runs, and the join of trials and requests gives what trials were charged."""

from pathlib import Path

import pytest
from report_fixture import Record, demo_records, researched_records, write_spool

import scaleproof
from analysis.sql import run_sql
from data.store import Store

DOCUMENT = Path(scaleproof.__file__).with_name("docs") / "sql.md"


def examples() -> list[str]:
    """The document's indented blocks; a line that begins with `select` begins a statement."""
    found: list[str] = []
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("    select "):
            found.append(line)
        elif line.startswith("    ") and found and not line.startswith(("    from scaleproof", "    table =")):
            found[-1] += f"\n{line}"
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spool(tmp_path_factory.mktemp("study"), [*demo_records(), *researched_records(24)])


@pytest.mark.parametrize("statement", examples())
def test_an_example_runs(study: Path, statement: str) -> None:
    assert run_sql(study, statement, "json")


def test_a_trial_finds_its_conversation_and_its_own_repairs(tmp_path: Path) -> None:
    at: Record = {"written_at": 1e9}
    trials: list[Record] = [
        {**at, "kind": "trial", "trial_id": f"{slug}-abc", "slug": slug, "exchange": exchange, "cost_usd": usd}
        for slug, exchange, usd in (("a-e0001-1", "e0001", 1.5), ("b-e0001-2", "e0001", 1.0), ("c", None, 0.0))
    ]
    calls: list[Record] = [
        {**at, "kind": "llm_call", "request_id": key, "exchange": key[-5:] if slug is None else "e0001", "slug": slug,
         "cost_usd": usd} for key, slug, usd in (
            ("t1-e0001", None, 1.5), ("t2-e0001", None, 0.5), ("r.1", "a-e0001-1", 0.5), ("t1-e0002", None, 9.0))
    ]  # fmt: skip
    (statement,) = [one for one in examples() if "repairs_usd" in one]
    rows = Store(write_spool(tmp_path, [*trials, *calls])).rows(statement)
    told = [
        (row["trial_id"], row["usd"], row["requests"], row["whole_exchange_usd"], row["repairs_usd"]) for row in rows
    ]
    assert told == [("a-e0001-1-abc", 1.5, 3, 2.0, 0.5), ("b-e0001-2-abc", 1.0, 2, 2.0, None)]
