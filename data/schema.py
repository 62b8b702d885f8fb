"""What a study's store holds: one table per kind of record, the views that users query, and the schema's version."""

import hashlib
from dataclasses import dataclass

SCHEMA_VERSION = 1

# JSON columns are VARCHAR: they come back as plain strings through Arrow, and `->>` works on them all the same.
DUCKDB_TYPES = {
    "text": "VARCHAR",
    "note": "VARCHAR",  # text, or anything else kept as JSON text
    "json": "VARCHAR",
    "integer": "BIGINT",
    "real": "DOUBLE",
    "boolean": "BOOLEAN",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of spool record: its view, the key that its latest record is chosen by, and its typed columns.

    `of_promotion`: the view shows what came since the latest promotion began, so that arms of an earlier one, with
    other findings or settings, do not stand among those of the latest. `of_fit`: the view shows what the
    latest fit left that was written to its end, in a spool file of its own; where no fit says so, everything.
    """

    view: str
    key: tuple[str, ...]
    columns: dict[str, str]
    latest_attempt: bool = False
    of_promotion: bool = False
    of_fit: bool = False


def _columns(**names_by_type: str) -> dict[str, str]:
    return {name: type_ for type_, names in names_by_type.items() for name in names.split()}


KINDS: dict[str, Kind] = {
    "run": Kind(
        "runs",
        ("run_id",),
        _columns(
            text="run_id rung_name arm finding_id purpose recipe_hash shard status device",
            note="reason",
            integer="rung seed horizon params params_non_embedding tokens peak_memory_bytes devices attempt",
            real="flops val_loss val_bpb seconds cpu_seconds tokens_per_second started_at ended_at",
        ),
        latest_attempt=True,
    ),
    "point": Kind(
        "curves",
        ("run_id", "name", "step"),
        _columns(text="run_id name", integer="attempt step tokens", real="seconds value"),
        latest_attempt=True,
    ),
    "evaluation": Kind(
        "evaluations",
        ("run_id",),
        _columns(text="run_id", integer="attempt", json="losses sequences"),
        latest_attempt=True,
    ),
    "timing": Kind(
        "timings",
        ("run_id",),
        _columns(
            text="run_id arm finding_id device clock",
            note="reason",
            json="state",
            integer="rung seed block",
            real="seconds_per_token baseline_seconds_per_token ln_ratio "
            "wall_seconds_per_token baseline_wall_seconds_per_token ln_wall_ratio load started_at ended_at",
        ),
    ),
    "trial": Kind(
        "trials",
        ("trial_id",),
        _columns(
            text="trial_id slug exchange proposer title hypothesis category status recipe_hash expected_scaling",
            note="source reason patch scale_rule",
            json="knobs",
            boolean="placebo",
            integer="pairs repairs",
            real="effect effect_low effect_high z p_value q_value cost_usd expected_effect seconds",
        ),
    ),
    "calibration": Kind("calibrations", ("name",), _columns(text="name", real="value", json="detail")),
    "slope": Kind(
        "slopes",
        ("rung",),
        _columns(
            integer="rung params tokens",
            real="kappa kappa_se curvature curvature_se sigma sigma_dof tokens_per_param",
            boolean="transition",
        ),
        of_promotion=True,
    ),
    "aa": Kind(
        "aa",
        ("rung",),
        _columns(integer="rung params pairs", real="ln_speedup low_99 high_99", boolean="frozen"),
        of_promotion=True,
    ),
    "saving": Kind(
        "savings",
        ("arm", "rung", "axis"),
        _columns(
            text="arm finding_id axis bound method",
            integer="rung params pairs horizons",
            real="saving saving_low saving_high ln_speedup ln_speedup_se dof",
        ),
        of_promotion=True,
    ),
    "gate": Kind(
        "gates",
        ("arm", "rung"),
        _columns(text="arm finding_id decision", note="reason", integer="rung", real="lower_80 flops_saved"),
        of_promotion=True,
    ),
    "verdict": Kind(
        "verdicts",
        ("arm", "axis"),
        _columns(
            text="arm finding_id axis verdict",
            note="reason",
            boolean="fragile",
            integer="rung pairs_to_settle",
            real="retention retention_low retention_high margin p_holm",
        ),
        of_promotion=True,
    ),
    "forecast": Kind(
        "forecasts",
        ("arm", "params", "axis", "method"),
        _columns(
            text="arm finding_id axis method",
            integer="params tokens",
            real="saving saving_low saving_high leave_top_rung_out_error",
            boolean="extrapolated",
        ),
        of_promotion=True,
    ),
    "landing": Kind(
        "landings",
        ("arm",),
        _columns(
            text="arm",
            note="reason",
            integer="rung params tokens_baseline tokens_stack pairs",
            real="loss_difference loss_difference_high_95 margin",
            boolean="stands",
        ),
        of_promotion=True,
    ),
    "interaction": Kind(
        "interactions",
        ("arm", "rung"),
        _columns(text="arm", integer="rung", real="ln_speedup low high", json="detail"),
        of_promotion=True,
    ),
    "power": Kind(
        "powers",
        ("rung", "axis"),
        _columns(
            text="axis",
            boolean="assumed",
            integer="rung params pairs",
            real="smallest_saving sigma kappa correlation s_time",
        ),
        of_promotion=True,
    ),
    "fit": Kind(
        "fits",
        ("arm", "form"),
        _columns(
            text="arm form formula",
            json="parameters standard_errors detail",
            boolean="chosen",
            integer="n_train",
            real="objective held_out_percent weight",
        ),
        of_fit=True,
    ),
    "prediction": Kind(
        "predictions",
        ("spool_file", "spool_line"),  # seeds repeat a run's sizes, and may repeat its loss
        _columns(
            text="arm form purpose",
            integer="params tokens",
            real="flops loss loss_low loss_high flops_beyond observed",
        ),
        of_fit=True,
    ),
    "llm_call": Kind(
        "llm_calls",
        ("request_id",),
        _columns(
            text="request_id exchange slug purpose model stop_reason refusal_category api_request_id",
            note="error",
            json="answer",
            integer="input_tokens output_tokens cached_tokens cache_write_tokens",
            real="cost_usd seconds",
        ),
    ),
    "fact": Kind("facts", ("name",), _columns(text="name", json="value")),
}

# A finding is a trial that was kept; placebos are kept only by mistake and are counted apart.
FINDINGS = """CREATE VIEW findings AS
SELECT trial_id AS finding_id, trial_id, title, category, effect, effect_low, effect_high, proposer, hypothesis, patch,
       knobs, scale_rule, recipe_hash
FROM trials WHERE status = 'kept' AND NOT coalesce(placebo, false)"""

PROMOTION_BEGAN = "promotion_began"
_BEGAN = f"SELECT coalesce(max(written_at), 0) FROM record_fact WHERE name = '{PROMOTION_BEGAN}'"

FIT_DONE = "fit_done"
_FIT_FILE = f"SELECT arg_max(spool_file, written_at) FROM record_fact WHERE name = '{FIT_DONE}'"

VIEWS = (*(kind.view for kind in KINDS.values()), "findings")


def table(kind: str) -> str:
    """Name of the append-only table of a kind."""
    return f"record_{kind}"


def statements() -> list[str]:
    """The statements that make an empty store, in order."""
    made = [
        "CREATE TABLE store_schema (version BIGINT, digest VARCHAR)",
        "CREATE TABLE spool_positions (spool_file VARCHAR, bytes BIGINT, lines BIGINT)",
        "CREATE TABLE rejected_lines (spool_file VARCHAR, spool_line BIGINT, reason VARCHAR)",
    ]
    for name, kind in KINDS.items():
        typed = ", ".join(f"{column} {DUCKDB_TYPES[type_]}" for column, type_ in kind.columns.items())
        made.append(
            f"CREATE TABLE {table(name)} (spool_file VARCHAR, spool_line BIGINT, written_at DOUBLE, {typed})",
        )
    return [*made, *(_view(name, kind) for name, kind in KINDS.items()), FINDINGS]


def _view(name: str, kind: Kind) -> str:
    attempt = "attempt DESC NULLS LAST, " if kind.latest_attempt else ""
    order = f"{attempt}written_at DESC NULLS LAST, spool_file DESC, spool_line DESC"
    since = f"WHERE written_at >= ({_BEGAN}) " if kind.of_promotion else ""
    since = f"WHERE spool_file = coalesce(({_FIT_FILE}), spool_file) " if kind.of_fit else since
    latest = f"row_number() OVER (PARTITION BY {', '.join(kind.key)} ORDER BY {order}) = 1"
    return (
        f"CREATE VIEW {kind.view} AS SELECT {', '.join(kind.columns)}, written_at FROM {table(name)} "
        f"{since}QUALIFY {latest}"
    )


def digest() -> str:
    """Digest of the statements; a store whose digest differs is rebuilt from the spool."""
    return hashlib.blake2b("\n".join(statements()).encode(), digest_size=8).hexdigest()
