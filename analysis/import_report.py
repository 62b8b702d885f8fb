"""The report of an imported log: its keeps against its own noise, and what selection did to them."""

from pathlib import Path
from typing import Any

from analysis.bench_tables import fact_table
from analysis.chart_import import pictures
from analysis.evidence import Evidence
from analysis.import_summary import SETTLE, ImportSummary, headline, luck_sentence, summarise, swap_sentence
from analysis.import_text import counts
from analysis.report import PICTURE_FOLDER, draw, html_templates, markdown_templates
from analysis.style import make_scene
from analysis.tables import Table
from analysis.wording import MISSING, number
from data.store import Store
from search.foreign import pairs_to_settle

MOST_PAIRS = 1000


def render_import(study_path: Path, store: Store, evidence: Evidence) -> dict[str, str]:
    """Return the report's files by their path below the study, pictures first, the page last; nothing is written."""
    said, scene = summarise(evidence), make_scene([], None)
    drawn = [draw(picture, store, scene) for picture in pictures(said)]
    context: dict[str, Any] = {
        "title": study_path.resolve().name,
        "answer": headline(said),
        "counts": counts(said),
        "swap": swap_sentence(said),
        "luck": luck_sentence(said),
        "settle": SETTLE,
        "levels": level_table(said),
        "keeps": keep_table(said),
        "known": said.noise is not None,
        "pictures": drawn,
        "picture_folder": PICTURE_FOLDER,
        "limits": limits(said),
        "facts": fact_table(evidence),
    }
    files = {f"{PICTURE_FOLDER}/{one.name}.svg": one.svg for one in drawn if one.svg is not None}
    files["report.md"] = markdown_templates().get_template("import.md.j2").render(context)
    files["report.html"] = html_templates().get_template("import.html.j2").render(context)
    return files


def level_table(said: ImportSummary) -> Table:
    """Return how many keeps are larger than the noise, for each size that it may have."""
    return Table(
        [
            ("Noise of a difference of two runs", False),
            (said.unit.capitalize(), True),
            (f"Larger, of {said.kept}", True),
            (f"Larger than any fluke of {said.compared} tries", True),
        ],
        [[level.name, number(level.sd), str(level.larger), str(level.beyond_chance)] for level in said.levels],
    )


def keep_table(said: ImportSummary) -> Table:
    """Return one row per keep, the largest gain first; without noise the gain alone."""
    noise = said.noise
    columns = [("Keep", False), ("Trial", False), (f"Gain, {said.unit}", True)]
    rows = [[str(row["title"]), str(row["finding_id"]), _gain(float(row["effect"]), said)] for row in said.keeps]
    if noise is None:
        return Table(columns, rows)
    for row, gain in zip(rows, said.gains, strict=True):
        row += [_ratio(gain / noise.sd), "larger" if gain > noise.sd else "within", _pairs(gain, noise.sd)]
    told = [("Gain / seed swap", True), ("The swap", False), ("Pairs to settle it", True)]
    return Table([*columns, *told], rows)


def _gain(gain: float, said: ImportSummary) -> str:
    return f"{gain:.{said.decimals}f}".replace("-", "−")


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}".replace("-", "−")


def _pairs(gain: float, noise_sd: float) -> str:
    pairs = pairs_to_settle(gain, noise_sd)
    return MISSING if pairs is None else str(pairs) if pairs <= MOST_PAIRS else f"over {MOST_PAIRS:,}"


def limits(said: ImportSummary) -> list[str]:
    """Return what an imported log cannot show."""
    sentences = [
        "Every trial is one run against one run, so no gain has an interval of its own.",
        "Within the noise is not without effect: small gains may be real, and the log cannot tell which. In simulated "
        "searches of some 120 trials with one seed swap, two in three of the larger keeps were truly good, and one in "
        "three of the others.",
        "The numbers that chose the keeps are those shown; no keep was measured again on fresh seeds or other held-out "
        "text.",
        "The log does not say what a run cost in tokens, FLOPs or seconds: at a fixed time per run, whatever buys "
        "steps counts as a gain.",
        "Nothing here says what any keep does on a larger model.",
    ]
    if said.noise is not None and not said.given and any(one["against"] != said.baseline for one in said.swaps):
        sentences.insert(
            1,
            "A repeat is held against a number that was kept for being low, and part of its change is that luck coming "
            "back: the seed alone may do less than the swap says.",
        )
    if said.noise is not None:
        sentences.append(
            "Pairs to settle take a gain for the true one and the noise of the swap for that of a pair (one-sided 5 %, "
            "power 90 %): a gain that was luck needs more, pairs whose runs share a seed may need fewer."
        )
    if said.kept_swaps:
        sentences.append("A seed swap was itself kept: what came after it was held against that luck.")
    return sentences
