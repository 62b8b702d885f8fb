"""Which imported thing a name of a source stands for, at each of its places, and which names are builtins there."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_OWN_SCOPE = (Function, ast.ClassDef, Comprehension)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a function, a comprehension or a class binds: names, each with the path it was imported by, or None.

    declared: the names that a `global` statement leaves to the module.
    """

    bound: Mapping[str, str | None]
    declared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Body:
    """One statement of a class, whose names hold in its own statements alone, and only from where they are bound on.

    since: the number of the statement that binds a name for certain.
    """

    scope: Scope
    since: Mapping[str, int]
    number: int


@dataclass(frozen=True, slots=True)
class Scopes:
    """The names that are bound around a place."""

    module: Mapping[str, str | None] = field(default_factory=dict)
    functions: tuple[Scope, ...] = ()
    body: Body | None = None

    def path(self, node: ast.AST) -> str | None:
        """The path that an expression was imported by, such as torch.nn.functional.pad; None for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self._root(node.id)
        return root and ".".join([root, *reversed(parts)])

    def _root(self, name: str) -> str | None:
        if self.body and name in self.body.scope.bound:
            # Until the class binds it the name is the module's, even where a function around has another.
            return self.module.get(name) or self.body.scope.bound[name]
        for scope in self.functions:
            if name in scope.declared:
                return scope.bound.get(name) or self.module.get(name)
            if name in scope.bound:
                return scope.bound[name]
        return self.module.get(name)

    def is_builtin(self, name: str) -> bool:
        """Whether nothing around surely gives the name a meaning; what the module gives it may not have happened yet.

        A function's own name is never the builtin; a class's is, until the class has bound it.
        """
        if self.body and name in self.body.scope.bound:
            return self.body.since.get(name, self.body.number) >= self.body.number
        holder = next((one for one in self.functions if name in one.bound or name in one.declared), None)
        return holder is None or name in holder.declared

    def inside(self, scope: Scope) -> Scopes:
        """The names in the body of a function or a comprehension, which does not see those of a class around it."""
        return Scopes(self.module, (scope, *self.functions))


def walk(tree: ast.Module) -> Iterator[tuple[ast.AST, Scopes]]:
    """Every node with the names around it. Without recursion, since the depth of a source is its author's choice."""
    waiting: list[tuple[ast.AST, Scopes]] = [(tree, Scopes(_bound(tree, Scopes()).bound))]
    while waiting:
        node, scopes = waiting.pop()
        yield node, scopes
        if isinstance(node, Comprehension):
            waiting.extend(_parts(node, scopes))
        else:
            within = _within(node, scopes)
            waiting.extend((child, within.get(id(child), scopes)) for child in ast.iter_child_nodes(node))


def _within(node: ast.AST, scopes: Scopes) -> dict[int, Scopes]:
    """The names in what runs inside of a function or class; defaults, decorators, annotations and bases run outside."""
    if isinstance(node, Function):
        return dict.fromkeys(map(id, _body(node)), scopes.inside(_bound(node, scopes)))
    if isinstance(node, ast.ClassDef):
        scope, since = _bound(node, scopes), _since(node)
        bodies = (Body(scope, since, number) for number in range(len(node.body)))
        return {
            id(one): Scopes(scopes.module, scopes.functions, body) for one, body in zip(node.body, bodies, strict=True)
        }
    return {}


def _parts(node: Comprehension, scopes: Scopes) -> Iterator[tuple[ast.AST, Scopes]]:
    """The parts of a comprehension: what it goes through first is looked up outside of it, the rest inside."""
    first, *more = node.generators
    inner = scopes.inside(Scope(dict.fromkeys(_stored(one.target for one in node.generators))))
    values = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
    yield first.iter, scopes
    yield from ((part, inner) for part in (first.target, *first.ifs, *more, *values))


def _body(owner: ast.Module | ast.ClassDef | Function) -> list[ast.AST]:
    return [*owner.body] if isinstance(owner.body, list) else [owner.body]


def _bound(owner: ast.Module | ast.ClassDef | Function, around: Scopes) -> Scope:
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
        if isinstance(node, ast.Assign) and (path := around.inside(Scope(names)).path(node.value)):
            names |= {target.id: path for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(owner, ast.Module):
        return Scope(names)
    declared = _listed(nodes, ast.Global)
    elsewhere = _listed(nodes, ast.Nonlocal)
    if isinstance(owner, ast.ClassDef):
        names |= dict.fromkeys(declared - names.keys())
    return Scope({name: path for name, path in names.items() if name not in elsewhere}, declared)


def _listed(nodes: Iterable[ast.AST], kind: type[ast.Global | ast.Nonlocal]) -> frozenset[str]:
    return frozenset(name for node in nodes if isinstance(node, kind) for name in node.names)


def _since(owner: ast.ClassDef) -> dict[str, int]:
    """The first statement of a class that binds a name whatever happens; none for a name that may go again."""
    since: dict[str, int] = {}
    for number, one in enumerate(owner.body):
        names = [*_imported(one)]
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(one.name)
        elif isinstance(one, ast.Assign):
            names += _stored(one.targets)
        elif isinstance(one, ast.AnnAssign) and one.value is not None:
            names += _stored([one.target])
        for name in names:
            since.setdefault(name, number)
    gone: set[str | None] = set()
    for node in _own_nodes(owner):
        if isinstance(node, ast.Global | ast.Nonlocal):
            gone |= set(node.names)
        elif isinstance(node, ast.ExceptHandler):
            gone.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            gone.add(node.id)
    return {name: number for name, number in since.items() if name not in gone}


def _stored(targets: Iterable[ast.expr]) -> list[str]:
    """The names that an assignment binds, and not those that an index in it binds for itself."""
    waiting, names = list(targets), []
    while waiting:
        match waiting.pop():
            case ast.Name(id=name):
                names.append(name)
            case ast.Tuple(elts=several) | ast.List(elts=several):
                waiting += several
            case ast.Starred(value=one):
                waiting.append(one)
    return names


def _own_nodes(owner: ast.Module | ast.ClassDef | Function) -> Iterator[ast.AST]:
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
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return [node.name] if node.name else []
    return [node.rest] if isinstance(node, ast.MatchMapping) and node.rest else []


def _imported(node: ast.AST) -> dict[str, str | None]:
    if isinstance(node, ast.Import):
        return {one.asname or one.name.split(".")[0]: one.name if one.asname else one.name.split(".")[0]
                for one in node.names}  # fmt: skip
    if isinstance(node, ast.ImportFrom):
        return {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return {}
