"""A researcher whose truth is known, for a search of many hours in minutes; see `soak.py`.

Of its proposals 4 % are truly good, 10 % do not apply and 5 % crash; the others change nothing that matters or do harm.
Of its requests 2 % are refused and 5 % meet an error of the service.
"""

import itertools
import random
from typing import Any

from messages_server import Reply, error, refusal, tools
from researchers import is_repair, wanted
from soak_truth import kinds, proposal


class Researcher:
    """Proposes in a fixed order; what it is told makes no difference to it."""

    def __init__(self) -> None:
        """Nothing has been asked yet."""
        self.kinds = itertools.chain(kinds(), itertools.repeat("null"))
        self.number = itertools.count(1)
        self.choose = random.Random(6)

    def __call__(self, body: dict[str, Any]) -> Reply:
        """Answer a request."""
        luck = self.choose.random()
        if luck < 0.05:
            return error(self.choose.choice([500, 529, 429]))
        if luck < 0.07:
            return refusal(self.choose.choice(["frontier_llm", None]))
        if is_repair(body):
            return tools(("propose", proposal(self.choose.choice(["null", "misfit"]), next(self.number))))
        count = wanted(body)
        return tools(*(("propose", proposal(next(self.kinds), next(self.number))) for _ in range(count)))


researcher = Researcher()
