"""The check of an edited recipe's source."""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from scaling.edits import Recipe
from search.door import words
from search.door.scopes import Scopes, walk

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class _Offence:
    line: int
    what: str
    why: str


def refuse(recipe: Recipe, baseline: Recipe) -> str | None:
    """One sentence that names the first line of an edited recipe with what has no business in one, or None.

    What the baseline does already is allowed: a user's own may import more. Nothing is executed. This gives clear names
    to what is plainly wrong and costs no run; it contains nothing, since Python can say all of it in other words. What
    contains a recipe is the sandbox that it runs in.
    """
    # Knob values are numbers, which the search itself writes down.
    return None if recipe.source == baseline.source else _refuse(recipe, baseline)


def _refuse(recipe: Recipe, baseline: Recipe) -> str | None:
    if len(recipe.text) > words.MAX_CHARACTERS:
        return f"The recipe is {len(recipe.text)} characters long; {words.MAX_CHARACTERS} are more than any needs."
    try:
        tree = _parse(recipe.text)
    except SyntaxError as error:
        return f"Line {error.lineno or 1} is not valid Python: {_shown(error.msg)}."
    except ValueError as error:
        return f"The recipe is not valid Python: {_shown(str(error))}."
    except (MemoryError, RecursionError):
        return "The recipe nests too deeply to be read."
    done = _done_by(baseline.text)
    first = min((one for one in _offences(tree) if one.what not in done), key=lambda one: one.line, default=None)
    if first is None:
        return None
    return f"Line {first.line} {first.what}, which has no business in a recipe: {first.why}."


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of an invalid escape in a string
        return ast.parse(text)


@functools.lru_cache(maxsize=4)
def _done_by(text: str) -> set[str]:
    try:
        return {one.what for one in _offences(_parse(text))}
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return set()


def _offences(tree: ast.Module) -> Iterator[_Offence]:
    for node, scopes in walk(tree):
        for what, why in _found(node, scopes):
            yield _Offence(getattr(node, "lineno", 1), what, why)


def _found(node: ast.AST, scopes: Scopes) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Import() | ast.ImportFrom():
            yield from _imports(node)
        case ast.Name():
            yield from _name(node, scopes)
        case ast.Attribute():
            yield from _attribute(node.attr, scopes.path(node))
        case ast.Constant(value=str(text)) if escape := words.escape_in(text):
            yield f"names {escape}", words.ESCAPE
        case ast.Call():
            yield from _call(node, scopes)
        case ast.FunctionDef(name="__prepare__"):
            yield "defines __prepare__", words.ESCAPE  # a class that may forget what it binds
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        yield from _change(scopes.path(node if isinstance(node, ast.Attribute) else node.value))


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    for one in node.names:
        path = f"{'.' * node.level}{node.module or ''}.{one.name}" if isinstance(node, ast.ImportFrom) else one.name
        if not words.path_within(path, words.MODULES):
            root = path if path.startswith(".") else path.split(".")[0]
            yield f"imports {_shown(root)}", words.IMPORTS
        elif one.name == "*":
            yield f"imports all of {_shown(path[:-2])}", "name what is imported"
        else:
            yield from _path(path)


def _name(node: ast.Name, scopes: Scopes) -> Iterator[tuple[str, str]]:
    if words.escapes(node.id):
        yield f"uses {_shown(node.id)}", words.ESCAPE
    elif node.id in words.BUILTINS and isinstance(node.ctx, ast.Load) and scopes.is_builtin(node.id):
        yield f"uses {node.id}", words.BUILTINS[node.id]


def _attribute(name: str, path: str | None) -> Iterator[tuple[str, str]]:
    if words.escapes(name) or (path and name == "__dict__"):
        yield f"uses {_shown(name)}", words.ESCAPE
    elif path and (denied := words.path_within(path, words.PATHS)):
        yield f"uses {denied}", words.PATHS[denied]
    elif path and (reached := {part.lstrip("_") for part in path.split(".")[1:]} & words.REACHED):
        yield f"imports {min(reached)}", words.IMPORTS
    elif name in words.ATTRIBUTES:
        yield f"uses {name}", words.ATTRIBUTES[name]


def _path(path: str) -> Iterator[tuple[str, str]]:
    yield from _attribute(path.rpartition(".")[2], path)


def _call(node: ast.Call, scopes: Scopes) -> Iterator[tuple[str, str]]:
    """What getattr and its like do to something imported, or to anything by a name that is written out."""
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    if called.strip("_") not in {"getattr", "setattr", "delattr", "getattribute"} or len(node.args) < 2:
        return
    path, written = scopes.path(node.args[0]), _written(node.args[1])
    if path and called.strip("_") in {"setattr", "delattr"}:
        yield from _change(f"{path}.{written or '...'}")
    elif path and written is None:
        yield f"looks up a computed name in {_shown(path)}", words.ESCAPE
    if written:
        yield from _attribute(written, path and f"{path}.{written}")


def _written(name: ast.expr) -> str | None:
    """A name that is written out, be it in pieces; None for one that is computed."""
    pieces = []
    while isinstance(name, ast.BinOp) and isinstance(name.op, ast.Add):
        pieces.append(name.right)
        name = name.left
    pieces.append(name)
    texts = [one.value for one in reversed(pieces) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return "".join(texts) if len(texts) == len(pieces) else None


def _change(path: str | None) -> Iterator[tuple[str, str]]:
    if path and not path.startswith(words.SETTINGS):
        yield f"changes {_shown(path)}", words.PATCH


def _shown(text: str) -> str:
    """A name of the recipe's author, who may be hostile: on one line, and short."""
    return ascii(text)[1:-1][:_SHOWN]
