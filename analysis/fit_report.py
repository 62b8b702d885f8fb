"""The report of a scaling-law fit: one HTML file with pictures and tables that needs no network."""

from pathlib import Path

from analysis import chart_law, chart_profiles, chart_residuals
from analysis.law_rows import rows_of
from analysis.law_section import law_context
from analysis.pages import write_page
from analysis.report import Drawn, drawn, html_templates
from analysis.style import make_scene
from data.run_table import RunTable
from scaling.laws.outcome import FitOutcome

PICTURES = (chart_law.PICTURE, chart_profiles.PICTURE, chart_residuals.PICTURE)


def write_fit_report(outcome: FitOutcome, table: RunTable, path: Path) -> Path:
    """Write the report of a fit of `table` to `path`, aside and renamed, and return the path.

    The line over compute and its band are there where the fit was made with `curve=True`. The same fit gives the same
    file. Raises InputError where the file cannot be written.
    """
    return write_page(render_fit_report(outcome, table), path)


def render_fit_report(outcome: FitOutcome, table: RunTable) -> str:
    """Return the report as HTML; nothing is written."""
    rows = rows_of(outcome, table)
    scene = make_scene([], None)
    pictures: list[Drawn] = [drawn(picture, picture.draw(rows.predictions, scene)) for picture in PICTURES]
    context = {"title": outcome.source, "law": law_context(rows), "pictures": pictures}
    return html_templates().get_template("fit.html.j2").render(context)
