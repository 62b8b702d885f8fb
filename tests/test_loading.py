"""A recipe that breaks its contract is told so in one sentence."""

import pytest
import torch
from tiny import BASELINE, patched, rung

from scaling.edits import Edit, Recipe
from scaling.evaluation import mean_loss
from scaling.knobs import Knob
from scaling.loading import LoadedRecipe, RecipeError, cross_entropy, load
from scaling.shape import measure

RUNG = rung()
CONTRACT = """
import torch
from scaling.knobs import Knob
KNOBS = {"rate": Knob(0.1)}
def build_model(rung, knobs, vocab_size):
    return torch.nn.Sequential(torch.nn.Embedding(vocab_size, rung.width), torch.nn.Linear(rung.width, vocab_size))
def build_optimizer(model, rung, knobs):
    return torch.optim.SGD(model.parameters(), lr=knobs["rate"])
def schedule(progress, knobs):
    return 1.0
"""


def ready(text: str) -> LoadedRecipe:
    return load(Recipe(text))


def test_a_recipe_of_any_make_is_loaded() -> None:
    recipe = ready(CONTRACT)
    assert recipe.knobs == {"rate": Knob(0.1)}
    model = recipe.build_model(RUNG, {"rate": 0.1}, 7)
    assert len(recipe.build_optimizers(model, RUNG, {"rate": 0.1})) == 1
    ids = torch.arange(6).view(2, 3)
    assert torch.equal(recipe.training_loss(model, ids, ids), cross_entropy(model(ids), ids))
    own = ready(CONTRACT + "\ndef training_loss(model, inputs, targets):\n    return model(inputs).sum()\n")
    assert torch.equal(own.training_loss(model, ids, ids), model(ids).sum())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def build_model(:\n", r"does not import: SyntaxError: invalid syntax \(recipe.py, line 1\)"),
        ("import no_such_library\n", r"does not import: ModuleNotFoundError: .*no_such_library.*line 1 of the recipe"),
        ("x = 1\n\nraise OSError('a disk')\n", r"does not import: OSError: a disk \(line 3 of the recipe\)"),
        ("raise ValueError\n", r"does not import: ValueError: no message"),
        ("import sys\nsys.exit(0)\n", r"does not import: SystemExit: 0 \(line 2 of the recipe\)"),
        (CONTRACT.replace("build_model", "make_model"), "has no function build_model; every recipe must define it"),
        (
            CONTRACT.replace("def build_optimizer", "def b"),
            "has no function build_optimizer; every recipe must define it",
        ),
        (CONTRACT + "\nschedule = 1.0\n", "has no function schedule; every recipe must define it"),
        (CONTRACT.replace("KNOBS", "NUMBERS"), "has no table KNOBS of Knob values"),
        (CONTRACT.replace("Knob(0.1)", "0.1"), "has no table KNOBS of Knob values"),
        (CONTRACT.replace("Knob(0.1)", "Knob(0.1, 'width')"), "does not import: InputError: The scale rule 'width'"),
    ],
)
def test_a_recipe_that_cannot_be_loaded(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=f"^The recipe {said}"):
        ready(text)


def test_an_edit_of_a_knob_that_is_not_there_names_those_that_are() -> None:
    edited = Edit(knobs={"learning_rat": 0.1}).apply(BASELINE)
    with pytest.raises(RecipeError, match=r"^The recipe has no knob 'learning_rat'; its knobs are learning_rate, "):
        load(edited)
    with pytest.raises(RecipeError, match=r"^The recipe has no knob 'x'; its knobs are rate\.$"):
        load(Recipe(CONTRACT, {"x": 1.0, "rate": 2.0}).text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "return torch.nn.Sequential(",
            "return list if rung else (",
            "'s build_model must return a torch module, not type",
        ),
        (
            "return torch.nn.Sequential(",
            "return knobs['x'](",
            r"'s build_model fails at rung a: KeyError: 'x' \(line 6 of",
        ),
        ("Linear(rung.width, vocab_size)", "Linear(3, 7)", " does not run on the meta device at rung a: RuntimeError"),
        (
            "Linear(rung.width, vocab_size)",
            "Linear(rung.width, vocab_size + 1)",
            r"'s model returns logits of shape \(1, 16, 8\); \(batch, time, vocabulary\) = \(1, 16, 7\) is wanted",
        ),
        (
            "torch.nn.Linear(rung.width, vocab_size)",
            "torch.nn.LSTM(rung.width, 7)",
            "'s model must return logits, a tensor, not tuple",
        ),
    ],
)
def test_a_model_that_cannot_be_used(old: str, new: str, said: str) -> None:
    assert CONTRACT.count(old) == 1
    with pytest.raises(RecipeError, match=f"^The recipe{said}"):
        measure(ready(CONTRACT.replace(old, new)), RUNG, RUNG, 7)


@pytest.mark.parametrize("returned", ["[]", "None", "[torch.optim.SGD(model.parameters(), lr=1.0), 'Adam']"])
def test_optimisers_that_are_none(returned: str) -> None:
    recipe = ready(CONTRACT.replace('torch.optim.SGD(model.parameters(), lr=knobs["rate"])', returned))
    with pytest.raises(RecipeError, match="build_optimizer must return a torch optimizer, or a list of them"):
        recipe.build_optimizers(torch.nn.Linear(1, 1), RUNG, {"rate": 0.1})


def test_two_recipes_do_not_share_their_names() -> None:
    one, other = load(BASELINE), load(patched("h = functional.gelu(h)", "h = functional.relu(h)"))
    assert one.module is not other.module
    torch.manual_seed(0)
    first = one.build_model(RUNG, one.resolve(RUNG, RUNG), 7)
    torch.manual_seed(0)
    second = other.build_model(RUNG, other.resolve(RUNG, RUNG), 7)
    ids = torch.arange(7)[None]
    assert not torch.equal(first(ids), second(ids))


def test_the_evaluation_is_the_harness_s_own_and_leaves_the_model_as_it_was() -> None:
    """A recipe's own loss, and its dropout, have no say in it; nor has the size of the batches."""
    text = BASELINE.source + "\n\ndef training_loss(model, inputs, targets):\n    return 0 * model(inputs).sum()\n"
    recipe = load(
        patched(
            "out: Tensor = self.down(h)", "out = functional.dropout(self.down(h), 0.5, self.training)", Recipe(text)
        )
    )
    model = recipe.build_model(RUNG, recipe.resolve(RUNG, RUNG), 11).train()
    sequences = torch.randint(11, (6, RUNG.context + 1), generator=torch.Generator().manual_seed(1))
    loss = mean_loss(model, sequences, 4, 11)
    assert model.training
    assert loss == pytest.approx(mean_loss(model, sequences, 1, 11), rel=1e-6)
    model.eval()
    assert loss == pytest.approx(float(cross_entropy(model(sequences[:, :-1]), sequences[:, 1:]).detach()), rel=1e-6)
