"""What `scaleproof import` prints: the keeps against the log's own noise, for a terminal or as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.evidence import read_evidence
from analysis.grid import Grid, one_line, to_table
from analysis.import_summary import SETTLE, ImportSummary, headline, luck_sentence, summarise, swap_sentence
from analysis.wording import count_of, shortened
from data.store import Store
from search.foreign import Noise, pairs_to_settle

TITLE = 48


def import_said(study_path: Path, *, as_json: bool) -> str:
    """Return what the import of a study says, as text or as one JSON object, with its newline."""
    said = summarise(read_evidence(Store(study_path)))
    if as_json:
        return json.dumps(import_answer(said, study_path), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return import_text(said, study_path)


def import_text(said: ImportSummary, study_path: Path) -> str:
    """Return the answer first, then the keeps, then how far both can be trusted."""
    lines = [one_line(headline(said)), "", one_line(counts(said)), one_line(swap_sentence(said))]
    table = to_table(Grid(("trial", "title", "gain", "gain / swap", "larger"), keep_rows(said))) if said.keeps else ""
    after = [luck_sentence(said), SETTLE, f"Next: scaleproof report {study_path}"]
    return "\n".join([*lines, "", f"{table}", *map(one_line, after)]) + "\n"


def counts(said: ImportSummary) -> str:
    """Return what the log holds."""
    swaps = f"; {count_of(said.kept_swaps, 'kept seed swap')} left out of the keeps" if said.kept_swaps else ""
    return (
        f"{said.source}: a baseline and {count_of(said.trials, 'trial')}, {said.kept} kept, {said.dropped} dropped, "
        f"{said.crashed} crashed{swaps}. A gain is over the best kept before, in {said.unit}."
    )


def keep_rows(said: ImportSummary) -> list[tuple[object, ...]]:
    """Return per keep: trial, title, gain, gain in seed swaps and whether that is more than one."""
    swap = None if said.noise is None else said.noise.sd
    rows: list[tuple[object, ...]] = []
    for row in said.keeps:
        gain = float(row["effect"])
        against = (None, None) if swap is None else (round(gain / swap, 2), "yes" if gain > swap else "no")
        rows.append((row["finding_id"], shortened(str(row["title"]), TITLE), f"{gain:.{said.decimals}f}", *against))
    return rows


def import_answer(said: ImportSummary, study_path: Path) -> dict[str, Any]:
    """Return the same as JSON holds it; the noise is that of the difference of two runs, its interval 90 %."""
    noise, count = said.noise, said.larger
    return {
        "study": str(study_path),
        "answer": headline(said),
        **{name: getattr(said, name) for name in ("source", "unit", "trials", "kept", "dropped", "crashed")},
        "kept_seed_swaps": said.kept_swaps,
        "seed_swap": None if noise is None else noise.sd,
        "seed_swap_low": None if noise is None else noise.low,
        "seed_swap_high": None if noise is None else noise.high,
        "seed_swaps": 0 if noise is None else noise.dof,
        "seed_swap_given": said.given,
        "measured_swaps": said.swaps,
        "larger_than_seed_swap": count,
        "within_seed_swap": None if count is None else said.kept - count,
        "levels": [asdict(level) for level in said.levels],
        "lucky_keeps": said.lucky_keeps,
        "lucky_gain": said.lucky_gain,
        "keeps": [_keep(row["finding_id"], row["title"], float(row["effect"]), noise) for row in said.keeps],
    }


def _keep(trial_id: str, title: str, gain: float, noise: Noise | None) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "title": title,
        "gain": gain,
        "gain_in_swaps": None if noise is None else gain / noise.sd,
        "pairs_to_settle": None if noise is None else pairs_to_settle(gain, noise.sd),
    }
