"""How every picture looks: one palette safe for the colour-blind, one theme, one way to SVG."""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.wording import shortened

Row = Mapping[str, Any]
Rows = Sequence[Row]
Drawing = alt.Chart | alt.LayerChart | alt.FacetChart | alt.HConcatChart | alt.VConcatChart

WIDTH = 700
INK, QUIET, FAINT, BAND = "#1f2430", "#5b6270", "#e4e6ea", "#eef0f3"
# Okabe and Ito's colours (Color Universal Design, 2008) less yellow, which white swallows, with Tol's wine and olive.
BASELINE_COLOUR, STACK_COLOUR = "#5b6270", "#0072B2"
FINDING_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
STATUS_COLOURS = {"kept": "#009E73", "unresolved": "#E69F00", "dropped": "#8d95a3"}
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
CONFIG: dict[str, Any] = {
    "font": FONT,
    "background": "white",
    "padding": 6,
    "view": {"stroke": None},
    "title": {
        "color": INK,
        "fontWeight": 600,
        "subtitleColor": QUIET,
        "subtitleFontSize": 12,
        "subtitlePadding": 6,
        "offset": 14,
    },
    "axis": {
        "labelColor": QUIET,
        "titleColor": QUIET,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": FAINT,
        "domainColor": "#b9bec8",
        "tickColor": "#b9bec8",
        "labelPadding": 5,
        "titlePadding": 8,
        "labelFlush": False,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "titleColor": QUIET,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 300,
        "symbolSize": 80,
        "columnPadding": 18,
    },
}


@dataclass(frozen=True, slots=True)
class Scene:
    """What all pictures of one study share: each arm's words and colour, and the smallest saving worth having."""

    titles: Mapping[str, str]
    colours: Mapping[str, str]
    shapes: Mapping[str, str]
    smallest_saving: float | None

    def title(self, arm: str) -> str:
        """Return the words for an arm; its own name where the store has none."""
        return self.titles.get(arm, arm)

    def colour(self, arm: str) -> str:
        """Return the arm's colour, the same in every picture."""
        return self.colours.get(arm, INK)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: the SQL that yields its numbers, how it is drawn, and what is said where there are none.

    `draw` returns None where the rows hold nothing to draw.
    """

    name: str
    heading: str
    sql: str
    draw: Callable[[Rows, Scene], Drawing | None]
    empty: str


def make_scene(findings: Rows, smallest_saving: float | None) -> Scene:
    """Give every arm its words, colour and shape; `findings` have finding_id and title, in a fixed order."""
    titles = {"baseline": "Baseline", "stack": "All findings stacked", "trimmed": "The stack, trimmed"}
    colours = {"baseline": BASELINE_COLOUR, "stack": STACK_COLOUR, "trimmed": STACK_COLOUR}
    shapes = {"baseline": "circle", "stack": "diamond", "trimmed": "diamond"}
    for place, finding in enumerate(findings):
        arm = f"alone:{finding['finding_id']}"
        titles[arm] = shortened_title(finding)
        titles[f"without:{finding['finding_id']}"] = f"Stack without: {titles[arm]}"
        colours[arm] = colours[f"without:{finding['finding_id']}"] = FINDING_COLOURS[place % len(FINDING_COLOURS)]
        shapes[arm] = SHAPES[place // len(FINDING_COLOURS) % len(SHAPES)]
    return Scene(titles, colours, shapes, smallest_saving)


def shortened_title(finding: Row) -> str:
    """Return a finding's title on one line, its identity where it has none."""
    return " ".join(str(finding.get("title") or finding["finding_id"]).split())


def short_labels(titles: Mapping[str, str], length: int) -> dict[str, str]:
    """Return a label per key, cut to `length`; those that would read the same get their key behind."""
    cut = {key: shortened(title, length) for key, title in titles.items()}
    times = Counter(cut.values())
    return {
        key: label
        if times[label] == 1
        else f"{shortened(label, length - 10)} ({shortened(key.partition(':')[2] or key, 8)})"
        for key, label in cut.items()
    }


def values(rows: Rows) -> alt.InlineData:
    """Return rows as chart data, as one JSON text: Altair copies what it is given dozens of times, but not a text."""
    return alt.InlineData(values=json.dumps([dict(row) for row in rows]), format=alt.JsonDataFormat(type="json"))


def heading(text: str, note: str = "", *, size: int = 15) -> alt.TitleParams:
    """Return a title that says what is seen, and below it in grey how to read it; both wrapped to the width."""
    return alt.TitleParams(
        text=textwrap.wrap(text, 84) or [""],
        subtitle=textwrap.wrap(note, 118),
        anchor="start",
        frame="bounds",
        fontSize=size,
    )


def specification(chart: Drawing) -> dict[str, Any]:
    """Return the Vega-Lite specification of the chart, in the house's fonts, greys and spacing."""
    return {**chart.to_dict(validate=False), "config": CONFIG}


def to_svg(chart: Drawing, name: str) -> str:
    """Return the chart as an SVG element that can stand inside HTML beside others; made offline.

    Every id gets the picture's name before it: ids of several pictures on one page must not meet.
    """
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(specification(chart), vl_version=vega_lite_version())
    renamed: dict[str, str] = {}
    for old in re.findall(r'\bid="([^"]+)"', svg):
        renamed.setdefault(old, f"{name}-{len(renamed)}")
    for old, new in renamed.items():
        svg = svg.replace(f'id="{old}"', f'id="{new}"').replace(f"url(#{old})", f"url(#{new})")
    return svg


def vega_lite_version() -> str:
    """Return the Vega-Lite version that Altair writes, as vl-convert names it: '6.4'."""
    major, minor, *_ = alt.SCHEMA_VERSION.lstrip("v").split(".")
    return f"{major}.{minor}"
