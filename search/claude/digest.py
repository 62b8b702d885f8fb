"""What was tried so far, in as many characters as a request has for it: what was kept first, the oldest misses last."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search.claude.parse import SKIPPED, one_line
from search.claude.quoting import quoted
from search.proposals import Outcome

REASON_CHARACTERS = 160
_SHARE_ABOVE = 0.6
_SHARE_DETAILED = 0.7


@dataclass(frozen=True, slots=True)
class Entry:
    """An outcome as the account tells it: its category, and its line at length and in short."""

    category: str
    status: str
    long: str
    short: str


def digest(history: Sequence[Outcome], larger: Sequence[str], most: int) -> str:
    """An account of the trials in at most `most` characters; `larger` are lines on what larger rungs showed."""
    told = [outcome for outcome in history if not _left_out(outcome)]
    kept = sorted((o for o in told if o.ended and o.status == "kept"), key=lambda o: -(o.effect or 0.0))
    going = [outcome for outcome in told if not outcome.ended]
    missed = [outcome for outcome in told if outcome.ended and outcome.status != "kept"]
    above = _within(
        [
            _counts(told),
            *_section("Kept so far, best first", [_line(outcome) for outcome in kept]),
            *_section("What larger rungs showed", larger),
            *_section("Expected and measured", _expectations(told)),
            *_section("Under way, not to be proposed again", [_line(outcome) for outcome in reversed(going)]),
        ],
        int(_SHARE_ABOVE * most),
    )
    return "\n".join([above, *_misses(missed, most - len(above) - 1)])


def _left_out(outcome: Outcome) -> bool:
    """Placebos teach nothing, and are to be told from nothing; a skip was no edit."""
    made = outcome.proposal
    return made is not None and (made.placebo or made.category == SKIPPED)


def _counts(told: Sequence[Outcome]) -> str:
    if not told:
        return "Nothing has been tried yet."
    by_status = Counter(outcome.status if outcome.ended else "under way" for outcome in told)
    counted = ", ".join(f"{count} {status}" for status, count in sorted(by_status.items()))
    return (
        f"{len(told)} edits were tried: {counted}. Effects are nats per token off the finished loss, positive better."
    )


def _section(heading: str, lines: Sequence[str]) -> list[str]:
    return ["", f"## {heading}", *lines] if lines else []


def _within(lines: Sequence[str], most: int) -> str:
    """As many lines as fit, and how many did not."""
    kept, left = [], most - 40
    for place, line in enumerate(lines):
        left -= len(line) + 1
        if left < 0:
            kept.append(f"(and {len(lines) - place} lines more)")
            break
        kept.append(line)
    return "\n".join(kept)


def _title(outcome: Outcome) -> str:
    return one_line(outcome.proposal.title, 100) if outcome.proposal else outcome.slug


def _category(outcome: Outcome) -> str:
    return one_line(outcome.proposal.category, 40) if outcome.proposal else "of no known category"


def _line(outcome: Outcome) -> str:
    parts = [f"- [{_category(outcome)}] {_title(outcome)} ({outcome.slug}): {_measured(outcome)}"]
    made = outcome.proposal
    if made is not None and made.expected_effect is not None:
        parts.append(f"expected {made.expected_effect:+.4f}, {made.expected_scaling}")
    if outcome.reason and outcome.status != "kept":
        parts.append(f"reason {quoted(outcome.reason, REASON_CHARACTERS)}")
    return "; ".join(parts)


def _measured(outcome: Outcome) -> str:
    if outcome.effect is not None:
        interval = ""
        if outcome.effect_low is not None and outcome.effect_high is not None:
            interval = f" [{outcome.effect_low:+.4f}, {outcome.effect_high:+.4f}]"
        return f"{outcome.status}, {outcome.effect:+.4f}{interval}"
    if outcome.screen_difference is not None:
        return f"{outcome.status}, {outcome.screen_difference:+.4f} in its one screening pair"
    return outcome.status if outcome.ended else "not measured yet"


def _expectations(told: Sequence[Outcome]) -> list[str]:
    pairs = [
        (outcome.proposal.expected_effect, measured)
        for outcome in told
        if outcome.proposal is not None and outcome.proposal.expected_effect is not None
        for measured in (outcome.effect if outcome.effect is not None else outcome.screen_difference,)
        if measured is not None and math.isfinite(measured)
    ]
    if not pairs:
        return []
    expected, measured = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    right = sum(e * m > 0 for e, m in pairs)
    return [
        f"Of {len(pairs)} edits measured, expected on average {expected:+.4f}, measured {measured:+.4f}; "
        f"the sign was right for {right}."
    ]


def _misses(missed: Sequence[Outcome], room: int) -> list[str]:
    """By category, the latest at length, older ones by title, the oldest as a number."""
    if not missed:
        return []
    entries = [Entry(_category(one), one.status, _line(one), _title(one)) for one in reversed(missed)]
    by_category = {category: [e for e in entries if e.category == category] for category in _ordered(entries)}
    heads = {category: _head(category, found) for category, found in by_category.items()}
    opening = "\n## Not kept, by category, latest first"
    left = room - len(opening) - sum(len(head) + 60 for head in heads.values())
    detailed = _fitting(entries, [len(entry.long) + 1 for entry in entries], int(_SHARE_DETAILED * left))
    left -= sum(len(entry.long) + 1 for entry in detailed)
    older = entries[len(detailed) :]
    titled = {id(entry) for entry in _fitting(older, [len(entry.short) + 2 for entry in older], left)}
    at_length = {id(entry) for entry in detailed}
    lines = [opening]
    for category, found in by_category.items():
        lines += [heads[category], *(entry.long for entry in found if id(entry) in at_length)]
        lines += _earlier([entry for entry in found if id(entry) not in at_length], titled)
    return lines


def _ordered(entries: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(entry.category for entry in entries))


def _head(category: str, found: Sequence[Entry]) -> str:
    counted = ", ".join(f"{count} {status}" for status, count in sorted(Counter(e.status for e in found).items()))
    return f"### {category}: {counted}"


def _fitting(entries: Sequence[Entry], sizes: Sequence[int], room: int) -> list[Entry]:
    """The first entries, as many as fit in the room."""
    fitting = []
    for entry, size in zip(entries, sizes, strict=True):
        room -= size
        if room < 0:
            break
        fitting.append(entry)
    return fitting


def _earlier(found: Sequence[Entry], titled: set[int]) -> list[str]:
    if not found:
        return []
    named = [entry.short for entry in found if id(entry) in titled]
    others = len(found) - len(named)
    more = [f"{others} more"] if others else []
    return [f"- earlier: {'; '.join([*named, *more])}"]
