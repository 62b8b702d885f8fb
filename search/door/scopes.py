"""Which imported thing a name of a source stands for, at each of its places."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_OWN_SCOPE = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)


@dataclass(frozen=True, slots=True)
class Scopes:
    """The names that are bound around a place: each with the dotted path it was imported by, or None."""

    module: Mapping[str, str | None] = field(default_factory=dict)
    functions: tuple[Mapping[str, str | None], ...] = ()

    def path(self, node: ast.AST) -> str | None:
        """The path that an expression was imported by, such as torch.nn.functional.pad; None for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = next((names[node.id] for names in self._all if node.id in names), None)
        return root and ".".join([root, *reversed(parts)])

    def is_builtin(self, name: str) -> bool:
        """Whether no function around gives the name a meaning; what the module gives it may not have happened yet."""
        return not any(name in names for names in self.functions)

    def inside(self, function: Function) -> Scopes:
        """The names in the body of a function."""
        return Scopes(self.module, (_bound(function, self), *self.functions))

    @property
    def _all(self) -> tuple[Mapping[str, str | None], ...]:
        return (*self.functions, self.module)


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Scopes]]:
    """Every node with the names around it. Without recursion, since the depth of a source is its author's choice."""
    waiting: list[tuple[ast.AST, Scopes]] = [(tree, Scopes(_bound(tree, Scopes())))]
    while waiting:
        node, scopes = waiting.pop()
        yield node, scopes
        body = set(map(id, _body(node))) if isinstance(node, Function) else set()
        inner = scopes.inside(node) if isinstance(node, Function) else scopes
        waiting.extend((child, inner if id(child) in body else scopes) for child in ast.iter_child_nodes(node))


def _body(owner: ast.Module | Function) -> list[ast.AST]:
    """What runs inside; a function's defaults, decorators and annotations run outside."""
    return [*owner.body] if isinstance(owner.body, list) else [owner.body]


def _bound(owner: ast.Module | Function, around: Scopes) -> dict[str, str | None]:
    names: dict[str, str | None] = {}
    nodes = list(_own_nodes(owner))
    if isinstance(owner, Function):
        given = owner.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        names |= {one.arg: None for one in every if one is not None}
    for node in nodes:
        names |= dict.fromkeys(_given(node))
    for node in nodes:
        names |= _imported(node)
    for node in nodes:
        # Another name for what was imported, such as F = torch.nn.functional.
        if isinstance(node, ast.Assign) and (
            path := Scopes(around.module, (names, *around.functions)).path(node.value)
        ):
            names |= {target.id: path for target in node.targets if isinstance(target, ast.Name)}
    elsewhere = {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    return {name: path for name, path in names.items() if name not in elsewhere}


def _own_nodes(owner: ast.Module | Function) -> Iterator[ast.AST]:
    """The nodes that run in the scope of `owner` itself, in their order."""
    waiting = _body(owner)[::-1]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _OWN_SCOPE):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def _given(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return [node.name] if isinstance(node, ast.ExceptHandler) and node.name else []


def _imported(node: ast.AST) -> dict[str, str | None]:
    if isinstance(node, ast.Import):
        return {one.asname or one.name.split(".")[0]: one.name if one.asname else one.name.split(".")[0]
                for one in node.names}  # fmt: skip
    if isinstance(node, ast.ImportFrom):
        return {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return {}
