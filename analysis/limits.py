"""What the numbers of a study cannot show, said from the study's own rows."""

from analysis.answer import main_axis
from analysis.evidence import Evidence
from analysis.progress import unfinished
from analysis.wording import bounded, count_of, listed, params_text, percent

BASELINE_CURVE = "baseline curve"
"""The `method` of a saving that the baseline's curve alone tells: no run of the arm brackets it."""
LEAST_LANDING_PAIRS = 5
LEAST_AA_PAIRS = 2
LEAST_SIGMA_DOF = 8
FAR = 4
MIN_DOCUMENTS = 10


def limits(evidence: Evidence) -> list[str]:
    """Return one sentence per limit that holds for this study."""
    of_search = (unfinished, _placebos, _shown_text, _not_promoted)
    of_savings = (_stopped, _pairs, _bounds, _baseline_curve, _power)
    of_ladder = (_noise, _aa, _fragile, _landing, _forecast, _held_out, _timing, _devices)
    return [sentence for part in (*of_search, *of_savings, *of_ladder) if (sentence := part(evidence))] + [
        "All numbers belong to this baseline, this corpus and these rungs: another baseline can turn a word around."
    ]


def _placebos(evidence: Evidence) -> str:
    placebos = evidence.trials_where(placebo=True)
    if not evidence.trials or evidence.searching:
        return ""
    if not placebos:
        return "No placebo was tried, so the rate of false keeps was not measured."
    kept = evidence.trials_where("kept", placebo=True)
    if kept:
        return (
            f"{kept} of {count_of(placebos, 'placebo')} {'was' if kept == 1 else 'were'} "
            "kept: some findings may be as empty."
        )
    # With none kept among n, rates above 1 - 0.05^(1/n) are excluded at 95 %.
    return (
        f"With {count_of(placebos, 'placebo')} and none kept, a rate of false keeps up to "
        f"{percent(1 - 0.05 ** (1 / placebos))} cannot be excluded."
    )


def _shown_text(evidence: Evidence) -> str:
    settings = evidence.facts.get("settings")
    corpus = settings.get("corpus", {}) if isinstance(settings, dict) else {}
    if "written_by_model" not in evidence.facts or corpus.get("source", "python") != "python":
        return ""
    return (
        "A model wrote edits, and most of the corpus is source code that the sandbox has to show: a recipe that got "
        "past the door could train on more of it than it is fed. What is kept should be seen to hold on a corpus of "
        "one's own."
    )


def _not_promoted(evidence: Evidence) -> str:
    measured = {row["finding_id"] for row in evidence.savings if row["arm"].startswith("alone:")}
    left = [row for row in evidence.findings if row["finding_id"] not in measured]
    if not left or not evidence.savings:
        return ""
    cap = None if evidence.transfer is None else evidence.transfer.max_findings
    why = f" (the settings take up {cap} at most)" if cap is not None and len(evidence.findings) > cap else ""
    return (
        f"{count_of(len(left), 'finding')} of {len(evidence.findings)} "
        f"{'was' if len(left) == 1 else 'were'} not run alone up the ladder{why}."
    )


def _stopped(evidence: Evidence) -> str:
    stopped = {row["arm"] for row in evidence.gates if row["decision"] in ("futile", "stop", "inconclusive")}
    if not stopped:
        return ""
    return (
        f"Gates stopped {count_of(len(stopped), 'arm')}: a change that begins to "
        "help only at a larger scale is stopped as well."
    )


def _pairs(evidence: Evidence) -> str:
    at_top = [row["pairs"] for row in evidence.savings if row["rung"] == evidence.top_rung and row["pairs"] is not None]
    planned = 0 if evidence.transfer is None else max(evidence.transfer.pairs)
    if not at_top or min(at_top) >= planned:
        return ""
    return f"An arm has as few as {count_of(min(at_top), 'pair')} at the top rung, where the settings allow {planned}."


def _bounds(evidence: Evidence) -> str:
    axis = main_axis(evidence)
    arms = {row["arm"] for row in evidence.savings if row["axis"] == axis and bounded(row)}
    if not arms:
        return ""
    return (
        f"{count_of(len(arms), 'arm')} did not meet the baseline's loss within the horizons that "
        f"{'it was' if len(arms) == 1 else 'they were'} run to: where a saving is 'at least', no interval and no "
        "forecast is known."
    )


def _baseline_curve(evidence: Evidence) -> str:
    rungs = {row["rung"] for row in evidence.savings if row.get("method") == BASELINE_CURVE}
    if not rungs:
        return ""
    return (
        f"Savings at rung {listed([str(rung) for rung in sorted(rungs)])} are read off the baseline's curve: only the "
        "baseline was run at other horizons there, so no run brackets them."
    )


def _power(evidence: Evidence) -> str:
    axis = main_axis(evidence)
    axes = {row["axis"] for row in evidence.powers}
    axis = axis if axis in axes else min((one for one in axes if one), default=axis)
    rows = [row for row in evidence.powers if row["axis"] in (axis, None) and row["smallest_saving"] is not None]
    parts = [
        f"{percent(row['smallest_saving'])} at rung {row['rung']} ({count_of(row['pairs'], 'pair')})" for row in rows
    ]
    if not parts:
        return ""
    text = f"Savings in {axis} that are smaller than these can be real and stay unseen: {listed(parts)}"
    smallest = evidence.smallest_saving
    weak = [str(row["rung"]) for row in rows if smallest is not None and row["smallest_saving"] > smallest]
    if smallest is not None and weak:
        text += f"; rung {listed(weak)} cannot see the {percent(smallest)} that would be worth having"
    return f"{text}."


def _noise(evidence: Evidence) -> str:
    few = [row for row in evidence.slopes if row["sigma_dof"] is not None and row["sigma_dof"] < LEAST_SIGMA_DOF]
    if not few:
        return ""
    parts = [f"{row['sigma_dof']:.0f} at rung {row['rung']}" for row in few]
    return (
        "The noise itself is known from few seeds (degrees of freedom: "
        f"{listed(parts)}), so the intervals there are rough."
    )


def _aa(evidence: Evidence) -> str:
    rungs = {row["rung"] for row in evidence.savings}
    missing = [str(rung) for rung in sorted(rungs - {row["rung"] for row in evidence.aa})]
    if missing:
        return (
            f"Baseline was not run against baseline at rung {listed(missing)}: "
            "a bias of the bench would not show there."
        )
    few = [str(row["rung"]) for row in evidence.aa if row["pairs"] is not None and row["pairs"] < LEAST_AA_PAIRS]
    return f"A/A rests on a single pair at rung {listed(few)}." if few else ""


def _fragile(evidence: Evidence) -> str:
    fragile = sorted({row["arm"] for row in evidence.verdicts if row["fragile"]})
    return (
        f"{count_of(len(fragile), 'verdict')} {'is' if len(fragile) == 1 else 'are'} fragile: noise "
        "half as large again, or leaving rung 0 out, changes the word."
        if fragile
        else ""
    )


def _landing(evidence: Evidence) -> str:
    if not evidence.savings:
        return ""
    pairs = [row["pairs"] for row in evidence.landings if row["pairs"] is not None]
    if not pairs:
        return (
            "No landing run was made: the stack's saving was not tried again on seeds that had no part in measuring it."
        )
    planned = LEAST_LANDING_PAIRS if evidence.transfer is None else evidence.transfer.landing_pairs
    if min(pairs) < planned:
        return (
            f"The landing run has {count_of(min(pairs), 'pair')} instead of the "
            f"{planned} planned: a true claim may fail to stand."
        )
    return ""


def _forecast(evidence: Evidence) -> str:
    top = evidence.params_at(evidence.top_rung)
    far = max((row["params"] for row in evidence.forecasts if row["extrapolated"]), default=None)
    if far is None or not top:
        return ""
    return (
        f"The forecast for {params_text(far)} params lies {far / top:.0f}x beyond the top "
        f"rung: more than {FAR}x is extrapolation, not measurement."
    )


def _held_out(evidence: Evidence) -> str:
    if not evidence.savings or evidence.transfer is None or not evidence.held_out:
        return ""
    documents = evidence.held_out[0]["documents"]
    if documents is None:
        return (
            "Runs of this study did not keep their losses by document: what the choice of the held-out text adds to an "
            "error is in no interval."
        )
    if documents >= MIN_DOCUMENTS:
        return ""
    return (
        f"The held-out text of the ladder is {count_of(documents, 'document')}: how much a gain depends on them is "
        "hardly known."
    )


def _timing(evidence: Evidence) -> str:
    timing = evidence.facts.get("timing")
    if not isinstance(timing, dict) or not timing.get("wide"):
        return ""
    return (
        f"After {timing['blocks']} blocks the clock still hides the smallest saving worth having in seconds ("
        f"{listed(timing['wide'])}): promote with --again timing on a quieter machine."
    )


def _devices(evidence: Evidence) -> str:
    names = [row["device"] for row in evidence.devices]
    return (
        f"Seconds hold for the device they were taken on ({listed(names)}); another one can order the arms otherwise."
        if names
        else ""
    )
