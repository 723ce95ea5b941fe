"""The faults that can be put into one module, found in its syntax tree and applied to its text."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">"), ast.LtE: ("<", ">="), ast.Gt: (">=", "<"), ast.GtE: (">", "<="),
    ast.Eq: ("!=",), ast.NotEq: ("==",), ast.In: ("not in",), ast.NotIn: ("in",),
    ast.Is: ("is not",), ast.IsNot: ("is",),
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], tuple[str, ...]] = {
    ast.Add: ("-",), ast.Sub: ("+",), ast.Mult: ("/",), ast.Div: ("*",), ast.BitAnd: ("|",), ast.BitOr: ("&",),
    ast.FloorDiv: ("*",), ast.Pow: ("*",),
}  # fmt: skip
_SWAPPED_NAMES = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "argmin": "argmax", "argmax": "argmin",
    "any": "all", "all": "any", "floor": "ceil", "ceil": "floor", "zeros": "ones", "ones": "zeros",
}  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """One fault: in the module at ``path`` the text from ``start`` to ``end`` (bytes) becomes ``after``.

    ``where`` is the function it lies in, ``statement`` the first line of its statement, ``nth`` tells equal faults of
    equal statements apart: with these an edit elsewhere in the module leaves the ``id`` alone.
    """

    path: str
    operator: str
    where: str
    statement: str
    start: int
    end: int
    before: str
    after: str
    line: int
    nth: int = 0

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that name this fault."""
        parts = (self.path, self.operator, self.where, self.statement, self.before, self.after, str(self.nth))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]

    def applied(self, source: str) -> str:
        """Return the module's text with the fault in it.

        Raises
        ------
        ValueError
            where the text does not have at this place what is to be replaced
        """
        raw = source.encode()
        if raw[self.start : self.end].decode() != self.before:
            raise ValueError(f"{self.path}:{self.line} does not say {self.before!r}; make the mutations anew")
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()


def mutations(path: str, source: str) -> list[Mutation]:
    """Every fault of every kind in a module, in the order of its text; see `makes_a_difference`."""
    found: dict[tuple[str, ...], int] = {}
    result = []
    for one in sorted(_Finder(path, source).run(), key=lambda one: (one.start, one.end, one.operator, one.after)):
        key = (one.operator, one.where, one.statement, one.before, one.after)
        nth = found.get(key, 0)
        found[key] = nth + 1
        result.append(replace(one, nth=nth))
    return result


def makes_a_difference(source: str, mutation: Mutation) -> bool:
    """Whether the module with the fault in it can be read, and says something else."""
    try:
        changed = ast.parse(mutation.applied(source))
    except SyntaxError:
        return False
    return ast.dump(changed) != ast.dump(ast.parse(source))


class _Finder:
    def __init__(self, path: str, source: str) -> None:
        self.path, self.raw = path, source.encode()
        self.tree = ast.parse(source)
        starts = [0]
        for line in source.encode().split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        self.starts = starts

    def run(self) -> Iterator[Mutation]:
        """Yield the faults of the module."""
        yield from self._body(self.tree.body, "")

    def _body(self, body: list[ast.stmt], where: str) -> Iterator[Mutation]:
        for statement in body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                yield from self._body(statement.body, f"{where}.{statement.name}".lstrip("."))
                continue
            yield from self._deleted(statement, where)
            for expression in _expressions(statement):
                yield from self._expression(expression, statement, where)
            for name in ("body", "orelse", "finalbody"):
                yield from self._body(getattr(statement, name, []), where)
            for handler in getattr(statement, "handlers", []):
                yield from self._body(handler.body, where)

    def _deleted(self, statement: ast.stmt, where: str) -> Iterator[Mutation]:
        call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
        stored = isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript)
        if call or stored or isinstance(statement, ast.AugAssign | ast.Raise | ast.Continue | ast.Break):
            yield self._made("statement deleted", statement, statement, where, "pass")
        if isinstance(statement, ast.If) and where:
            yield self._made("condition never", statement.test, statement, where, "False")
            yield self._made("condition always", statement.test, statement, where, "True")

    def _expression(self, root: ast.expr, statement: ast.stmt, where: str) -> Iterator[Mutation]:
        for node in _walk(root):
            for operator, target, after in self._faults(node):
                span = target if isinstance(target, tuple) else self._span(target)
                yield self._at(operator, span, statement, where, after)

    def _faults(self, node: ast.AST) -> Iterator[tuple[str, ast.AST | tuple[int, int], str]]:
        if isinstance(node, ast.Compare):
            for (left, right), op in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
                for after in _COMPARISONS[type(op)]:
                    yield "comparison", self._between(left, right), after
        elif isinstance(node, ast.BinOp):
            for after in _OPERATORS.get(type(node.op), ()):
                yield "operator", self._between(node.left, node.right), after
        elif isinstance(node, ast.BoolOp):
            after = "or" if isinstance(node.op, ast.And) else "and"
            for left, right in pairwise(node.values):
                yield "and/or", self._between(left, right), after
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
            kind = "sign dropped" if isinstance(node.op, ast.USub) else "not removed"
            yield kind, node, f"({self._text(node.operand)})"
        elif isinstance(node, ast.Constant):
            for after in _constants(node.value):
                yield "constant", node, after
        elif isinstance(node, ast.Call):
            yield from self._called(node.func)
        elif isinstance(node, ast.Slice):
            for bound in (node.lower, node.upper):
                if bound is not None:
                    yield "slice off by one", bound, f"{self._text(bound)} + 1"

    def _called(self, function: ast.expr) -> Iterator[tuple[str, tuple[int, int], str]]:
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        if name in _SWAPPED_NAMES:
            end = self._span(function)[1]
            yield "function swapped", (end - len(name), end), _SWAPPED_NAMES[name]

    def _between(self, left: ast.expr, right: ast.expr) -> tuple[int, int]:
        """Bytes of the operator that stands between two operands, brackets around these left out."""
        start, end = self._span(left)[1], self._span(right)[0]
        text = self.raw[start:end]
        first, last = 0, len(text)
        while text[first : first + 1] in (b" ", b")", b"\n"):
            first += 1
        while text[last - 1 : last] in (b" ", b"(", b"\n"):
            last -= 1
        return start + first, start + last

    def _made(self, operator: str, node: ast.AST, statement: ast.stmt, where: str, after: str) -> Mutation:
        return self._at(operator, self._span(node), statement, where, after)

    def _at(self, operator: str, span: tuple[int, int], statement: ast.stmt, where: str, after: str) -> Mutation:
        first = self._text(statement).partition("\n")[0]
        line = 1 + self.raw[: span[0]].count(b"\n")
        before = self.raw[span[0] : span[1]].decode()
        return Mutation(self.path, operator, where, first, *span, before, after, line)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        if not isinstance(node, ast.expr | ast.stmt) or node.end_lineno is None or node.end_col_offset is None:
            raise TypeError(f"{type(node).__name__} has no place in the text")
        first, last = self.starts[node.lineno - 1], self.starts[node.end_lineno - 1]
        return first + node.col_offset, last + node.end_col_offset

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.raw[start:end].decode()


def _expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    """Yield what a statement itself computes: no annotations, no doc strings, no text of messages."""
    if isinstance(statement, ast.Raise | ast.Import | ast.ImportFrom):
        return
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return
    for name in ("value", "test", "iter"):
        part = getattr(statement, name, None)
        if isinstance(part, ast.expr):
            yield part


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below, but nothing of a formatted text."""
    if isinstance(node, ast.JoinedStr):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _constants(value: object) -> tuple[str, ...]:
    if isinstance(value, bool):
        return (str(not value),)
    if isinstance(value, int):
        return ("0", "2") if value == 1 else (str(value + 1),) if value < 2 else (str(value - 1),)
    if isinstance(value, float):
        if 0 < abs(value) <= 1e-3:
            return "0.0", repr(value * 1e4)
        return ("1.0",) if value == 0 else ("0.0", repr(value * 2))
    return ()
