"""What a study knows of its proposers: each trial's story, what requests to a model cost, and what came of it all."""

from dataclasses import dataclass, fields

from analysis.evidence import STATUS, UNDER_WAY, Queryable, Rows, clean

# A trial was made when its first run began, or, having none, when it was first told of; a resumed search tells again.
_MADE = """\
began AS (SELECT trial_id, written_at AS moment FROM record_trial
          UNION ALL SELECT substr(arm, 7), started_at FROM record_run WHERE starts_with(arm, 'trial:')),
made AS (SELECT trial_id, row_number() OVER (ORDER BY min(moment), trial_id) AS number
         FROM began WHERE trial_id IN (SELECT trial_id FROM trials) GROUP BY trial_id)"""
# What a run took is told by the trial, and by its runs in studies that are older than that column.
_RUNS = """\
runs_of AS (SELECT substr(arm, 7) AS trial_id, fsum(seconds) AS seconds
            FROM runs WHERE starts_with(arm, 'trial:') GROUP BY ALL)"""
# Rates are of trials that have ended; what was spent on the others counts all the same.
_OUTCOMES = f"""\
count(trials.status) AS trials,
       count(*) FILTER (status = 'kept') AS kept, count(*) FILTER (status = 'dropped') AS dropped,
       count(*) FILTER (status = 'unresolved') AS unresolved,
       count(*) FILTER (status IN ('crashed', 'rejected', 'refused')) AS failed,
       count(*) FILTER ({STATUS} = '{UNDER_WAY}') AS under_way"""
_OURS = "coalesce(proposer, '') NOT IN ('catalogue', 'optuna', 'placebo', '') AND NOT coalesce(placebo, false)"
# A row that stands for a whole batch, or for a try taken back, is no request; what it cost counts all the same.
_REQUESTS = "purpose IS DISTINCT FROM 'batch' AND coalesce(stop_reason, '') NOT IN ('withdrawn', 'in_batch')"
_LOST = "coalesce(stop_reason, '') IN ('', 'lost', 'rejected', 'errored', 'expired', 'canceled')"

DIARY = f"""\
WITH {_MADE}
SELECT number, trial_id, proposer, title, hypothesis, category, {STATUS} AS status, reason, effect, effect_low,
       effect_high, pairs, expected_effect, expected_scaling, coalesce(repairs, 0) AS repairs
FROM trials JOIN made USING (trial_id)
WHERE {_OURS}
ORDER BY number"""
WORTH = f"""\
WITH {_RUNS}
SELECT proposer, coalesce(placebo, false) AS placebo, count(*) AS proposed, {_OUTCOMES},
       coalesce(fsum(greatest(effect, 0)) FILTER (status = 'kept'), 0) AS gain,
       coalesce(round(fsum(cost_usd), 9), 0) AS cost_usd,
       coalesce(round(fsum(coalesce(trials.seconds, runs_of.seconds)), 6), 0) AS seconds
FROM trials LEFT JOIN runs_of USING (trial_id)
WHERE proposer IS NOT NULL
GROUP BY ALL ORDER BY placebo, kept DESC, trials DESC, proposer"""
CATEGORIES = f"""\
SELECT coalesce(category, '') AS category, {_OUTCOMES}
FROM trials WHERE NOT coalesce(placebo, false)
GROUP BY ALL ORDER BY kept DESC, trials DESC, category"""
MODELS = f"""\
SELECT coalesce(model, '') AS model, count(*) FILTER ({_REQUESTS}) AS requests,
       count(*) FILTER (stop_reason = 'refusal') AS refused, count(*) FILTER ({_REQUESTS} AND {_LOST}) AS lost,
       coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(cached_tokens), 0) AS cached_tokens,
       coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
       coalesce(round(fsum(cost_usd), 9), 0) AS cost_usd, coalesce(round(fsum(seconds), 6), 0) AS seconds
FROM llm_calls
GROUP BY ALL HAVING requests > 0 OR cost_usd > 0 ORDER BY cost_usd DESC, model"""
REFUSALS = """\
SELECT coalesce(refusal_category, 'not told') AS category, count(*) AS requests
FROM llm_calls WHERE stop_reason = 'refusal'
GROUP BY ALL ORDER BY requests DESC, category"""
# The verdicts of every axis; the report takes those of its main one.
SCALING = f"""\
SELECT trial_id, expected_scaling, verdicts.axis, verdict
FROM trials JOIN verdicts ON verdicts.arm = 'alone:' || trial_id
WHERE expected_scaling IS NOT NULL AND {_OURS}
ORDER BY trial_id, axis"""

QUERIES = {
    "diary": DIARY,
    "worth": WORTH,
    "categories": CATEGORIES,
    "models": MODELS,
    "refusals": REFUSALS,
    "scaling": SCALING,
}


@dataclass(frozen=True, slots=True)
class ResearcherRows:
    """Rows by subject, columns as in QUERIES. The diary holds the trials of a researcher, not those of a list."""

    diary: Rows
    worth: Rows
    categories: Rows
    models: Rows
    refusals: Rows
    scaling: Rows

    @property
    def told(self) -> bool:
        """Whether there is anything to tell: a researcher, a request to a model, or proposers to compare."""
        return bool(self.diary or self.models) or sum(not row["placebo"] for row in self.worth) > 1


def read_researcher(store: Queryable) -> ResearcherRows:
    """Read all subjects from the store; raises InputError where the folder is no study."""
    assert set(QUERIES) == {field.name for field in fields(ResearcherRows)}
    return ResearcherRows(**{name: clean(store.rows(sql)) for name, sql in QUERIES.items()})
