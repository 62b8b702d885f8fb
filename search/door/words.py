"""What has no business in a recipe, by name, and why."""

from __future__ import annotations

import re

MAX_CHARACTERS = 200_000

MODULES = frozenset({
    *("torch", "numpy", "einops", "math", "cmath", "numbers", "operator", "functools", "itertools", "collections"),
    *("copy", "contextlib", "dataclasses", "enum", "abc", "typing", "typing_extensions", "__future__"),
    *("scaling.knobs", "scaling.ladder"),
})  # fmt: skip
"""What a recipe may import, with all that is below, `PATHS` apart."""

IMPORTS = "a recipe may import torch, numpy, einops, math and what shapes code, such as dataclasses and functools"
FILES = "it reads and writes no files, since data, checkpoints and results belong to the harness"
SEEDS = "seeds belong to the harness, and torch's default generator is the one source of random numbers"
TEXT = "it executes no text"
TALK = "what a run says is measured, not printed"
MACHINE = "processes, threads and devices belong to the harness"
ESCAPE = "it leads out of what a recipe defines"
PATCH = "what others define stays as it is; define a class or a function of your own"

BUILTINS = {
    **dict.fromkeys(("exec", "eval", "compile"), TEXT),
    **dict.fromkeys(("open", "input"), FILES),
    **dict.fromkeys(("print", "breakpoint", "help"), TALK),
    **dict.fromkeys(("globals", "vars", "locals"), ESCAPE),
    **dict.fromkeys(("exit", "quit"), MACHINE),
}

_TORCH = {
    FILES: "load save hub package serialization storage from_file export onnx profiler utils.data utils.tensorboard "
    "UntypedStorage.from_file monitor utils._cpp_embed_headers",
    SEEDS: "manual_seed seed set_rng_state random default_generator Generator cuda.manual_seed cuda.manual_seed_all "
    "cuda.seed cuda.seed_all cuda.set_rng_state cuda.set_rng_state_all",
    TEXT: "jit utils.cpp_extension classes",
    MACHINE: "multiprocessing distributed set_num_threads set_num_interop_threads use_deterministic_algorithms "
    "set_deterministic_debug_mode utils.deterministic utils.collect_env",
    PATCH: "ops library overrides utils._python_dispatch _C nn.modules.module",
}
_NUMPY = {
    FILES: "load save savez savez_compressed savetxt loadtxt genfromtxt fromfile fromregex memmap DataSource "
    "lib.npyio lib.format lib._npyio_impl lib._datasource",
    SEEDS: "random",
    TEXT: "ctypeslib f2py distutils testing",
    ESCAPE: "lib.stride_tricks.as_strided lib._stride_tricks_impl",  # reads and writes memory beyond an array's own
}
_OTHERS = {
    ESCAPE: "operator.attrgetter operator.methodcaller typing.get_type_hints typing.ForwardRef "
    "typing_extensions.get_type_hints typing_extensions.ForwardRef",
}


def _paths(root: str, table: dict[str, str]) -> dict[str, str]:
    return {f"{root}{name}": why for why, names in table.items() for name in names.split()}


PATHS = {**_paths("torch.", _TORCH), **_paths("numpy.", _NUMPY), **_paths("", _OTHERS)}
"""Parts of the modules above, with all that is below them."""

REACHED = frozenset({
    *("os", "sys", "subprocess", "importlib", "builtins", "socket", "ctypes", "inspect", "io", "shutil", "threading"),
    *("pickle", "multiprocessing", "tempfile", "pathlib", "time", "gc", "marshal", "runpy", "asyncio", "linecache"),
    *("concurrent", "urllib", "http", "platform", "warnings", "atexit", "mmap", "fcntl", "resource", "sysconfig"),
})  # fmt: skip
"""Modules of Python that other modules happen to hold: `dataclasses.sys` is `sys`."""

SETTINGS = ("torch.backends.", "torch._dynamo.config.", "torch._inductor.config.")
"""What a recipe may set though it did not define it: how fast torch computes."""

ATTRIBUTES = {
    **dict.fromkeys(("manual_seed", "manual_seed_all", "set_rng_state", "set_rng_state_all"), SEEDS),
    **dict.fromkeys(("tofile", "fromfile", "from_file", "share_memory_"), FILES),
    **dict.fromkeys(("tb_frame", "f_back", "f_builtins", "f_globals", "f_locals", "f_code"), ESCAPE),
    **dict.fromkeys(("gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "co_code"), ESCAPE),
}
"""Attributes of anything."""

_UNDERSCORED = re.compile(r"__\w+__")
_ESCAPES = re.compile(r"__(globals|subclasses|builtins|code|import|loader|spec|bases|mro|closure|reduce\w*)__")
_ORDINARY_WORDS = """
init new call name qualname doc class dict version annotations all len iter next contains getitem setitem delitem enter
exit repr str format bool int float index hash eq ne lt le gt ge neg pos abs invert add sub mul truediv floordiv mod pow
matmul and or xor radd rsub rmul rtruediv rfloordiv rpow rmatmul iadd isub imul itruediv getattr getattribute setattr
delattr get set delete set_name init_subclass class_getitem post_init slots match_args dataclass_fields torch_function
future wrapped debug module
"""
_ORDINARY = frozenset(f"__{name}__" for name in _ORDINARY_WORDS.split())


def escapes(name: str) -> bool:
    """Whether a name with two underscores on either side is none that ordinary code uses."""
    return bool(_UNDERSCORED.fullmatch(name)) and name not in _ORDINARY


def escape_in(text: str) -> str | None:
    """The first name in a string that leads out of what a recipe defines; str.format and getattr would follow it."""
    found = _ESCAPES.search(text)
    return found[0] if found else None


def path_within(path: str, names: frozenset[str] | dict[str, str]) -> str | None:
    """The one of `names` that `path` is or lies below."""
    parts = path.split(".")
    return next((name for end in range(1, len(parts) + 1) if (name := ".".join(parts[:end])) in names), None)
