"""The report's section on the researcher: what it thought, what came of it, what it cost and how well it judged."""

from typing import Any

from analysis.researcher_expectations import expectation_sentences, hold_against, scaling_sentence, scaling_table
from analysis.researcher_rows import ResearcherRows
from analysis.researcher_tables import (
    category_table,
    chosen_lines,
    cost_sentences,
    diary_lines,
    model_table,
    proposer_table,
    worth_table,
)

MOST_IN_MARKDOWN = 60


def researcher_context(read: ResearcherRows, axis: str, unfinished: str = "") -> dict[str, Any] | None:
    """Return what the templates show, verdicts on `axis`; None where the study has nothing to tell of a researcher.

    unfinished: what is to be said of a search that is not finished.
    """
    if not read.told:
        return None
    lines = diary_lines(read.diary)
    return {
        "heading": "The researcher" if read.diary or read.models else "Proposers",
        "proposers": proposer_table(read.worth),
        "worth": worth_table(read.worth),
        "categories": category_table(read.categories),
        "cost": cost_sentences(read),
        "models": model_table(read.models),
        "expected": expectation_sentences(hold_against(read.diary)),
        "scaling": scaling_table(read.scaling, axis),
        "scaled": scaling_sentence(read.scaling, axis),
        "unfinished": unfinished,
        "diary": lines,
        "diary_short": chosen_lines(lines, MOST_IN_MARKDOWN),
    }
