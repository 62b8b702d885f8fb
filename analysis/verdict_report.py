"""The page of `scaleproof verdict`: one HTML file with sentences, pictures and tables that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis import chart_inverted, chart_verdict, verdict_sentences, verdict_tables
from analysis.grid import one_line
from analysis.pages import write_page
from analysis.report import Drawn, html_templates
from analysis.style import Drawing, to_svg
from analysis.verdict_amounts import Answer, kept_together, name_text, several_horizons, texts

CURVE_X = {"tokens": "tokens, at each size", "flops": "FLOPs, along the frontier of budgets"}


def write_verdict_report(answer: Answer, command: str, path: Path) -> Path:
    """Write the page of what `verdict_answer` answers to `path`, aside and renamed, and return the path.

    `command` is printed as what made it; the same answer gives the same file. Raises InputError where the file cannot
    be written.
    """
    return write_page(render_verdict_report(answer, command), path)


def render_verdict_report(answer: Answer, command: str) -> str:
    """Return the page as HTML; nothing is written. All names are strangers' text: cut, and escaped by the template."""
    return html_templates().get_template("verdict.html.j2").render(_context(answer, command))


def _context(answer: Answer, command: str) -> dict[str, Any]:
    curves = answer["baseline_curves"]
    return {
        "title": name_text(Path(answer["source"]).name),
        "headline": kept_together(verdict_sentences.headline(answer)),
        "sentences": [*map(kept_together, verdict_sentences.sentences(answer))],
        "about": [*map(kept_together, [*verdict_sentences.about(answer), *verdict_sentences.method(answer)])],
        "warnings": texts(answer["warnings"]),
        "pictures": [
            _drawn("speedups", "Speed-up by scale", chart_verdict.draw(answer), chart_verdict.EMPTY),
            _drawn("inverted", "The baseline's curves", chart_inverted.draw(answer), chart_inverted.EMPTY),
        ],
        "word_columns": verdict_tables.word_columns(answer),
        "words": verdict_tables.word_lines(answer),
        "extrapolated": any(one["forecast"] and one["forecast"]["extrapolated"] for one in answer["arms"]),
        "pooled": several_horizons(answer),
        "rungs": verdict_tables.rung_table(answer),
        "horizons": verdict_tables.horizon_table(answer),
        "forecasts": verdict_tables.forecast_table(answer),
        "interactions": verdict_tables.interaction_table(answer),
        "curves": verdict_tables.curve_table(answer),
        "curve_x": CURVE_X[curves[0]["x"]] if curves else "",
        "how": [*map(kept_together, verdict_sentences.how_to_read(answer))],
        "notes": texts(answer["notes"]),
        "command": one_line(command),
    }


def _drawn(name: str, heading: str, chart: Drawing | None, empty: str) -> Drawn:
    return Drawn(name, heading, "", None if chart is None else to_svg(chart, name), empty)
