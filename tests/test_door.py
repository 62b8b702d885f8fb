"""The door names what has no business in a recipe, and lets research pass."""

import re
from pathlib import Path

import pytest
from small_study import OWN_RECIPE
from tiny import BASELINE

from scaling.edits import Recipe
from search.catalogue import CATALOGUE
from search.door import refuse

NOTHING = Recipe("")


def said(source: str, baseline: Recipe = NOTHING) -> str:
    """What the door says of a source, or nothing."""
    return refuse(Recipe(source), baseline) or ""


@pytest.mark.parametrize("slug", [one.slug for one in CATALOGUE])
def test_an_entry_of_the_catalogue_passes(slug: str) -> None:
    entry = next(one for one in CATALOGUE if one.slug == slug)
    assert refuse(entry.edit.apply(BASELINE), NOTHING) is None


RESEARCH = [
    OWN_RECIPE,
    # Speed is a recipe's to set, and a name of a builtin may be a parameter's.
    "import torch\ntorch.backends.cuda.matmul.allow_tf32 = True\ntorch.set_float32_matmul_precision('high')",
    "import torch.nn.functional as F\ndef forward(self, input):\n    return F.relu(input)",
    "def read(open, compile=None):\n    return [open(one) for one in compile(open)]",
    "import torch\nmodel = torch.compile(torch.nn.Linear(2, 2))\nmodel.weight.requires_grad = False",
    "from torch import nn\nclass Tied(nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)\n"
    "        self.__dict__['kind'] = self.__class__.__name__",
    "import copy, math, dataclasses\nfrom collections import defaultdict\nfrom scaling import knobs\n"
    "average = copy.deepcopy(model)\naverage.blocks[0].weight.data = math.pi",
    "import torch._inductor.config\ntorch._inductor.config.max_autotune = True",
    # So may it be a loop's in a comprehension, a pattern's, or an attribute's.
    "def loss(model, inputs):\n    return sum(model(input) for input in inputs), {vars: 1 for vars in inputs}",
    "f = [[input + help for input in help] for help in x if help]",
    "def f(x):\n    match x:\n        case {'a': input, **vars}:\n            return input, vars\n"
    "        case [open, *print]:\n            return open, print",
    "class A:\n    help = 'of this'\n    texts = [help, *help]\n    @property\n    def input(self):\n"
    "        return self.help\n    @input.setter\n    def input(self, to):\n        self.help = to",
    "from torch import nn\nname = nn.Linear.__module__\nclass Mine(nn.Linear):\n    pass\nMine.__module__ = 'mine'",
    "from torch.nn import functional\ndef fill(functional):\n    functional.value = 1",
    "from torch.nn import functional\nname = 'relu'\nf = getattr(functional, 'relu')\ng = getattr(model, name)\n"
    "layers = [getattr(model, f'layer{i}') for i in 'ab'] + [getattr(model, 'mean_' + name)]",
    "import numpy as np\nfrom numpy.lib import stride_tricks\nx = np.linspace(0, 1, 5)",
    "import torch\nfrom torch.utils.checkpoint import checkpoint\nfrom torch.nn.attention.flex_attention import "
    "flex_attention\ny = torch.special.erf(torch.trace(torch.ones(2, 2)))",
    "def gradient(f):\n    '''See __init__ and __call__; the \\sum is over tokens.'''\n    global total\n    total = 1",
]


@pytest.mark.parametrize("source", RESEARCH)
def test_ordinary_research_passes(source: str) -> None:
    assert said(source) == ""


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("import os", "imports os"),
        ("import torch, os.path as p", "imports os"),
        ("def f():\n    from subprocess import run", "imports subprocess"),
        ("import scaling.evaluation", "imports scaling"),
        ("from . import evaluation", r"imports \."),
        ("from torch.nn import *", r"imports all of torch\.nn"),
        ("import dataclasses\ndataclasses.sys.modules", "imports sys"),
        ("from contextlib import os", "imports os"),
        ("import torch.utils.cpp_extension", r"uses torch\.utils\.cpp_extension"),
        ("from torch import distributed as d", r"uses torch\.distributed"),
        ("exec('1')", "uses exec"),
        ("def f(a=eval, eval=None): pass", "uses eval"),
        ("if False:\n    open = None\nopen('x')", "uses open"),
        ("f = [print]", "uses print"),
        ("def f():\n    global vars\n    vars = vars()", "uses vars"),
        # A name that is bound in one place is still the builtin in another.
        ("[open for open in open('x')]", "uses open"),
        ("[input for input in x] and input()", "uses input"),
        ("def f():\n    return [open for open in x], open('x')", "uses open"),
        ("[lambda: 1 for x[[open for open in y][0]] in (1, open('x'))]", "uses open"),
        ("[open('x') for z[[1 for open in y][0]] in x]", "uses open"),
        ("def f(x):\n    match x:\n        case open: pass\n\nopen('x')", "uses open"),
        ("def f():\n    open = 1\n    def g():\n        global open\n        open('x')", "uses open"),
        ("def f():\n    open = 1\n    def g():\n        global open\n        return lambda: open('x')", "uses open"),
        ("class A:\n    open = 1\n    def f(self):\n        return open('x')", "uses open"),
        ("class A:\n    open = 1\n    f = [open(one) for one in 'x']", "uses open"),
        ("class A:\n    open = 1\n    class B:\n        f = open('x')", "uses open"),
        ("class A:\n    open = open('x')", "uses open"),
        ("class A:\n    if x: open = 1\n    open('x')", "uses open"),
        ("class A:\n    x[[1 for open in y][0]] = 1\n    open('x')", "uses open"),
        ("class A:\n    open: int\n    open('x')", "uses open"),
        ("class A:\n    global open\n    open = 1\n    f = open('x')", "uses open"),
        ("class A: pass\nclass B(type):\n    def __prepare__(*a): return Forgetful()", "defines __prepare__"),
        ("__builtins__['open']", "uses __builtins__"),
        ("f'{().__class__.__subclasses__()}'", "uses __subclasses__"),
        ("'{0.__globals__}'.format(f)", "names __globals__"),
        ("getattr(f, '__globals__')", "names __globals__|uses __globals__"),
        ("f.gi_frame.f_back", "uses f_back|uses gi_frame"),
        ("from torch.nn import functional as F\nF.cross_entropy = None", r"changes torch\.nn\.functional\.cross_ent"),
        ("import torch\nL = torch.nn.Linear\nL.forward = None", r"changes torch\.nn\.Linear\.forward"),
        ("import torch\nfor torch.nn.Linear in []: pass", r"changes torch\.nn\.Linear"),
        ("import torch\ndel torch.nn", r"changes torch\.nn"),
        ("import torch\nsetattr(torch.nn, 'Linear', 1)", r"changes torch\.nn\.Linear"),
        ("import torch\nobject.__setattr__(torch, name, 1)", r"changes torch\.\.\.\."),
        ("import torch\ntorch.__dict__['load'] = 1", "changes torch.__dict__"),
        ("from scaling.knobs import Knob\nKnob.at = None", r"changes scaling\.knobs\.Knob\.at"),
        ("import torch\ndef f():\n    t = torch\n    t.load('x')", r"uses torch\.load"),
        ("def f():\n    global t\n    import torch as t\n    t.load('x')", r"uses torch\.load"),
        (
            "import torch\ndef f():\n    torch = x\n    def g():\n        global torch\n        torch.load('x')",
            r"uses torch\.",
        ),
        ("import torch\nclass A:\n    import torch as t\n    t.load('x')", r"uses torch\.load"),
        ("import torch\ndef f(torch):\n    class A:\n        torch = torch.load('x')", r"uses torch\.load"),
        ("import torch\ngetattr(torch, 'lo' + kind)", "looks up a computed name in torch"),
        ("import torch\ngetattr(torch, 'lo' + 'ad')", r"uses torch\.load"),
        ("getattr(torch.zeros(1).untyped_storage(), 'from' + '_' + 'file')('x')", "uses from_file"),
        ("import torch.utils._cpp_embed_headers as e", r"uses torch\.utils\._cpp_embed_headers"),
        ("from numpy.lib import _datasource", r"uses numpy\.lib\._datasource"),
        ("import numpy as np\nnp.lib.stride_tricks.as_strided(x, (9,))", r"uses numpy\.lib\.stride_tricks\.as_str"),
        ("from torch.utils import _traceback\n_traceback.linecache.getlines('x')", "imports linecache"),
        ("import torch\ngetattr(torch, 'load')", r"uses torch\.load"),
        ("import torch\ntorch.manual_seed(1)", r"uses torch\.manual_seed"),
        ("g.manual_seed(1)", "uses manual_seed"),
        ("import numpy as np\nnp.random.normal()", r"uses numpy\.random"),
        ("import torch\ntorch.set_num_threads(8)", r"uses torch\.set_num_threads"),
        ("import torch\ntorch.ops.aten.relu", r"uses torch\.ops"),
        ("import typing\ntyping.get_type_hints(f)", r"uses typing\.get_type_hints"),
    ],
)
def test_what_has_no_business_in_a_recipe_is_named(source: str, named: str) -> None:
    last = source.count("\n") + 1
    assert re.match(rf"Line {last} ({named}).*, which has no business in a recipe: \w.*\.$", said(source))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("class A:\n    open('x')\n    open = 1", 2),
        ("class A:\n    open = 1\n    del open\n    open('x')", 4),
        ("class A:\n    open = 1\n    try: pass\n    except OSError as open: pass\n    open('x')", 5),
        ("def f():\n    open = 1\n    class A:\n        f = open('x')\n        open = 2", 4),
    ],
)
def test_a_class_excuses_a_builtin_only_where_it_has_surely_bound_the_name(source: str, line: int) -> None:
    assert said(source).startswith(f"Line {line} uses open,")


def test_the_first_line_of_several_is_named() -> None:
    assert said("x = 1\nprint(x)\nimport os\nexec(x)").startswith("Line 2 uses print")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\ny = = 2", "Line 2 is not valid Python: invalid syntax."),
        ("def f():\nreturn 1", "Line 2 is not valid Python: expected an indented block"),
        ("x = '\x1b\0'", "not valid Python"),
        ("x.\u202ey = 1", "not valid Python"),
        ("'\udc80'", "not valid Python"),
        ("(" * 500, "nest"),
        ("-" * 100_000 + "1", "nests too deeply"),
        ("1" + "+1" * 90_000, "nests too deeply"),
        ("x = 1\n" * 40_000, "240000 characters long"),
        ("import " + "a" * 10_000, "imports a{80},"),
    ],
)
def test_a_source_made_to_break_its_reader_gets_a_short_sentence(source: str, words: str) -> None:
    refused = said(source)
    assert re.search(words, refused)
    assert len(refused) < 400
    assert refused.isprintable()


def test_what_the_baseline_does_is_allowed_and_no_more() -> None:
    own = Recipe("import os\nimport scipy.special\nimport torch\nprint(os.environ)\ntorch.manual_seed(1)\n")
    assert refuse(own, own) is None
    assert said(own.source + "from scipy import stats\nprint(2)", own) == ""
    assert said(own.source + "import sys", own).startswith("Line 6 imports sys")
    assert "uses open" in said(own.source + "open('x')", own)
    assert "torch.load" in said(own.source + "torch.load('x')", own)
    assert refuse(Recipe("import os"), Recipe("not a recipe")) is not None


def test_nothing_is_executed(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    said(f"(lambda: __import__('pathlib').Path({str(marker)!r}).touch())()")
    assert not marker.exists()
