"""The researcher's diary, keep rates and costs: words and numbers ready to print, the same for HTML and Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from analysis.evidence import Row, Rows
from analysis.researcher_rows import ResearcherRows
from analysis.tables import Table
from analysis.wording import (
    MISSING,
    count_of,
    digits,
    duration,
    listed,
    number,
    percent,
    percent_interval,
    shortened,
    tokens_text,
)

NORMAL_95 = 1.6448536269514722
MOST_CATEGORIES = 30
LONGEST_TITLE, LONGEST_HYPOTHESIS, LONGEST_REASON = 160, 900, 400
IN_A_CELL = 220
COUNTED = ("trials", "kept", "dropped", "unresolved", "failed", "under_way")


@dataclass(frozen=True, slots=True)
class DiaryLine:
    """One trial of the researcher, in words; `effect` with its 90 % interval, `expected` before it was measured.

    told: outcome and reason together.
    """

    number: int
    trial_id: str
    title: str
    hypothesis: str
    category: str
    outcome: str
    effect: str
    expected: str
    reason: str
    told: str


def diary_lines(diary: Rows) -> list[DiaryLine]:
    """Return one line per trial, in the order in which they were made."""
    return [_diary_line(row) for row in diary]


def _diary_line(row: Row) -> DiaryLine:
    status, reason = str(row["status"]), shortened(str(row["reason"] or ""), LONGEST_REASON)
    outcome = f"{status}, repaired" if row["repairs"] else status
    said = reason.removeprefix(status)  # most reasons begin with the very word
    goes_on = said != reason and said.startswith((": ", " "))
    return DiaryLine(
        number=row["number"],
        trial_id=str(row["trial_id"]),
        title=shortened(str(row["title"] or row["trial_id"]), LONGEST_TITLE),
        hypothesis=shortened(str(row["hypothesis"] or ""), LONGEST_HYPOTHESIS),
        category=shortened(str(row["category"] or ""), 40),
        outcome=outcome,
        effect=effect_text(row),
        expected=_expected(row),
        reason=said.removeprefix(":").strip() if goes_on else reason,
        told=status + " (repaired)" * bool(row["repairs"]) + (said if goes_on else f": {reason}" if reason else ""),
    )


def chosen_lines(lines: Sequence[DiaryLine], most: int) -> list[DiaryLine]:
    """Return at most `most` lines in their order, cut to fit a cell: the kept, and the latest of the others."""
    kept = [line for line in lines if line.outcome.startswith("kept")][-most:]
    room = most - len(kept)
    others = [line for line in lines if not line.outcome.startswith("kept")]
    chosen = sorted([*kept, *(others[-room:] if room else [])], key=lambda line: line.number)
    return [
        replace(line, hypothesis=shortened(line.hypothesis, IN_A_CELL), reason=shortened(line.reason, IN_A_CELL))
        for line in chosen
    ]


def effect_text(row: Row) -> str:
    """Return a measured effect with its interval: '+0.0123 (+0.008 to +0.017)', nats per token."""
    if row["effect"] is None:
        return MISSING
    if row["effect_low"] is None or row["effect_high"] is None:
        return _signed(row["effect"])
    return f"{_signed(row['effect'])} ({_signed(row['effect_low'])} to {_signed(row['effect_high'])})"


def _signed(value: float) -> str:
    return f"{value:+.3g}".replace("-", "−")


def _expected(row: Row) -> str:
    effect = "" if row["expected_effect"] is None else _signed(row["expected_effect"])
    parts = [one for one in (effect, shortened(str(row["expected_scaling"] or ""), 40)) if one]
    return ", ".join(parts) or MISSING


def proposer_table(worth: Rows) -> Table:
    """Return keep rates by proposer; placebos last, whose rate is that of false keeps."""
    return _rates("Proposer", [("placebos" if row["placebo"] else str(row["proposer"]), row) for row in worth])


def category_table(categories: Rows) -> Table:
    """Return keep rates by category, the most kept first; those of a long tail are summed up."""
    named = [(shortened(str(row["category"] or "none"), 40), row) for row in categories[:MOST_CATEGORIES]]
    rest = categories[MOST_CATEGORIES:]
    if rest:
        summed = {name: sum(row[name] for row in rest) for name in COUNTED}
        named.append((f"{len(rest)} more", summed))
    return _rates("Category", named)


def _rates(head: str, named: Sequence[tuple[str, Row]]) -> Table:
    """No rate where trials are under way: what is kept is known last of all."""
    going = any(row["under_way"] for _, row in named)
    counted = COUNTED if going else COUNTED[:-1]
    names = ("Tried", "Kept", "Dropped", "Unresolved", "Never measured", "Under way")[: len(counted)]
    return Table(
        [(head, False), *((name, True) for name in (*names, "Keep rate", "90 % interval"))],
        [[name, *(str(row[column]) for column in counted), *_rate(row)] for name, row in named],
    )


def _rate(row: Row) -> tuple[str, str]:
    if row["under_way"] or not row["trials"]:
        return MISSING, MISSING
    return percent(row["kept"] / row["trials"]), percent_interval(*wilson(row["kept"], row["trials"]))


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 90 % interval of a rate (Wilson 1927); at least one trial."""
    z2, rate = NORMAL_95**2, successes / trials
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_95 / (1 + z2 / trials) * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def worth_table(worth: Rows) -> Table:
    """Return what each proposer's kept trials gained for its dollars and for the time of its runs."""
    rows = [
        [
            str(row["proposer"]),
            str(row["kept"]),
            number(row["gain"]),
            dollars(row["cost_usd"]),
            duration(row["seconds"]),
            number(row["gain"] / row["cost_usd"]) if row["cost_usd"] else MISSING,
            number(row["gain"] / row["seconds"] * 3600) if row["seconds"] else MISSING,
        ]
        for row in worth
        if not row["placebo"]
    ]
    return Table(
        [
            ("Proposer", False),
            ("Kept", True),
            ("Gain, nats", True),
            ("Proposing", True),
            ("Runs", True),
            ("Gain per dollar", True),
            ("Gain per hour of runs", True),
        ],
        rows,
    )


def model_table(models: Rows) -> Table:
    """Return what requests to each model came to."""
    return Table(
        [
            ("Model", False),
            ("Requests", True),
            ("Refused", True),
            ("No answer", True),
            ("Tokens in", True),
            ("Cached", True),
            ("Written to cache", True),
            ("Tokens out", True),
            ("Dollars", True),
            ("Waited", True),
        ],
        [
            [
                shortened(str(row["model"] or "not told"), 60),
                *(str(row[name]) for name in ("requests", "refused", "lost")),
                *(
                    tokens_text(row[name])
                    for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
                ),
                dollars(row["cost_usd"]),
                duration(row["seconds"]),
            ]
            for row in models
        ],
    )


def cost_sentences(read: ResearcherRows) -> list[str]:
    """Return what the researcher cost in all, per trial and per finding."""
    names = {row["proposer"] for row in read.diary}
    mine = [row for row in read.worth if row["proposer"] in names and not row["placebo"]]
    trials, kept = sum(row["proposed"] for row in mine), sum(row["kept"] for row in mine)
    seconds = sum(row["seconds"] for row in mine)
    charged = sum(row["cost_usd"] for row in read.worth)
    money = sum(row["cost_usd"] for row in read.models) if read.models else charged
    sentences = [_requests(read, money)] if read.models else []
    if trials:
        per_finding = (
            f"; per finding ({kept}) {dollars(money / kept)} and {duration(seconds / kept)}"
            if kept
            else "; what is kept is not settled yet"
            if any(row["under_way"] for row in mine)
            else "; there is no finding to share it"
        )
        sentences.append(
            f"Per trial of its own ({trials}) that is {dollars(money / trials)} and {duration(seconds / trials)} of "
            f"runs{per_finding}."
        )
    if read.models and trials and money - charged > 0.01 * money:
        sentences.append(f"{dollars(money - charged)} of it went to requests that no trial was charged with.")
    return sentences


def _requests(read: ResearcherRows, money: float) -> str:
    total = {name: sum(row[name] for row in read.models) for name in ("requests", "refused", "lost", "seconds")}
    text = f"{count_of(total['requests'], 'request')} cost {dollars(money)} and took {duration(total['seconds'])}"
    wrong = []
    if total["refused"]:
        reasons = listed([f"{shortened(str(row['category']), 40)} {row['requests']}" for row in read.refusals])
        wrong.append(f"{total['refused']} {'was' if total['refused'] == 1 else 'were'} refused ({reasons})")
    if total["lost"]:
        wrong.append(f"{total['lost']} brought no answer")
    return f"{text}; {listed(wrong)}." if wrong else f"{text}; all were answered."


def dollars(value: float) -> str:
    """Return an amount of money: '12.31 USD', '0.019 USD', '0 USD'."""
    return f"{value:,.2f} USD" if value >= 0.1 else f"{digits(value)} USD"
