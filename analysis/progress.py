"""A search that is not finished, in one sentence."""

from analysis.evidence import UNDER_WAY, Evidence
from analysis.import_summary import is_imported
from analysis.wording import count_of


def unfinished(evidence: Evidence) -> str:
    """Return how far the search is and when its findings are settled; empty where no search has begun or all ended."""
    if not evidence.searching or is_imported(evidence):
        return ""
    ended, going = (
        sum(evidence.trials_where(status, placebo=placebo) for placebo in (False, True)) for status in (None, UNDER_WAY)
    )
    placebos = evidence.trials_where(placebo=True) + evidence.trials_where(UNDER_WAY, placebo=True)
    among = ", placebos counted" if placebos else ""
    kept = f"{count_of(len(evidence.findings), 'finding')} so far; " if evidence.findings else ""
    return (
        f"The search is not finished: {count_of(ended, 'trial')} {'has' if ended == 1 else 'have'} ended and "
        f"{going or 'none'} {'are' if going > 1 else 'is'} under way{among}; {kept}what is kept is settled at its end."
    )
