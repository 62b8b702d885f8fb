"""What the store knows, read once: the rows that the answer, the limits and the report's tables are made of."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

from data.errors import InputError
from transfer.settings import TransferSettings

Row = Mapping[str, Any]
Rows = list[dict[str, Any]]

UNDER_WAY, GIVEN_UP = "under way", "given up"
SETTLED_AT = "(SELECT coalesce(max(written_at), 0) FROM facts WHERE name = 'search_done')"
# A trial has no status before it has ended; one of an earlier search that another has followed will have none.
STATUS = f"coalesce(trials.status, CASE WHEN trials.written_at > {SETTLED_AT} THEN '{UNDER_WAY}' ELSE '{GIVEN_UP}' END)"

QUERIES: dict[str, str] = {
    "trials": f"""\
SELECT {STATUS} AS status, coalesce(placebo, false) AS placebo, count(*) AS trials,
       coalesce(round(fsum(cost_usd), 6), 0) AS cost_usd
FROM trials GROUP BY ALL ORDER BY ALL""",
    "unsettled": f"SELECT count(*) AS trials FROM trials WHERE written_at > {SETTLED_AT}",
    "findings": "SELECT finding_id, title, category, effect FROM findings ORDER BY finding_id",
    "verdicts": """\
SELECT arm, finding_id, axis, verdict, coalesce(fragile, false) AS fragile, reason, retention, retention_low,
       retention_high, margin, p_holm, rung, pairs_to_settle
FROM verdicts ORDER BY arm, axis""",
    "savings": """\
SELECT arm, finding_id, rung, params, axis, saving, saving_low, saving_high, coalesce(bound, '') AS bound,
       method, horizons, ln_speedup, pairs
FROM savings ORDER BY arm, axis, rung""",
    "horizons": """\
SELECT runs.arm, runs.rung, min(runs.horizon / slopes.tokens) AS shortest, max(runs.horizon / slopes.tokens) AS longest
FROM runs JOIN slopes USING (rung) WHERE purpose = 'pair' AND status = 'finished' GROUP BY ALL ORDER BY ALL""",
    "landings": """\
SELECT arm, rung, params, tokens_baseline, tokens_stack, pairs, loss_difference, loss_difference_high_95,
       margin, stands, reason
FROM landings ORDER BY arm""",
    "aa": "SELECT rung, params, pairs, ln_speedup, low_99, high_99, frozen FROM aa ORDER BY rung",
    "slopes": """\
SELECT rung, params, tokens, kappa, kappa_se, curvature, curvature_se, sigma, sigma_dof, tokens_per_param,
       transition
FROM slopes ORDER BY rung""",
    "gates": """\
SELECT arm, finding_id, rung, decision, reason, lower_80, coalesce(flops_saved, 0) AS flops_saved
FROM gates ORDER BY arm, rung""",
    "powers": "SELECT rung, params, axis, pairs, smallest_saving FROM powers ORDER BY rung",
    "forecasts": """\
SELECT arm, params, tokens, axis, method, saving, saving_low, saving_high, leave_top_rung_out_error, extrapolated
FROM forecasts WHERE arm = 'stack' OR arm LIKE 'alone:%' ORDER BY arm, params, axis, method""",
    "interactions": "SELECT arm, rung, ln_speedup, low, high FROM interactions ORDER BY arm, rung",
    "brackets": """\
SELECT name, value, detail FROM calibrations WHERE name LIKE 'bracket_%' ORDER BY name""",
    "devices": """\
SELECT device, count(*) AS runs FROM runs WHERE status = 'finished' AND device IS NOT NULL
GROUP BY device ORDER BY device""",
    "held_out": """\
SELECT min(json_array_length(sequences)) AS documents, count(*) AS runs FROM evaluations""",
    "bill": """\
SELECT count(*) AS runs, count(*) FILTER (status = 'diverged') AS diverged,
       count(*) FILTER (status = 'failed') AS failed,
       coalesce(round(fsum(flops)), 0) AS flops, coalesce(round(fsum(seconds), 3), 0) AS seconds
FROM runs WHERE status IN ('finished', 'diverged', 'failed')""",
    "requests": """\
SELECT count(*) AS requests, coalesce(round(fsum(cost_usd), 6), 0) AS cost_usd FROM llm_calls""",
    "facts": "SELECT name, value FROM facts ORDER BY name",
}


class Queryable(Protocol):
    """Whatever answers SQL with rows, as the store does."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Answer one SELECT."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows by subject; columns as in QUERIES, NaN already None. Facts are read from JSON.

    unsettled: one row with the number of trials that are newer than the end of the latest search.
    """

    trials: Rows
    unsettled: Rows
    findings: Rows
    verdicts: Rows
    savings: Rows
    horizons: Rows
    landings: Rows
    aa: Rows
    slopes: Rows
    gates: Rows
    powers: Rows
    forecasts: Rows
    interactions: Rows
    brackets: Rows
    devices: Rows
    held_out: Rows
    bill: Rows
    requests: Rows
    facts: dict[str, Any]

    def trials_where(self, status: str | None = None, *, placebo: bool = False) -> int:
        """Count trials of one status (all that have ended without it), placebos or the others."""
        return sum(
            row["trials"]
            for row in self.trials
            if row["placebo"] == placebo
            and (row["status"] not in (UNDER_WAY, GIVEN_UP) if status is None else row["status"] == status)
        )

    @property
    def searching(self) -> bool:
        """Whether a search has begun that is not finished, so that what is kept is not settled."""
        return any(row["trials"] for row in self.unsettled)

    @property
    def requests_usd(self) -> float:
        """What requests to models cost: as they say themselves, or else as trials were charged with it."""
        asked = self.requests[0]
        charged: float = sum(row["cost_usd"] for row in self.trials)
        return asked["cost_usd"] if asked["requests"] else charged

    @property
    def transfer(self) -> TransferSettings | None:
        """How the study was promoted, as its settings say; None where it records none that can be read."""
        settings = self.facts.get("settings")
        if not isinstance(settings, dict):
            return None
        try:
            return TransferSettings.read(settings.get("transfer", {}))
        except InputError:
            return None

    @property
    def smallest_saving(self) -> float | None:
        """The smallest saving worth having, as a share; None where the study records none."""
        return None if self.transfer is None else self.transfer.smallest_saving

    @property
    def top_rung(self) -> int | None:
        """The highest rung on which an arm was measured."""
        return max((row["rung"] for row in self.savings if row["rung"] is not None), default=None)

    def params_at(self, rung: int | None) -> int | None:
        """Parameters of a rung, from the savings measured there."""
        return next((row["params"] for row in self.savings if row["rung"] == rung), None)

    def saving(self, arm: str, axis: str, rung: int | None) -> dict[str, Any] | None:
        """Return the measured saving of an arm, if there is one."""
        return next((row for row in self.savings if (row["arm"], row["axis"], row["rung"]) == (arm, axis, rung)), None)

    def verdict(self, arm: str, axis: str) -> dict[str, Any] | None:
        """Return the verdict on an arm, if there is one."""
        return next((row for row in self.verdicts if (row["arm"], row["axis"]) == (arm, axis)), None)


def read_evidence(store: Queryable) -> Evidence:
    """Read all subjects from the store; raises InputError where the folder is no study."""
    read = {name: clean(store.rows(sql)) for name, sql in QUERIES.items()}
    facts = {row["name"]: _from_json(row["value"]) for row in read.pop("facts")}
    assert set(read) == {field.name for field in fields(Evidence)} - {"facts"}
    return Evidence(**read, facts=facts)


def clean(rows: list[dict[str, Any]]) -> Rows:
    """Return the rows with None for NaN and infinities: what has no number has none in words and pictures either."""
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]


def _from_json(value: Any) -> Any:  # noqa: ANN401 (a fact is any JSON)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
