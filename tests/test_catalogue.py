"""Every entry of the catalogue is a recipe that runs, at every scale, and looks at the past alone."""

from __future__ import annotations

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import scaling
from data.errors import InputError
from scaling.edits import MergeConflictError, Recipe, merge, merge_all
from scaling.ladder import Rung
from scaling.loading import LoadedRecipe, load
from scaling.preflight import check_leak
from search.catalogue import CATALOGUE, CATEGORIES, CatalogueProposer, placebo_edit, placebo_proposal
from search.proposals import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")

BASELINE = Recipe(Path(scaling.__file__).with_name("recipe.py").read_text(encoding="utf-8"))
TINY = Rung(name="tiny", depth=2, width=32, context=16, batch_size=2, tokens=3200)
ODD = Rung(name="odd", depth=3, width=48, context=16, batch_size=2, tokens=3200)
LARGE = Rung(name="large", depth=3, width=1024, context=1024, batch_size=64, tokens=10**9)
VOCABULARY = 61
SLUGS = [entry.slug for entry in CATALOGUE]
# Other knobs change no shape, and all of them are tried on the tiny rung.
SHAPED = [one.slug for one in CATALOGUE if one.edit.replacements or {"head_dim", "mlp_ratio"} & set(one.edit.knobs)]
BY_SLUG = {entry.slug: entry for entry in CATALOGUE}


@functools.cache
def edited(slug: str) -> Recipe:
    return BY_SLUG[slug].edit.apply(BASELINE)


def build(recipe: LoadedRecipe, rung: Rung, device: str = "cpu") -> tuple[torch.nn.Module, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    knobs = recipe.resolve(rung, TINY)
    with torch.device(device):
        model = recipe.build_model(rung, knobs, VOCABULARY)
    return model, recipe.build_optimizers(model, rung, knobs)


def some_ids(rung: Rung, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, (rung.batch_size, rung.context + 1), generator=generator)


def step(recipe: LoadedRecipe, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], seed: int) -> float:
    """One step; the dropped units are drawn from the seed, as a resumed run restores them."""
    torch.manual_seed(seed)
    ids = some_ids(TINY, seed)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss = recipe.training_loss(model, ids[:, :-1], ids[:, 1:])
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("slug", SLUGS)
def test_an_entry_trains_looks_back_only_and_resumes_exactly(slug: str) -> None:
    recipe = load(edited(slug))
    model, optimizers = build(recipe, TINY)
    assert math.isfinite(step(recipe, model, optimizers, 1))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    optimised = [p for one in optimizers for group in one.param_groups for p in group["params"]]
    assert sorted(map(id, optimised)) == sorted(id(p) for p in model.parameters())
    step(recipe, model, optimizers, 2)

    resumed, resumed_optimizers = build(recipe, TINY)
    resumed.load_state_dict(copied(model.state_dict()))
    for one, other in zip(resumed_optimizers, optimizers, strict=True):
        one.load_state_dict(copied(other.state_dict()))
    for seed in (3, 4):
        assert step(recipe, resumed, resumed_optimizers, seed) == step(recipe, model, optimizers, seed)
    for (name, mine), theirs in zip(resumed.named_parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs), name

    check_leak(model, some_ids(TINY, 5)[:, :-1], VOCABULARY)


@pytest.mark.parametrize("slug", SHAPED)
def test_an_entry_builds_at_other_scales_and_runs_in_half_precision(slug: str) -> None:
    recipe = load(edited(slug))
    large, _ = build(recipe, LARGE, "meta")
    assert large(torch.zeros(1, 8, dtype=torch.int64, device="meta")).shape == (1, 8, VOCABULARY)
    model, _ = build(recipe, ODD)
    ids = some_ids(ODD, 1)[:, :-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(ids).isfinite().all()
    assert model(ids[:, :5]).shape == (ODD.batch_size, 5, VOCABULARY)
    factors = [recipe.schedule(done / 50, recipe.resolve(ODD, TINY)) for done in range(51)]
    assert all(0 <= factor <= 1 for factor in factors)


def test_entries_are_told_apart_and_described() -> None:
    assert len(set(SLUGS)) == len(SLUGS) >= 28
    assert len({edited(slug).hash for slug in SLUGS} | {BASELINE.hash}) == len(SLUGS) + 1
    baseline = load(BASELINE).knobs
    for entry in CATALOGUE:
        assert all(value != baseline[name].value for name, value in entry.edit.knobs.items()), entry.slug
        assert entry.category in CATEGORIES
        assert all((entry.title, entry.hypothesis, entry.source, entry.scale_rule)), entry.slug
    assert {entry.category for entry in CATALOGUE[:24]} == set(CATEGORIES)
    assert {"harmful", "small only", "constant"} <= {entry.expected_scaling for entry in CATALOGUE[:24]}


# Pairs of the first 30 of which only one can be had.
ALTERNATIVES = {
    ("squared-relu", "swiglu"),
    ("label-smoothing", "z-loss"),
    ("post-norm", "parallel-block"),
    ("value-embeddings", "post-norm"),
    ("value-embeddings", "parallel-block"),
}


def test_only_true_alternatives_conflict() -> None:
    conflicts = set()
    for one, other in itertools.combinations(SLUGS[:30], 2):
        try:
            merge(edited(one), BASELINE, edited(other))
        except MergeConflictError:
            conflicts.add((one, other))
    assert conflicts == ALTERNATIVES


@pytest.mark.parametrize("count", [24, len(SLUGS)])
def test_the_stack_of_many_entries_trains_and_looks_back_only(count: int) -> None:
    stack, left_out = merge_all(BASELINE, [(BASELINE, edited(slug)) for slug in SLUGS[:count]])
    assert len(left_out) <= {24: 2, len(SLUGS): 36}[count], [SLUGS[index] for index in left_out]
    recipe = load(stack)
    model, optimizers = build(recipe, TINY)
    losses = [step(recipe, model, optimizers, seed) for seed in (1, 2, 3)]
    assert all(math.isfinite(loss) for loss in losses)
    check_leak(model, some_ids(TINY, 5)[:, :-1], VOCABULARY)


def test_a_placebo_changes_the_weights_and_nothing_else() -> None:
    models = [build(load(recipe), TINY)[0] for recipe in (BASELINE, *(placebo_edit(k).apply(BASELINE) for k in (1, 2)))]
    for one, other in itertools.combinations(models, 2):
        assert [p.shape for p in one.parameters()] == [p.shape for p in other.parameters()]
        assert not torch.equal(drawn(one), drawn(other))
        assert drawn(one).std() == pytest.approx(float(drawn(other).std()), rel=0.1)
    ids = some_ids(TINY, 1)[:, :-1]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
        assert torch.equal(model(ids), models[0](ids))
    build(load(placebo_edit(7).apply(BASELINE)), TINY, "meta")
    assert placebo_proposal(7).placebo
    assert placebo_proposal(7).edit == placebo_edit(7)
    with pytest.raises(ValueError, match="numbered from 1"):
        placebo_edit(0)


def drawn(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim == 2])


def test_muon_takes_the_matrices_of_blocks_and_moves_every_direction_alike() -> None:
    recipe = load(edited("muon"))
    model, (adamw, muon) = build(recipe, TINY)
    taken = {id(p) for group in muon.param_groups for p in group["params"]}
    assert taken == {id(p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    assert not taken & {id(p) for group in adamw.param_groups for p in group["params"]}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(recipe, model, [adamw, muon], 1)
    for name in ("blocks.0.attention.value.weight", "blocks.1.mlp.up.weight", "blocks.1.mlp.down.weight"):
        move = model.get_parameter(name).detach() - before[name] * (1 - 0.02 * 0.1)
        stretch = max(1.0, move.shape[0] / move.shape[1]) ** 0.5
        values = torch.linalg.svdvals(move) / (0.02 * stretch)
        # Five steps leave singular values between 0.7 and 1.2, except those of directions without gradient.
        assert values.max() < 1.35
        assert values.median() > 0.6


def test_entries_are_proposed_in_order_and_once() -> None:
    proposer = CatalogueProposer()
    first = proposer.propose(5, [])
    assert [one.slug for one in first] == SLUGS[:5]
    assert proposer.propose(5, []) == first
    history = [Outcome(SLUGS[0], "kept"), Outcome(SLUGS[2], "crashed"), Outcome("tune-0001", "dropped")]
    assert [one.slug for one in proposer.propose(3, history)] == [SLUGS[1], SLUGS[3], SLUGS[4]]
    assert proposer.propose(10, [Outcome(slug, "dropped") for slug in SLUGS]) == []
    assert len(proposer.propose(1000, [])) == len(SLUGS)


def test_the_catalogue_can_be_narrowed() -> None:
    schedules = CatalogueProposer(categories=["schedule", "objective"]).propose(1000, [])
    assert {one.category for one in schedules} == {"schedule", "objective"}
    assert [one.slug for one in CatalogueProposer(only=["rmsnorm", "muon"]).propose(9, [])] == ["muon", "rmsnorm"]
    assert [one.slug for one in CatalogueProposer(["optimiser"], ["rmsnorm", "muon"]).propose(9, [])] == ["muon"]


def test_a_wrong_choice_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no entry 'swiglo'.*swiglu"):
        CatalogueProposer(only=["muon", "swiglo"])
    with pytest.raises(InputError, match=r"no category 'optimizer'.*optimiser"):
        CatalogueProposer(categories=["optimizer"])
    with pytest.raises(InputError, match="widen"):
        CatalogueProposer(categories=["schedule"], only=["muon"])


def copied(state: Any) -> Any:
    """A state as a checkpoint gives it back: nothing is shared with the state that was saved."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return [copied(value) for value in state] if isinstance(state, list) else state
