"""A study's promotion, from its findings to its verdicts; a second call on a finished promotion does nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from data.errors import InputError
from data.schema import PROMOTION_BEGAN
from data.store import Store
from data.study import Study
from scaling.executor import warm_up
from scaling.lab import baseline_recipe, open_lab
from scaling.marks import is_done, mark
from search.session import DONE as SEARCH_DONE
from search.trust import is_written_by_model, require_trust, worker_for
from transfer.again import Again
from transfer.settings import TransferSettings

DONE = "promotion_done"
AGAIN, ASKED_AGAIN = "measured_again", "asked_again"


def promotion_mark(study: Study) -> str:
    """What a finished promotion of the study's findings leaves.

    Raises:
        InputError: for settings that are not valid, and when there has been no search.
    """
    settings = TransferSettings.read(study.settings.get("transfer", {}))
    store = Store(study.path)
    if not store.rows("select 1 from facts where name = $name", {"name": SEARCH_DONE}):
        raise InputError(f"The study {study.path} has no finished search; run `scaleproof search {study.path}` first.")
    findings = store.rows("select finding_id, effect from findings order by effect desc, finding_id")
    decided = {"transfer": settings.model_dump(mode="json"), "findings": findings}
    again = known_again(store)
    return mark(study, baseline_recipe(study), decided | ({"again": again.as_dict()} if again.anything else {}))


def known_again(store: Store) -> Again:
    """What of the study was asked for again so far."""
    return Again.of_dict(store.fact(AGAIN))


def measure_again(study: Study, wanted: Sequence[str]) -> None:
    """Ask for "timing", "rung 1" or "arm X" to be measured anew by the next promotion; old rows stay.

    A call that was stopped is continued by the same call.

    Raises:
        InputError: for what the study has not measured.
    """
    store = Store(study.path)
    arms = [row["arm"] for row in store.rows("select distinct arm from record_verdict order by arm")]
    if not store.rows("select 1 from slopes limit 1"):
        raise InputError(f"Nothing of {study.path} was promoted yet, so there is nothing to measure again; promote it.")
    rungs = [rung["name"] for rung in study.settings.get("ladder", {}).get("rungs", [])]
    asked, again = sorted(wanted), known_again(store).plus(wanted, rungs=rungs, arms=arms)
    if store.fact(ASKED_AGAIN) == asked and not is_done(study, DONE, promotion_mark(study)):
        return  # It was stopped: the same call goes on with it.
    with study.lock(), study.writer() as writer:
        writer.append("fact", name=AGAIN, value=json.dumps(again.as_dict(), sort_keys=True))
        writer.append("fact", name=ASKED_AGAIN, value=json.dumps(asked))
        writer.flush()
    store.ingest()


def run_promotion(
    study: Study, console: Console, workers: int | None = None, *, unsafe_no_sandbox: bool = False
) -> bool:
    """Promote the study's findings. Returns False, having done nothing, when that had been finished before.

    Raises:
        InputError: for settings that are not valid, and when there has been no search.
        ScaleproofError: when the work cannot be done.
    """
    wanted = promotion_mark(study)
    if is_done(study, DONE, wanted):
        return False
    # Only work that is really to be done pays for torch, loaded by the workers' parent and here at the same time.
    model_writes = is_written_by_model(study)
    worker = worker_for(model_writes=model_writes, unsafe_no_sandbox=unsafe_no_sandbox)
    warm_up(worker)
    require_trust(worker)
    from scaling import shape
    from scaling.loading import load
    from transfer.arms import read_findings
    from transfer.promote import Promotion

    settings, baseline = TransferSettings.read(study.settings.get("transfer", {})), baseline_recipe(study)
    with open_lab(study, console, workers, worker) as lab:
        lab.fact(PROMOTION_BEGAN, wanted)
        ladder = lab.setting.ladder
        target = shape.cached(
            study.shapes,
            baseline.hash,
            load(baseline),
            rung=ladder.target,
            base=ladder.base,
            vocab_size=lab.vocab_size,
        )
        findings = read_findings(study, lab.store, baseline, settings.max_findings)
        again = known_again(lab.store)
        Promotion(lab, baseline, settings, target.params, again=again, trusted=not model_writes).run(findings)
        lab.fact(DONE, wanted)
    return True
