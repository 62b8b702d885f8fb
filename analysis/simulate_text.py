"""Simulated error rates as text for the terminal: a sentence that answers, the rates, what they rest on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.grid import one_line, to_bare_table
from analysis.wording import MISSING, digits, listed, percent

Answer = Mapping[str, Any]

CONFIRMED, GREEDY = "screen and confirm", "greedy"
RATES = {
    "kept": "changes kept",
    "false_share": "of these, null or harmful",
    "null_keep_rate": "nulls kept",
    "placebo_keep_rate": "placebos kept",
    "power": "real gains kept",
    "runs_per_proposal": "runs per proposal",
    "effect_coverage": "90 % intervals that hold",
    "effect_bias": "effect too large by, nats",
}
COUNTS = ("kept", "runs_per_proposal")
APART = "*"
TELLING_LADDERS = 500
"""Of fewer ladders a world, the worst world is the unluckiest one."""
NAMED_FROM = 0.005
"""Words that fewer ladders get are left out of a row."""


def search_text(answer: Answer) -> str:
    """All that a reader needs of what `search.error_rates.SearchErrorRates.as_dict` holds."""
    return "\n".join((_search_head(answer["rules"]), _search_rates(answer["rules"]), _search_world(answer["world"])))


def ladder_text(answer: Answer) -> str:
    """All that a reader needs of what `transfer.simulation.rates.ErrorRates.as_dict` holds."""
    parts = (_ladder_head, _worlds, _truths, _by_rung, _stacks, _untuned, _ladder_rests)
    return "\n".join(text for part in parts if (text := part(answer)))


def _search_head(rules: Answer) -> str:
    return (
        f"Screen and confirm keeps {_found(rules[CONFIRMED], 'changes a search', ' of the real gains')}.\n"
        f"Greedily keeping whatever ran lower keeps {_found(rules[GREEDY], 'changes', '')}.\n"
    )


def _found(rates: Answer, changes: str, gains: str) -> str:
    """What a rule keeps, finds and costs; no share of what was not there."""
    false, power = rates["false_share"]["value"], rates["power"]["value"]
    parts = [f"{rates['kept']['value']:.1f} {changes}"]
    parts += [] if false is None else [f"{percent(false)} of them false"]
    parts += [] if power is None else [f"finds {percent(power)}{gains}"]
    return ", ".join([*parts, f"for {rates['runs_per_proposal']['value']:.1f} runs a proposal"])


def _search_rates(rules: Answer) -> str:
    rows = [(said, *(_rate(name, rules[rule][name]) for rule in (CONFIRMED, GREEDY))) for name, said in RATES.items()]
    return "Per search (± one standard error)\n" + to_bare_table(("", CONFIRMED, "greedy keep-if-lower"), rows)


def _rate(name: str, rate: Answer) -> str:
    value, error = rate["value"], rate["se"]
    if value is None:
        return MISSING
    if name == "effect_bias":
        return f"{value:+.1e} ± {error:.0e}"
    if name in COUNTS:
        return f"{value:.2f} ± {error:.2f}"
    return f"{100 * value:.1f} ± {100 * error:.1f} %"


def _search_world(world: Answer) -> str:
    looks = listed([str(look) for look in world["confirm_looks"]])
    return (
        f"Rests on {world['searches']:,} simulated searches of {world['proposals']:,} proposals: "
        f"{percent(world['share_real'])} real gains of {world['mean_gain']:.2g} nats on average,\n"
        f"{percent(world['share_null'])} nulls, the others harmful; noise of a run {world['sigma']:.2g} nats, pairs "
        f"correlated by {world['correlation']:.2g}; looks after {looks} pairs.\n"
        "A world of your own: scaleproof simulate search --show-settings > world.toml, edit, --settings world.toml\n"
    )


def _ladder_head(answer: Answer) -> str:
    many = len(_counted(answer))
    where = f"Averaged over {many} worlds," if many > 1 else "In this world"
    lines = [f"{where} the 90 % intervals hold the truth in {percent(answer['coverage'])}."]
    if answer["wrong_claims"] is not None:
        telling = many > 1 and answer["ladders"] >= TELLING_LADDERS
        worst = f" ({percent(answer['worst_wrong_claims'])} in the worst world)" * telling
        lines.append(
            "A finding without any gain at the top is called transfers, gains or grows in "
            f"{percent(answer['wrong_claims'])} of ladders{worst}."
        )
    if answer["right"] is not None:
        planned = answer["planned_right"]
        then = "" if planned is None else f", with the pairs that are planned for it in {percent(planned)}"
        lines.append(f"A finding gets the right word in {percent(answer['right'])}{then}.")
    lines.append(f"A sound rung is frozen by its A/A in {percent(answer['aa_frozen'])}.")
    return "".join(f"{line}\n" for line in lines)


def _counted(answer: Answer) -> list[Answer]:
    """The worlds that the averages are of: those with a tuned baseline, or all where there is none."""
    return [world for world in answer["worlds"] if world["tuned"]] or list(answer["worlds"])


def _worlds(answer: Answer) -> str:
    names = ("coverage", "wrong_claims", "right", "planned_right", "aa_frozen", "fragile")
    rows = [(one_line(world["name"]), *(_points(world[name]) for name in names)) for world in _counted(answer)]
    return (
        "By world, in % (wrong: gone at the top, yet called transfers, gains or grows; right: the right word;\n"
        "planned: with the pairs that are planned for it; frozen: sound rungs that A/A stops)\n"
        + to_bare_table(("world", "coverage", "wrong", "right", "planned", "frozen", "fragile"), rows)
    )


def _truths(answer: Answer) -> str:
    """Words by finding and by the word that its truth deserves, over the worlds that have it."""
    found: dict[tuple[str, str], list[Answer]] = {}
    for world in _counted(answer):
        for name, arm in world["arms"].items():
            found.setdefault((name, arm["right_word"]), []).append(arm)
    rows = [
        (
            one_line(name) + APART * any(arm["apart"] for arm in arms),
            right,
            _points(_mean([arm["right"] for arm in arms])),
            *_planned(arms),
            _words([arm["words"] for arm in arms]),
        )
        for (name, right), arms in found.items()
    ]
    note = f"{APART} a gain too small to be worth having: counted apart from all rates above.\n"
    return (
        "Words by truth, in % (planned: right with the pairs that are planned for it)\n"
        + to_bare_table(("truth", "deserves", "right", "planned", "pairs", "words given"), rows)
        + note * any(row[0].endswith(APART) for row in rows)
    )


def _planned(arms: Sequence[Answer]) -> tuple[str, str]:
    """How often the planned pairs find the right word, and how many they are."""
    right = [arm["planned_right"] for arm in arms if arm["planned_right"] is not None]
    pairs = sorted(arm["planned_pairs"] for arm in arms if arm["planned_pairs"] is not None)
    if not right or not pairs:
        return MISSING, MISSING
    return _points(_mean(right)), str(pairs[0]) if pairs[0] == pairs[-1] else f"{pairs[0]} to {pairs[-1]}"


def _words(shares: Sequence[Mapping[str, float]]) -> str:
    mean = {word: sum(one[word] for one in shares) / len(shares) for word in shares[0]}
    named = sorted((share, word) for word, share in mean.items() if share >= NAMED_FROM)
    return ", ".join(f"{word} {_points(share)}" for share, word in reversed(named))


def _by_rung(answer: Answer) -> str:
    """Where there is one world: coverage of each finding at each rung."""
    worlds = _counted(answer)
    if len(worlds) > 1:
        return ""
    rows = [
        (one_line(name), *map(_points, arm["coverage"]), _points(arm["unknown"]))
        for name, arm in worlds[0]["arms"].items()
    ]
    rungs = [f"rung {place}" for place in range(len(worlds[0]["coverage_by_rung"]))]
    return "Coverage of the 90 % intervals by rung, in %\n" + to_bare_table(("truth", *rungs, "no number"), rows)


def _stacks(answer: Answer) -> str:
    held = [world["sum_of_singles"] for world in _counted(answer) if world["sum_of_singles"] is not None]
    if not held:
        return ""
    return (
        f"The sum of findings measured alone holds what their stack truly gains in {percent(_mean(held))} of ladders: "
        "measure the stack.\n"
    )


def _untuned(answer: Answer) -> str:
    rows = [(one_line(name), _words([words])) for name, words in answer["unequal_tuning"].items()]
    if not rows:
        return ""
    apart = ", counted apart" if any(world["tuned"] for world in answer["worlds"]) else ""
    return (
        f"Baseline tuned less than the arms{apart}: findings without a gain are called, in %\n"
        + to_bare_table(("world", "words given"), rows)
        + "No statistic of pairs can see this; equal numbers of tuning trials keep it out.\n"
    )


def _ladder_rests(answer: Answer) -> str:
    many = sorted({world["ladders"] for world in answer["worlds"]})
    where = f"each of {len(answer['worlds'])} worlds" if len(answer["worlds"]) > 1 else "this world"
    span = f"{many[0]:,}" if len(many) == 1 else f"{many[0]:,} to {many[-1]:,}"
    errors = [
        f"{digits(100 * math.sqrt(share * (1 - share) / many[0]))} for one near {percent(share)}"
        for share in (0.5, 0.01)
    ]
    return (
        f"Rests on {span} simulated ladders in {where}. Standard error of a "
        f"share in one world, in points: at most\n{errors[0]}, {errors[1]}. For figures to quote: --ladders 2000.\n"
        "A world of your own: scaleproof simulate ladder --show-settings > world.toml, edit, --settings world.toml\n"
    )


def _mean(shares: Sequence[float]) -> float:
    return sum(shares) / len(shares)


def _points(share: float | None) -> str:
    return percent(share, sign=False)
