"""A study as a finished demo leaves it: three rungs, 26 trials, five findings, written as spool records."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Record = dict[str, Any]

PARAMS = (28_000, 106_000, 402_000)
TOKENS = (600_000, 2_100_000, 6_600_000)
KAPPA = (0.50, 0.45, 0.41)
SIGMA = (0.012, 0.009, 0.007)
SMALLEST_SAVING = 0.05
START = 1_767_225_600.0
FINDINGS = (
    # finding, title, category, lnS in tokens per rung, ln seconds per token, verdict
    ("t03", "Zero-init the output projections", "init", (0.16, 0.15, 0.155), 0.00, "transfers"),
    ("t07", "Squared ReLU in the MLP", "model", (0.14, 0.12, 0.11), 0.01, "transfers"),
    ("t11", "Higher learning rate for the embeddings", "optimiser", (0.20, 0.13, 0.07), 0.00, "shrinks"),
    ("t16", "Bigram hash embeddings | extra table", "model", (0.22, 0.09, 0.01), 0.02, "vanishes"),
    ("t21", "Query-key normalisation", "model", (0.09, 0.06, 0.05), 0.03, "inconclusive"),
)
DROPPED = (
    "Tied embeddings",
    "RMSNorm without gain",
    "Longer warm-up",
    "Cosine schedule to zero",
    "Weight decay 0.2",
    "GELU in the MLP",
    "Attention logits capped at 30",
    "Momentum 0.98",
    "Label smoothing 0.05",
    "Two more heads",
    "Gradient clip at 0.5",
    "Smaller rotary base",
    "Parallel attention and MLP",
)


@dataclass
class Writer:
    """Collects records and gives each the time at which it was written."""

    records: list[Record]
    clock: float = START

    def add(self, kind: str, **columns: Any) -> None:
        self.clock += 1.0
        self.records.append({"kind": kind, "written_at": self.clock, **columns})


def finished_loss(rung: int, tokens: float, ln_speedup: float = 0.0) -> float:
    exponent = 0.45
    lift = KAPPA[rung] / exponent
    return float(
        1.55
        + 1.6 * (PARAMS[0] / PARAMS[rung]) ** 0.2 / 2
        + lift * (tokens * np.exp(ln_speedup) / TOKENS[rung]) ** -exponent
    )


def demo_records(*, seed: int = 7, until: str = "landing") -> list[Record]:
    """Return the records of the study up to a stage: 'search', 'pairs' or 'landing' (all)."""
    writer, random = Writer([]), np.random.default_rng(seed)
    _facts(writer)
    _search(writer, random)
    writer.add("fact", name="search_done", value=json.dumps("its mark"))
    if until != "search":
        _ladder(writer, random)
        _verdicts(writer)
    if until == "landing":
        _landing(writer, random)
        _law(writer, random)
    return writer.records


def crossing_records() -> list[Record]:
    """Return the study as a promotion leaves it that runs arms to where they meet the baseline's loss.

    Its top rung is in transition. There one finding saves an unknown amount above a bound, another loses at least so
    much, and a third gains while its change since rung 0 is unknown.
    """
    records = demo_records()
    shortened = [
        record | {"run_id": f"{record['run_id']}-shortened", "horizon": record["horizon"] // 2}
        for record in records
        if record["kind"] == "run" and record["purpose"] == "pair" and record["arm"] != "baseline"
    ]
    return [record | _at_crossing(record) for record in (*records, *shortened)]


def _at_crossing(record: Record) -> Record:
    if record["kind"] == "slope":
        steepens = record["rung"] == 2
        ratio = record["tokens"] / record["params"]
        return {"tokens_per_param": ratio, "transition": steepens, "curvature": -0.3 if steepens else 0.46}
    if record["kind"] == "saving":
        bound = BOUNDS.get(record["arm"]) if record["rung"] == 2 else None
        return {"bound": "", "method": "crossing", "horizons": 3} | (bound or {})
    if record["kind"] == "verdict":
        change = record["retention"]
        interval = {"retention_low": change - 0.06, "retention_high": change + 0.06, "margin": 0.026}
        return interval | WORDS_AT_CROSSING.get(record["arm"], {})
    return {}


WORDS_AT_CROSSING: dict[str, Record] = {
    "alone:t21": {"verdict": "gains", "margin": 0.05},
    "alone:t07": {"retention": None, "retention_low": None, "retention_high": None},
    "alone:t16": {"verdict": "reverses"},
}
UNKNOWN: Record = {"bound": "at least", "saving": None, "ln_speedup": None, "ln_speedup_se": None}
BOUNDS: dict[str, Record] = {
    "alone:t07": {**UNKNOWN, "saving_low": 0.875, "saving_high": None},
    "alone:t16": {**UNKNOWN, "saving_low": None, "saving_high": -0.12},
}


def write_spool(study: Path, records: list[Record], name: str = "records") -> Path:
    """Append the records to one spool file of the study."""
    spool = study / "spool"
    spool.mkdir(parents=True, exist_ok=True)
    with (spool / f"{name}.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return study


def _facts(writer: Writer) -> None:
    facts = {
        "settings": {
            "preset": "demo",
            "transfer": {"smallest_saving": SMALLEST_SAVING, "pairs": [2, 4], "landing_pairs": 5},
        },
        "versions": {"scaleproof": "0.1.0", "torch": "2.12.0", "lightning": "2.6.4"},
        "corpus": {"name": "demo", "digest": "sha256:5b1f", "documents": 4211},
        "seeds": {"search": 1000, "ladder": 5000},
        "machine": {"device": "cpu", "cores": 2},
    }
    for name, value in facts.items():
        writer.add("fact", name=name, value=json.dumps(value, sort_keys=True))


def _run(
    writer: Writer,
    random: np.random.Generator,
    rung: int,
    arm: str,
    *,
    purpose: str,
    seed: int,
    horizon: float = 1.0,
    gain: float = 0.0,
    noise: float | None = None,
    status: str = "finished",
) -> None:
    tokens = round(TOKENS[rung] * horizon)
    common = np.random.default_rng([rung, seed]).normal() * SIGMA[rung] * 0.9
    own = random.normal() * SIGMA[rung] * (0.35 if noise is None else noise)
    loss = finished_loss(rung, tokens, gain) + common + own
    seconds = tokens * PARAMS[rung] ** 0.7 * 1.1e-8 * (1 + 0.02 * random.normal())
    writer.add(
        "run",
        run_id=f"{purpose}-{rung}-{arm}-{seed}-{tokens}",
        rung=rung,
        rung_name=f"r{rung}",
        arm=arm,
        finding_id=arm.partition(":")[2] or None,
        purpose=purpose,
        recipe_hash=f"hash-{arm}",
        seed=seed,
        shard="final",
        horizon=tokens,
        params=PARAMS[rung],
        params_non_embedding=PARAMS[rung] // 2,
        tokens=tokens,
        flops=6.0 * PARAMS[rung] * tokens,
        status=status,
        reason=None if status == "finished" else "loss exploded",
        val_loss=loss if status == "finished" else None,
        val_bpb=loss / np.log(2) / 3.6 if status == "finished" else None,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        peak_memory_bytes=210_000_000,
        device="cpu",
        devices=1,
        attempt=1,
        started_at=writer.clock - seconds,
        ended_at=writer.clock,
    )


def _search(writer: Writer, random: np.random.Generator) -> None:
    for name, value in (("sigma", SIGMA[0]), ("placebo_sd", SIGMA[0] * 1.2)):
        writer.add("calibration", name=name, value=value, detail={"seeds": 8})
    for factor, worse in (("0.5", 0.031), ("2", 0.012)):
        writer.add("calibration", name=f"bracket_{factor}", value=worse, detail={"knob": "learning_rate", "se": 0.004})
    for seed in range(8):
        _run(writer, random, 0, "baseline", purpose="calibrate", seed=seed)
        _run(writer, random, 0, f"placebo:{seed}", purpose="placebo", seed=seed)
    for seed in range(5):
        _run(writer, random, 0, "baseline", purpose="bracket", seed=40 + seed)
    for trial in _trials(random):
        writer.add("trial", **trial)
        arm = f"trial:{trial['trial_id']}"
        status = "diverged" if trial["status"] == "crashed" else "finished"
        _run(writer, random, 0, arm, purpose="screen", seed=0, gain=trial["effect"] or 0.0, status=status)
        for seed in range(trial["pairs"]):
            _run(writer, random, 0, arm, purpose="confirm", seed=20 + seed, gain=trial["effect"] / KAPPA[0])


def _trials(random: np.random.Generator) -> Iterator[Record]:
    kept = {finding: (title, category, gains[0]) for finding, title, category, gains, *_ in FINDINGS}
    dropped = list(DROPPED)
    for number in range(26):
        trial_id = f"t{number:02d}"
        placebo, crashed, unresolved = number in {9, 19}, number in {5, 24}, number in {2, 13, 18, 23}
        screened = number % 3 == 1
        if trial_id in kept:
            title, category, gain = kept[trial_id]
            status, reason, pairs, effect = "kept", "z 4.1 over 8 pairs", 8, gain * KAPPA[0] * 0.93
        elif placebo:
            title, category, status, reason = (
                "Placebo: shifted random stream",
                "placebo",
                "dropped",
                "futile at 2 pairs",
            )
            pairs, effect = 2, float(random.normal() * 0.004)
        elif crashed:
            title, category, status = "Momentum 0.999", "optimiser", "crashed"
            reason, pairs, effect = "the loss exploded at step 41", 0, None
        elif unresolved:
            title, category, status = dropped.pop() if dropped else f"Variant {number}", "schedule", "unresolved"
            reason, pairs, effect = "z 1.6 after 8 pairs", 8, float(0.011 + random.normal() * 0.003)
        else:
            title, category, status = (
                dropped.pop() if dropped else f"Learning rate x{1 + number / 50:.2f}",
                "model",
                "dropped",
            )
            pairs, effect = (0, None) if screened else (2, float(-0.018 + random.normal() * 0.009))
            reason = "screened out" if screened else "futile at 2 pairs"
        half = None if effect is None else 1.7 * SIGMA[0] / np.sqrt(pairs)
        yield {
            "trial_id": trial_id,
            "proposer": "catalogue",
            "title": title,
            "hypothesis": "It may help.",
            "source": "catalogue",
            "category": category,
            "placebo": placebo,
            "status": status,
            "reason": reason,
            "effect": effect,
            "effect_low": None if half is None else effect - half,
            "effect_high": None if half is None else effect + half,
            "pairs": pairs,
            "z": None if half is None else effect / half * 1.65,
            "p_value": None if half is None else 0.02,
            "q_value": 0.01 if status == "kept" else None,
            "patch": "",
            "knobs": {},
            "scale_rule": "constant",
            "cost_usd": 0.0,
            "recipe_hash": f"hash-{trial_id}",
            "seconds_ratio": 1.0,
        }


def _arms() -> list[tuple[str, str | None, tuple[float, float, float], float]]:
    alone = [(f"alone:{finding}", finding, gains, seconds) for finding, _, _, gains, seconds, *_ in FINDINGS]
    stack = (0.52, 0.42, 0.31)
    without = [
        (f"without:{finding}", finding, tuple(s - g for s, g in zip(stack, gains, strict=True)), 0.02)
        for finding, _, _, gains, *_ in FINDINGS[:2]
    ]
    return [*alone, ("stack", None, stack, 0.05), *without]  # type: ignore[list-item]


def _ladder(writer: Writer, random: np.random.Generator) -> None:
    for rung in range(3):
        for seed in range(2):
            _run(writer, random, rung, "baseline", purpose="horizon", seed=100 + seed, horizon=0.5)
            _run(writer, random, rung, "baseline", purpose="horizon", seed=100 + seed, horizon=2.0)
            _run(writer, random, rung, "baseline", purpose="aa", seed=200 + seed)
            _run(writer, random, rung, "baseline", purpose="aa", seed=300 + seed)
        for seed in range(4):
            _run(writer, random, rung, "baseline", purpose="pair", seed=400 + seed)
            for arm, _, gains, _ in _arms():
                if not arm.startswith("without") or rung == 2:
                    _run(writer, random, rung, arm, purpose="pair", seed=400 + seed, gain=gains[rung])
        writer.add(
            "slope",
            rung=rung,
            params=PARAMS[rung],
            tokens=TOKENS[rung],
            kappa=KAPPA[rung],
            kappa_se=0.02,
            curvature=0.46,
            curvature_se=0.11,
            sigma=SIGMA[rung],
            sigma_dof=8,
        )
        centre, half = (0.011, -0.02, 0.006)[rung], (0.09, 0.07, 0.055)[rung]
        writer.add(
            "aa",
            rung=rung,
            params=PARAMS[rung],
            ln_speedup=centre,
            low_99=centre - half,
            high_99=centre + half,
            pairs=2,
            frozen=False,
        )
        writer.add(
            "power",
            rung=rung,
            params=PARAMS[rung],
            pairs=4,
            smallest_saving=(0.07, 0.06, 0.05)[rung],
            sigma=SIGMA[rung],
            kappa=KAPPA[rung],
            axis="seconds",
        )
        for arm, finding, gains, slower in _arms():
            if not arm.startswith("without") or rung == 2:
                _saving(writer, arm, finding, rung, gain=gains[rung], slower=slower)


def _saving(writer: Writer, arm: str, finding: str | None, rung: int, *, gain: float, slower: float) -> None:
    half = (0.055, 0.045, 0.035)[rung] * (1.6 if finding == "t21" else 1.0)
    for axis, cost in (("tokens", 0.0), ("flops", slower / 2), ("seconds", slower)):
        speedup = gain - cost
        writer.add(
            "saving",
            arm=arm,
            finding_id=finding,
            rung=rung,
            params=PARAMS[rung],
            axis=axis,
            saving=1 - np.exp(-speedup),
            saving_low=1 - np.exp(-(speedup - half)),
            saving_high=1 - np.exp(-(speedup + half)),
            ln_speedup=speedup,
            ln_speedup_se=half / 1.9,
            dof=7.5,
            pairs=4,
        )


def _verdicts(writer: Writer) -> None:
    for arm, finding, gains, slower in _arms():
        if arm.startswith("without"):
            continue
        _, _, _, _, _, word = next((row for row in FINDINGS if row[0] == finding), (*[None] * 5, "shrinks"))
        for rung in range(2):
            writer.add(
                "gate",
                arm=arm,
                finding_id=finding,
                rung=rung,
                decision="futile" if finding == "t16" and rung else "go",
                reason="lower 80 % bound of the saving in seconds",
                lower_80=gains[rung] - 0.03,
                flops_saved=8.1e12 if finding == "t16" and rung else 0.0,
            )
        for axis in ("tokens", "flops", "seconds"):
            writer.add(
                "verdict",
                arm=arm,
                finding_id=finding,
                axis=axis,
                verdict=word,
                fragile=finding == "t07",
                reason=f"90 % interval of lnS at the top rung against rung 0 says {word}",
                retention=gains[2] - gains[0],
                p_holm=0.004 if word != "inconclusive" else 0.2,
                rung=2,
                pairs_to_settle=11 if word == "inconclusive" else None,
            )
            for method, error in (("decay", 0.02), ("last", 0.05), ("mean", 0.09), ("linear", 0.04)):
                speedup = gains[2] - slower - {"decay": 0.03, "last": 0.0, "mean": -0.04, "linear": 0.06}[method]
                for params, extra in ((1_600_000, 0.1), (6_400_000, 0.17)):
                    writer.add(
                        "forecast",
                        arm=arm,
                        finding_id=finding,
                        params=params,
                        tokens=params * 16,
                        axis=axis,
                        saving=1 - np.exp(-speedup),
                        saving_low=1 - np.exp(-(speedup - extra)),
                        saving_high=1 - np.exp(-(speedup + extra)),
                        method=method,
                        leave_top_rung_out_error=error,
                        extrapolated=params > 4 * PARAMS[2],
                    )


def _landing(writer: Writer, random: np.random.Generator) -> None:
    for seed in range(5):
        _run(writer, random, 2, "stack", purpose="landing", seed=400 + seed, horizon=0.79, gain=0.31)
    writer.add(
        "landing",
        arm="stack",
        rung=2,
        params=PARAMS[2],
        tokens_baseline=TOKENS[2],
        tokens_stack=round(TOKENS[2] * 0.79),
        pairs=5,
        loss_difference=-0.011,
        loss_difference_high_95=0.004,
        margin=0.021,
        stands=True,
        reason="the upper 95 % bound of the loss difference is below kappa delta",
    )
    writer.add(
        "interaction",
        arm="stack",
        rung=2,
        ln_speedup=-0.08,
        low=-0.15,
        high=-0.01,
        detail="stack less the plan's effects",
    )
    for (finding, *_), ln_speedup in zip(FINDINGS, (0.12, -0.01), strict=False):
        arm = f"without:{finding}"
        writer.add("interaction", arm=arm, rung=2, ln_speedup=ln_speedup, low=ln_speedup - 0.05, high=ln_speedup + 0.05)


def _law(writer: Writer, random: np.random.Generator) -> None:
    """The baseline's law as a fit leaves it: two budgets of five sizes, a line over compute, and a target."""
    law = {"E": 1.5, "A": 60.0, "B": 180.0, "a": 0.4, "b": 0.4}

    def loss(params: float, tokens: float) -> float:
        return float(law["E"] + law["A"] * params ** -law["a"] + law["B"] * tokens ** -law["b"])

    def predict(purpose: str, params: float, tokens: float, observed: float | None = None) -> None:
        there, flops = loss(params, tokens), 6.0 * params * tokens
        writer.add(
            "prediction",
            arm="baseline",
            form="mixture",
            purpose=purpose,
            params=round(params),
            tokens=round(tokens),
            flops=flops,
            loss=there,
            loss_low=None if observed else 0.97 * there,
            loss_high=None if observed else 1.03 * there,
            flops_beyond=flops / 4e13,
            observed=observed,
        )

    for form, weight in (("chinchilla", 0.0), ("coupled", 0.7), ("kaplan", 0.3)):
        writer.add(
            "fit",
            arm="baseline",
            form=form,
            formula="L = E + A N^-a + B D^-b",
            parameters=law,
            standard_errors={name: 0.1 * value for name, value in law.items()},
            objective=0.0004,
            held_out_percent=1.2,
            weight=weight,
            n_train=10,
            chosen=form == "coupled",
        )
    for flops in (1e13, 4e13):
        for params in np.geomspace(PARAMS[0], PARAMS[2], 5):
            tokens = flops / 6 / params
            predict("run", params, tokens, loss(params, tokens) * (1 + 0.004 * random.normal()))
    for flops in np.geomspace(1e13, 4e15, 21):
        predict("curve", np.sqrt(flops / 600), np.sqrt(flops / 600) * 100)
    predict("target", 1_600_000, 80_000_000)


IDEAS = (
    ("optimiser", "Split the weight decay by the kind of matrix"),
    ("attention", "Let each head choose its own temperature"),
    ("embedding", "Hash pairs of tokens into a second table"),
    ("initialisation", "Scale the output projections down with depth"),
    ("schedule", "Hold the learning rate, then fall to zero at the end"),
    ("activation", "Square the rectified units of the last layers"),
)
STAY_OF_CLAUDE = ("transfers", "shrinks", "vanishes", "inconclusive")


def researched_records(trials: int, *, seed: int = 3) -> list[Record]:
    """Return the records of a search that a model and the catalogue shared: trials, placebos among them, and requests.

    One trial in twenty-five is truly good; the model expects three times as much as it gets. Every exchange of six
    proposals is a request of its own; some are refused or lost.
    """
    writer, random = Writer([]), np.random.default_rng(seed)
    _facts(writer)
    kept = 0
    for number in range(trials):
        if number % 6 == 0:
            _request(writer, random, number // 6)
        trial, began = _researched(random, number), writer.clock + 0.5
        writer.add("trial", **trial)
        if trial["status"] not in ("rejected", "refused"):
            arm = f"trial:{trial['trial_id']}"
            _run(writer, random, 0, arm, purpose="screen", seed=number, gain=trial["effect"] or 0.0)
            writer.records[-1]["started_at"] = began
        if trial["status"] == "kept" and trial["proposer"] == "claude":
            word = STAY_OF_CLAUDE[kept % len(STAY_OF_CLAUDE)]
            for axis in ("tokens", "seconds"):
                arm = f"alone:{trial['trial_id']}"
                writer.add("verdict", arm=arm, finding_id=trial["trial_id"], axis=axis, verdict=word, rung=2)
            kept += 1
    writer.add("fact", name="search_done", value=json.dumps("its mark"))
    return writer.records


def unfinished_records(trials: int) -> list[Record]:
    """Return the same as a search leaves it that has not come to its end: what passed the screen has no status yet."""
    records = [
        one for one in researched_records(trials) if one["kind"] != "verdict" and one.get("name") != "search_done"
    ]
    for record in records:
        if record["kind"] == "trial" and record["status"] in ("kept", "unresolved"):
            measured = ("effect", "effect_low", "effect_high", "pairs", "status")
            record.update({**dict.fromkeys(measured), "reason": ""})
    return records


def _researched(random: np.random.Generator, number: int) -> Record:
    placebo, mine = number % 20 == 10, number % 5 != 3
    category, title = IDEAS[number % len(IDEAS)]
    good, broken, confirmed = number % 25 == 2, number % 10 == 6, random.random() < 0.35
    effect = 0.02 * random.gamma(3) / 3 if good else float(random.normal(-0.004, 0.005))
    status = "dropped" if placebo else "rejected" if broken else "kept" if good else "dropped"
    status = (
        {17: "crashed", 24: "unresolved", 31: "refused"}.get(number % 40, status) if not (placebo or good) else status
    )
    measured = status in ("kept", "unresolved") or (status == "dropped" and confirmed)
    half = SIGMA[0] * (0.5 if good else 0.9)
    told = mine and not placebo
    return {
        "trial_id": f"n{number:03d}",
        "proposer": "placebo" if placebo else "claude" if mine else "catalogue",
        "title": "Placebo" if placebo else f"{title} ({number})",
        "hypothesis": f"On rung 0 {title.lower()} frees the early layers, so the finished loss falls. " * 3,
        "category": "placebo" if placebo else category,
        "placebo": placebo,
        "status": status,
        "reason": "its text is not in the recipe" if status == "rejected" else f"z = {effect / half:.2f} after 8 pairs",
        "effect": effect if measured else None,
        "effect_low": effect - half if measured else None,
        "effect_high": effect + half if measured else None,
        "expected_effect": float(0.008 * random.gamma(2) + 0.8 * max(effect, 0.0)) if told else None,
        "expected_scaling": ("constant", "shrinks", "small only", "unknown")[number // 50 % 4] if told else None,
        "repairs": int(number % 9 == 0),
        "pairs": 8 if measured else 0,
        "seconds": 40.0 + 200.0 * measured,
        "cost_usd": 0.02 if told else 0.0,
        "patch": "",
        "knobs": {},
        "scale_rule": "constant",
        "recipe_hash": f"hash-{number}",
    }


def _request(writer: Writer, random: np.random.Generator, number: int) -> None:
    refused, lost = number % 40 == 7, number % 40 == 19
    writer.add(
        "llm_call",
        request_id=f"e{number:04d}.t1",
        purpose="propose",
        model="claude-small" if number % 10 == 9 else "claude-large",
        stop_reason="refusal" if refused else "lost" if lost else "tool_use",
        refusal_category="frontier_llm" if refused else None,
        error="the connection broke" if lost else None,
        answer=None if lost else {"content": []},
        input_tokens=900,
        output_tokens=0 if refused or lost else 2600,
        cached_tokens=14_000,
        cache_write_tokens=12_000 if number == 0 else 0,
        cost_usd=0.12,
        seconds=float(20 + random.gamma(4)),
    )
