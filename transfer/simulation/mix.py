"""The mix of worlds on which the rules are held, and worlds whose baseline was tuned less than the arms.

Three levels of noise (large models, middling, tiny models on a CPU), three correlations of a pair, two and eight pairs,
each world with findings of every kind; and worlds off that grid: short ladders, curvatures far from the prior, noise or
correlation that changes with size. Apart from the mix, on which intervals must cover too: losses that are no power law
of tokens, shorter horizons that are tuned worse or better than T, and timings that share a disturbance or scatter more
at one rung than at another.
"""

from transfer.simulation.worlds import LadderWorld

FOUR = (1e6, 3e6, 9e6, 27e6)
STACKED: dict[str, object] = {"stack": ("shrinking", "constant"), "interaction": -0.1}
NOISE: dict[str, dict[str, object]] = {
    "llm": {"kappas": (0.21, 0.18, 0.15, 0.12), "curvatures": 0.35, "sigma": 0.001, "smallest_saving": 0.01},
    "middling": {"kappas": (0.3, 0.26, 0.22, 0.18), "curvatures": 0.4, "sigma": 0.008, "smallest_saving": 0.03},
    "cpu": {"kappas": (0.5, 0.47, 0.43, 0.4), "curvatures": 0.5, "sigma": 0.03, "smallest_saving": 0.05},
}


def _world(noise: str, what: str, **changed: object) -> LadderWorld:
    return LadderWorld.read({"name": f"{noise}, {what}", "params": FOUR, **NOISE[noise], **STACKED, **changed})


GRID = tuple(
    _world(noise, f"correlation {correlation:g}, {pairs} pairs", correlation=correlation, pairs=pairs)
    for noise in NOISE
    for correlation in (0.0, 0.5, 0.9)
    for pairs in (2, 8)
)
OFF_GRID = (
    _world("cpu", "two rungs", axis="tokens", params=(1e6, 9e6), kappas=(0.5, 0.43)),
    _world("middling", "three rungs", axis="tokens", params=(1e6, 3e6, 9e6), kappas=(0.3, 0.26, 0.22)),
    _world("cpu", "curvature .2", axis="tokens", curvatures=0.2, correlation=0.9),
    _world("cpu", "curvature .7", axis="tokens", curvatures=0.7, correlation=0.9),
    _world("middling", "correlation falls with size", axis="tokens", correlation=(0.8, 0.7, 0.55, 0.4)),
    _world("cpu", "noise falls with size", axis="tokens", sigma=(0.06, 0.03, 0.015, 0.008)),
)
MIX = GRID + OFF_GRID
UNTUNED = (
    _world("cpu", "baseline untuned at small rungs", correlation=0.9, untuned=(0.2, 0.12, 0.06, 0.0)),
    _world("cpu", "baseline untuned, less so at large rungs", correlation=0.9, untuned=(0.3, 0.25, 0.2, 0.15)),
    _world("cpu", "baseline untuned alike at every rung", correlation=0.9, untuned=0.1),
    _world("llm", "baseline untuned alike at every rung", correlation=0.9, untuned=0.03),
)
SHAPES: dict[str, dict[str, object]] = {
    "straight": {"curvatures": 0.0},
    "steepening": {"curvatures": -0.5},
    "curvature 1.5": {"curvatures": 1.5},
    "sum of two powers": {"curve": "double"},
    "transition": {"curve": "transition", "curvatures": 0.3},
    "shorter horizons end too high": {"mistuned": 0.03},
    "shorter horizons end too low": {"mistuned": -0.03},
}
CURVES = tuple(
    _world(noise, f"{what}, {pairs} pairs", axis="tokens", correlation=0.5, pairs=pairs, **changed)
    for noise in ("middling", "cpu", "llm")
    for what, changed in SHAPES.items()
    for pairs in (2, 4, 8)
)
SHARED_CLOCK, S_TIME_BY_RUNG = 0.01, (0.005, 0.01, 0.03, 0.08)
TIMINGS: dict[str, dict[str, object]] = {
    "shared clock": {"shared_clock": SHARED_CLOCK},
    "timing spread by rung": {"s_time": S_TIME_BY_RUNG},
    "shared clock, timing spread by rung": {"shared_clock": SHARED_CLOCK, "s_time": S_TIME_BY_RUNG},
}
CLOCKS = tuple(
    # Runs that hardly scatter, so that it is the timing that errs.
    _world("llm", f"{what}, {pairs} pairs", axis="seconds", correlation=0.5, pairs=pairs, **changed)
    for what, changed in TIMINGS.items()
    for pairs in (4, 8)
)
