"""Settings of simulations: a TOML file with a table per kind, read at the door and printed for users to edit."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

Table = Literal["search_world", "ladder_world", "plan_world"]

COMMANDS: dict[Table, str] = {"search_world": "search", "ladder_world": "ladder", "plan_world": "plan"}
KEYS: dict[Table, dict[str, str]] = {
    "search_world": {
        "proposals": "changes proposed in a search, placebos apart",
        "sigma": "spread of a run's finished loss over seeds, nats per token",
        "share_real": "share of proposals that are gains",
        "share_null": "share that changes nothing; the rest are harmful",
        "mean_gain": "mean true gain of the real ones, nats per token",
        "mean_harm": "mean true loss of the harmful ones, nats per token (exponential)",
        "gains": "how gains are spread: exponential, half-normal or equal",
        "correlation": "of two runs on one seed, 0 to below 1",
        "edit_noise": "a changed recipe's own noise, in units of the baseline's",
        "placebo_every": "one trial in so many is a placebo",
        "calibration_seeds": "seeds on which the baseline is measured first, 4 or more",
        "confirm_looks": "pairs after which a trial is judged again: of 1, 2, 4, 8 and 12",
        "searches": "searches that are simulated",
        "seed": "of the random streams",
    },
    "ladder_world": {
        "name": "what the world is called; several [[ladder_world]] need different names",
        "params": "of each rung, rising, two or more; the lists below have one value per rung, or a number for all",
        "kappas": "slope -dL/dlnT of the baseline, nats per token",
        "curvatures": "of the loss in ln T, -1.5 to 2: b of a power law, 0 straight, below 0 where it steepens",
        "sigma": "spread of a run's finished loss over seeds, nats per token",
        "correlation": "of the two runs of a pair, 0 to below 1",
        "pairs": "at each rung, for each arm",
        "horizon_seeds": "baselines at T/4, and as many at T/2",
        "aa_pairs": "pairs of baseline against baseline at each rung",
        "s_time": "spread of ln(time ratio) between timing blocks, by rung; counts on the axis seconds",
        "shared_clock": "spread of what all arms' timings in one block have in common",
        "timing_blocks": "of each arm at each rung",
        "curve": "the baseline's loss in ln T: power, double (a sum of two) or transition (one lies ahead)",
        "mistuned": "by how many kappa the baseline's shorter horizons end too high",
        "axis": "what words are judged on: tokens, flops or seconds",
        "smallest_saving": "worth having; .05 is 5 %",
        "alpha": "one-sided level at which words are given; .05 reads them from 90 % intervals",
        "stack": "findings that are stacked, by name; [] for no stack",
        "interaction": "ln speed-up of the stack beyond the sum of its members'",
        "untuned": "ln speed-up that better tuning would have given the baseline: every arm seems to gain it",
        "ladders": "ladders that are simulated",
        "seed": "of the random streams",
        "gains": "true ln speed-up of each finding, by rung or a number for all; negative where it harms",
    },
    "plan_world": {
        "budget_flops": "FLOPs of all runs; --budget goes before it",
        "target_params": "params of the run to bet on; --target goes before it",
        "target_tokens": "its tokens; by default the first of tokens_per_param times its params",
        "axis": "what is to be saved: tokens, flops or seconds",
        "smallest_saving": "worth having; .01 is 1 %",
        "smallest_params": "of the lowest rung",
        "largest_params": "of the highest rung; half the target's by default",
        "sizes": "params that rungs may have, instead of the two above; 2 to 10, rising",
        "tokens_per_param": "of the rungs, to choose from",
        "pairs": "at a rung, to choose from",
        "horizon_seeds": "baselines at T/2 and at 2T each, to choose from",
        "designs": "arms run at the horizon T alone (one), or at T/2 and 2T too (every)",
        "most_rungs": "2 to 5",
        "arms": "run beside the baseline at every rung",
        "aa_pairs": "pairs of baseline against baseline at each rung",
        "landing_pairs": "of the landing run at the top rung; 0 for none",
        "expected_saving": "of an arm at smallest_params; .1 is 10 %",
        "decay": "of its ln speed-up, as params^-decay",
        "sigma": "spread of a run's finished loss over seeds at smallest_params, nats per token",
        "sigma_decay": "of sigma, as params^-sigma_decay",
        "correlation": "of the two runs of a pair",
        "s_time": "spread of ln(time ratio) over pairs; counts on the axis seconds",
        "ratio_drift": "spread of a gain's relative change per e-fold of tokens per param",
        "law": "the baseline's loss E + A N^-alpha + B D^-beta, nats per token; N params, D tokens",
    },
}
WHEN_SET: dict[str, object] = {
    "ladders": 2000,
    "target_tokens": 1.4e11,
    "largest_params": 3.5e9,
    "sizes": (1e7, 3e7, 9e7, 2.7e8),
}
"""What a key without a default may be set to: shown behind a '#'."""


def read_tables(path: Path, table: Table) -> list[dict[str, Any]]:
    """The tables [`table`] of a settings file, one or several; what they hold is for their reader to check.

    Raises InputError for a file that is missing or no TOML, for a table that is not known, and where `table` lacks.
    """
    known = ", ".join(f"[{name}]" for name in KEYS)
    held = _load(path, table)
    for name, value in held.items():
        if name not in KEYS:
            near = get_close_matches(name, KEYS, n=1)
            hint = f"did you mean [{near[0]}]?" if near else f"the tables are {known}"
            raise InputError(f"'{name}' in {path} is not a table of simulations ({hint}).")
        tables = value if isinstance(value, list) else [value]
        if not tables or not all(isinstance(one, dict) for one in tables):
            raise InputError(f"'{name}' in {path} must be a table: write [{name}] and its keys below it.")
    if table not in held:
        raise InputError(f"{path} holds no table [{table}]; add it, as {_shown(table)} prints it.")
    found = held[table]
    return found if isinstance(found, list) else [found]


def read_table(path: Path | None, table: Table) -> dict[str, Any]:
    """The one table [`table`] of a settings file, empty without a file; raises InputError as `read_tables` does."""
    if path is None:
        return {}
    found = read_tables(path, table)
    if len(found) > 1:
        raise InputError(f"{path} holds {len(found)} tables [[{table}]]; give one, as [{table}].")
    return found[0]


def settings_text(table: Table, settings: BaseModel) -> str:
    """The settings as TOML that can be edited and read again: a key a line, with what it means."""
    return "".join(f"{line}\n" for line in _lines(table, settings.model_dump()))


def _lines(table: Table, values: Mapping[str, Any]) -> Iterator[str]:
    yield f"# Edit, then: scaleproof simulate {COMMANDS[table]} --settings FILE"
    yield f"[{table}]"
    for key, meaning in KEYS[table].items():
        if isinstance(values[key], dict):
            continue
        unset = "# " * (values[key] is None)
        value = WHEN_SET[key] if values[key] is None else values[key]
        yield f"{unset}{key} = {_toml(_one_for_all(value))}  # {meaning}"
    for key, meaning in KEYS[table].items():
        if isinstance(values[key], dict):
            yield ""
            yield f"[{table}.{key}]  # {meaning}"
            for name, one in values[key].items():
                yield f"{json.dumps(name) if ' ' in name else name} = {_toml(_one_for_all(one))}"


def _one_for_all(value: object) -> object:
    """A list that says the same of every rung, as its one number."""
    return value[0] if isinstance(value, tuple) and len(value) > 1 and len(set(value)) == 1 else value


def _toml(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}".replace("e+0", "e").replace("e+", "e")
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def _load(path: Path, table: Table) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no settings file at {path}; {_shown(table)} prints one to edit.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from None
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}; give a TOML file.") from None


def _shown(table: Table) -> str:
    return f"`scaleproof simulate {COMMANDS[table]} --show-settings`"
