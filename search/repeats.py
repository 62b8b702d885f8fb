"""Which trials of a foreign log changed nothing but the seed, told from their own descriptions."""

import re
from collections.abc import Collection

BEST = "best"
"""What a repeat is compared with unless it names another run: the best kept before it."""

_WORDS = re.compile(r"\w+")
_REPEATS = frozenset(
    (
        "seed",
        "seeds",
        "reseed",
        "rerun",
        "reruns",
        "rerunning",
        "repeat",
        "repeats",
        "repeated",
        "repetition",
        "replicate",
    )
)
_SAME = frozenset(("same", "unchanged", "identical"))
_WHOLE = frozenset(("config", "configuration", "settings", "code", "recipe", "run"))
# Words beside those that say what was repeated, or why; any other word may be a change of its own.
_FILLERS = frozenset(
    (
        *("a", "again", "against", "and", "another", "as", "at", "for", "from", "in", "is", "just", "of", "on", "only"),
        *("the", "to", "try", "with", "new", "no", "other", "different", "second", "third", "random", "current"),
        *("baseline", "best", "incumbent", "config", "configuration", "code", "recipe", "run", "runs", "setting"),
        *("settings", "swap", "swapped", "change", "changed", "changes", "check", "checking", "test", "estimate"),
        *("measure", "noise", "floor", "variance", "variation"),
    )
)


def repeated_run(description: str, baseline: str, before: Collection[str]) -> str | None:
    """What a trial repeats by its description: BEST, the name of an earlier run, or None where it is no repeat.

    A repeat says so ('random seed', 'seed 42 to 137', 'rerun', 'repeat', 'same config') and says nothing else:
    'repeat KV heads' and 'seed 137, warmdown 0.8' are changes. `baseline` is the first run's name, `before` the names
    of all runs so far.
    """
    words = _WORDS.findall(description.lower().replace("re-", "re"))
    if not (_REPEATS | _SAME) & set(words):
        return None  # most rows; spares the look at all names
    names = {name.lower(): name for name in before}
    named = [names[word] for word in words if word in names and word not in _FILLERS]
    rest = {word for word in words if word not in names and not word.isdigit()}
    says_so = rest & _REPEATS or (rest & _SAME and rest & _WHOLE)
    if not says_so or rest - _REPEATS - _SAME - _FILLERS:
        return None
    if named:
        return named[0]
    return baseline if "baseline" in words else BEST
