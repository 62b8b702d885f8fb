"""The report of a study: one HTML file that needs no network, and the same in Markdown with its pictures beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis import bench_tables, tables
from analysis.answer import answer, main_axis
from analysis.charts import PICTURES, RESEARCHER_PICTURES
from analysis.evidence import Evidence, Queryable, clean, read_evidence
from analysis.grid import escape_markdown
from analysis.import_summary import is_imported
from analysis.law_rows import LawRows, read_law
from analysis.law_section import law_context
from analysis.limits import limits
from analysis.progress import unfinished
from analysis.regime import regime
from analysis.researcher_rows import read_researcher
from analysis.researcher_section import researcher_context
from analysis.style import Drawing, Picture, Scene, make_scene, to_svg
from data.errors import InputError
from data.locks import write_aside
from data.store import Store

if TYPE_CHECKING:
    from jinja2 import Environment

PICTURE_FOLDER = "report"
GLOSSARY = (
    (
        "saving",
        "1 − T_arm/T_baseline, T being what each needs to reach the same finished loss: in tokens, FLOPs or seconds.",
    ),
    ("90 % interval", "the range that holds the true saving nine times in ten; written in brackets."),
    ("lnS", "the natural logarithm of the speed-up: −ln(1 − saving)."),
    (
        "at least",
        "the arm did not meet the baseline's loss within the horizons that it was run to, so only a bound is known.",
    ),
    (
        "retention",
        "lnS at the top rung less lnS at rung 0, measured again on fresh seeds, with its 90 % interval; 0 means that "
        "all was retained.",
    ),
    (
        "in transition",
        "the baseline's loss falls faster with every doubling of its tokens; savings there need not hold for models "
        "past it.",
    ),
    ("transfers", "a gain at the top rung, and as large as at rung 0: its change lies within the margin."),
    ("gains", "a gain at the top rung; whether it is as large as at rung 0 cannot be told from these runs."),
    ("grows, shrinks", "a gain at the top rung, clearly more or clearly less than at rung 0."),
    ("vanishes", "less than the smallest saving worth having, either way."),
    ("reverses, harmful", "a loss at the top rung, after a gain at rung 0 or without one."),
    (
        "inconclusive",
        "the interval allows several of these words; where a number of pairs would settle it, the reason says so.",
    ),
    ("invalid", "the comparison was not fair, as the reason says; its number must not be used."),
    ("fragile", "a modest change of assumptions changes the word: more noise, or leaving rung 0 out."),
    (
        "A/A",
        "baseline against baseline: whatever it shows is an error of the "
        "bench; a rung where it shows something is frozen.",
    ),
    (
        "landing run",
        "the stack run in full on seeds of its own, shortened by the saving that was measured for it; its loss must "
        "still reach the baseline's.",
    ),
    (
        "placebo",
        "a trial that changes nothing but the random stream; how many are kept measures the rate of false keeps.",
    ),
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A picture made: its SVG, or None where its rows hold nothing to draw, and the SQL that its numbers come from."""

    name: str
    heading: str
    sql: str
    svg: str | None
    empty: str


def write_report(study_path: Path) -> Path:
    """Write report.html, report.md and the pictures beside it, each aside and renamed; return the path of the HTML.

    Files that would not change are left alone. Raises InputError where the folder is no study or cannot be written.
    """
    return refresh_report(study_path)[0]


def refresh_report(study_path: Path) -> tuple[Path, bool]:
    """Like `write_report`, and say whether any file changed."""
    files = render_report(study_path)
    try:
        (study_path / PICTURE_FOLDER).mkdir(exist_ok=True)
        changed = [_replace(study_path / name, content.encode()) for name, content in files.items()]
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {study_path} ({error.strerror}): make the folder writable."
        ) from error
    return study_path / "report.html", any(changed)


def render_report(study_path: Path) -> dict[str, str]:
    """Return the report's files by their path below the study, pictures first, the page last; nothing is written."""
    store = Store(study_path)
    evidence = read_evidence(store)
    if is_imported(evidence):
        from analysis.import_report import render_import

        return render_import(study_path, store, evidence)
    scene = make_scene(evidence.findings, evidence.smallest_saving)
    pictures = [draw(picture, store, scene) for picture in PICTURES]
    context = _context(study_path, evidence, scene, pictures, read_law(store))
    context["researcher"] = researcher_context(read_researcher(store), main_axis(evidence), unfinished(evidence))
    own = [draw(picture, store, scene) for picture in RESEARCHER_PICTURES]
    context["researcher_pictures"] = own = [one for one in own if one.svg is not None]
    files = {f"{PICTURE_FOLDER}/{one.name}.svg": one.svg for one in (*pictures, *own) if one.svg is not None}
    files["report.md"] = markdown_templates().get_template("report.md.j2").render(context)
    files["report.html"] = html_templates().get_template("report.html.j2").render(context)
    return files


def draw(picture: Picture, store: Queryable, scene: Scene) -> Drawn:
    """Fetch the picture's rows with its SQL and draw them."""
    return drawn(picture, picture.draw(clean(store.rows(picture.sql)), scene))


def drawn(picture: Picture, chart: Drawing | None) -> Drawn:
    """Return the picture with its chart as SVG, if there is one."""
    return Drawn(
        picture.name,
        picture.heading,
        picture.sql,
        None if chart is None else to_svg(chart, picture.name),
        picture.empty,
    )


def _context(study_path: Path, evidence: Evidence, scene: Scene, pictures: list[Drawn], law: LawRows) -> dict[str, Any]:
    return {
        "title": study_path.resolve().name,
        "answer": answer(evidence),
        "regime": regime(evidence),
        "where": tables.top_interval(evidence),
        "axis": main_axis(evidence),
        "verdicts": tables.verdict_lines(evidence, scene),
        "margin": tables.margin_sentence(evidence, scene),
        "contributions": tables.contribution_table(evidence, scene),
        "interactions": tables.interaction_sentences(evidence),
        "glossary": GLOSSARY,
        "pictures": pictures,
        "picture_folder": PICTURE_FOLDER,
        "aa": bench_tables.aa_table(evidence),
        "slopes": bench_tables.slope_table(evidence),
        "landing": tables.landing_table(evidence, scene),
        "landing_reasons": [str(row["reason"]) for row in evidence.landings if row["reason"]],
        "law": law_context(law),
        "forecast_stack": tables.forecast_table(evidence, scene, stack=True),
        "forecast_findings": tables.forecast_table(evidence, scene, stack=False),
        "no_forecast": tables.no_forecast_sentences(evidence, scene),
        "search": bench_tables.search_table(evidence),
        "bracket": bench_tables.bracket_sentence(evidence),
        "tried": bool(evidence.trials),
        "bill": bench_tables.bill_sentence(evidence),
        "gates": bench_tables.gate_table(evidence, scene),
        "limits": limits(evidence),
        "facts": bench_tables.fact_table(evidence),
    }


def html_templates() -> "Environment":
    """Return the templates of pages: everything printed is escaped unless the template marks it safe."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def markdown_templates() -> "Environment":
    """Return the templates of texts: everything printed is escaped for Markdown unless the template marks it safe."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: object) -> str:
        return str(value) if isinstance(value, Markup) else escape_markdown(str(value))

    return Environment(
        loader=PackageLoader("analysis"),
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _replace(path: Path, content: bytes) -> bool:
    if path.is_file() and path.read_bytes() == content:
        return False
    write_aside(path, content)
    return True
