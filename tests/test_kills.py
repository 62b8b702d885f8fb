"""Bad luck: a study whose commands are killed twenty times ends like one that was left in peace."""

import os
import random
import signal
from pathlib import Path

import pytest
from small_study import (
    WORK,
    ended_before,
    ended_within,
    finished_study,
    make_study,
    rows_without_clock,
    scaleproof,
    spool_bytes,
    start,
    write_corpus,
)
from spools import contents

from data.schema import VIEWS
from data.store import Store
from data.study import Study

KILLS = {"search": 8, "promote": 9, "report": 3}


def killed(study: Study, command: tuple[str, ...], kill: int, choose: random.Random) -> bool:
    """Start the command and kill it with SIGKILL, it alone and the whole group in turn; False when it ended before.

    Three of four kills come after a random time, which mostly falls into the start and costs little; the fourth after
    the spool has grown by a random size, and a random moment more, which falls among the runs.
    """
    name, *options = command
    before = spool_bytes(study)
    process = start(name, study.path, *options)
    if name == "report":
        ended = ended_within(process, choose.uniform(0.0, 0.8))
    elif kill % 4:
        ended = ended_within(process, choose.uniform(0.0, 2.5))
    else:
        grown = before + choose.randrange(200, 12_000)
        ended = ended_before(process, lambda: spool_bytes(study) >= grown)
        ended = ended or ended_within(process, choose.uniform(0.0, 0.2))
    if not ended:
        if (kill + kill // 4) % 2:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == (0 if ended else -signal.SIGKILL), said
    return not ended


def test_twenty_kills_change_nothing(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    peaceful = finished_study(tmp_path_factory)
    # The same corpus, at the same place: the settings are among the facts that are compared.
    corpus = write_corpus(peaceful.path.with_name("corpus.jsonl"))
    study = make_study(tmp_path / "study", corpus)
    choose = random.Random(20)
    for command in WORK:
        for kill in range(KILLS[command[0]]):
            assert any(killed(study, command, kill, choose) for _ in range(5)), f"{command} is over too soon"
        done = scaleproof(command[0], study.path, *command[1:])
        assert done.returncode == 0, done.stderr
    assert sum(KILLS.values()) == 20
    assert study.report_html.is_file()
    for view in VIEWS:
        assert rows_without_clock(study, view) == rows_without_clock(peaceful, view), view

    store = Store(study.path)
    ended = "select run_id, count(*) as rows from record_run where ended_at is not null group by run_id"
    assert {row["rows"] for row in store.rows(ended)} == {1}, "a run that had ended was made again"
    assert {row["rows"] for row in store.rows("select run_id, count(*) as rows from timings group by run_id")} == {1}
    interrupted = store.rows("select count(*) as runs from runs where attempt > 1")
    assert interrupted[0]["runs"] > 0, "no kill met a run, so that nothing was tested"
    assert list(study.checkpoints.iterdir()) == []
    assert contents(store.rebuild(tmp_path / "rebuilt.duckdb")) == contents(study.database)
