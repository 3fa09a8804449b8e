"""The mutants of a file: each changes one expression or statement of it."""

import ast
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

_BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_PAIRS = (
    *(("all", "any"), ("ceil", "floor"), ("exp", "expm1"), ("log", "log1p"), ("max", "min"), ("maximum", "minimum")),
    *(("ones", "zeros"), ("ones_like", "zeros_like")),
)
_NAMES = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_ORDERED = {"getattr", "hasattr", "isinstance", "issubclass"}
_NEEDED = {"of"}
"""Calls that end in an error at once where their arguments are swapped, or where they are dropped."""
_SKIPPED = {"annotation", "returns"}


@dataclass(frozen=True)
class Mutant:
    """One change of one place of a file."""

    file: str
    line: int
    operator: str
    before: str
    """The source lines that change, on one line."""
    after: str
    lines: range
    """The lines of the statement, or of the head of a compound one."""
    start: int
    stop: int
    text: bytes
    """The bytes from start to stop become these."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.before, self.after

    def apply(self, content: bytes) -> bytes:
        return content[: self.start] + self.text + content[self.stop :]

    def __str__(self) -> str:
        return f"{self.file}:{self.line} ({self.operator})\n    - {self.before}\n    + {self.after}"


def mutants(file: str, content: bytes) -> Iterator[Mutant]:
    """All mutants of a file that are valid Python."""
    starts = [0]
    for row in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(row))
    for node, lines, operator, new in _walk(ast.parse(content), range(0)):
        start, stop = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        text = ast.unparse(new)
        loose = isinstance(new, ast.BinOp | ast.BoolOp | ast.Compare | ast.IfExp | ast.Lambda | ast.UnaryOp)
        if (loose or text.startswith("-")) and content[start - 1 : start] + content[stop : stop + 1] != b"()":
            text = f"({text})"
        first, last = starts[node.lineno - 1], starts[node.end_lineno]
        before, after = content[first:last], content[first:start] + text.encode() + content[stop:last]
        shown = (" ".join(part.decode().split()) for part in (before, after))
        mutant = Mutant(file, node.lineno, operator, *shown, lines, start, stop, text.encode())
        with warnings.catch_warnings(), suppress(SyntaxError):
            warnings.simplefilter("error", SyntaxWarning)
            compile(mutant.apply(content), file, "exec")
            yield mutant


def _walk(node: ast.AST, lines: range) -> Iterator[tuple[ast.AST, range, str, ast.AST]]:
    """Each node that can be changed, the lines of its statement, the operator and what takes its place."""
    if isinstance(node, ast.JoinedStr):  # mostly messages, and Python 3.11 does not say where their parts are
        return
    if isinstance(node, ast.stmt):
        body = getattr(node, "body", None)
        lines = range(node.lineno, (max(node.lineno + 1, body[0].lineno) if body else node.end_lineno + 1))
    changes = _statements(node) if isinstance(node, ast.stmt) else _expressions(node)
    for place, operator, new in changes:
        yield place, lines, operator, new
    for field, value in ast.iter_fields(node):
        if field not in _SKIPPED and not isinstance(node, ast.Raise):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _walk(child, lines)


def _statements(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    match node:
        case ast.If(test=test) if not isinstance(test, ast.UnaryOp):
            yield test, "condition negated", ast.UnaryOp(ast.Not(), test)
        case ast.Return(value=ast.AST() as value):
            yield value, "nothing returned", ast.Constant(None)
        case ast.Expr(value=ast.Call()) | ast.Raise():
            yield node, "statement deleted", ast.Pass()
        case ast.Continue():
            yield node, "continue for break", ast.Break()
        case ast.Break():
            yield node, "break for continue", ast.Continue()
        case ast.AugAssign(op=op):
            yield node, "statement deleted", ast.Pass()
            if type(op) in _BINARY:
                yield node, "operator", ast.AugAssign(node.target, _BINARY[type(op)](), node.value)
        case ast.Assign(targets=targets, value=value):
            names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
            plain = any(isinstance(target, ast.Name | ast.Tuple) for target in targets)
            if not plain or names & {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}:
                yield node, "statement deleted", ast.Pass()


def _expressions(node: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    match node:
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            yield node, "operator", ast.BinOp(left, _BINARY[type(op)](), right)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield node, "operator dropped", operand
        case ast.Compare(left, ops, comparators):
            for index, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    changed = [*ops[:index], other(), *ops[index + 1 :]]
                    yield node, "comparison", ast.Compare(left, changed, comparators)
        case ast.BoolOp(op, values):
            yield node, "and for or", ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield node, "operand dropped", rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.IfExp(test, body, orelse):
            yield node, "branches swapped", ast.IfExp(test, orelse, body)
        case ast.comprehension(ifs=ifs):
            for test in ifs:
                yield test, "filter dropped", ast.Constant(True)
        case ast.Constant(value=bool() as value):
            yield node, "constant", ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            for step in (1, -1):
                yield node, "constant", ast.Constant(value + step)
        case ast.Slice(lower, upper, step):
            if lower:
                yield node, "bound dropped", ast.Slice(None, upper, step)
            if upper:
                yield node, "bound dropped", ast.Slice(lower, None, step)
            if step:
                yield node, "step dropped", ast.Slice(lower, upper, None)
        case ast.Call():
            for operator, new in _calls(node):
                yield node, operator, new


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    func, args, keywords = node.func, node.args, node.keywords
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    if name in _NAMES:
        other = ast.Attribute(func.value, _NAMES[name]) if isinstance(func, ast.Attribute) else ast.Name(_NAMES[name])
        yield "function", ast.Call(other, args, keywords)
    for index in range(len(args) - 1):
        pair = args[index : index + 2]
        same = ast.dump(pair[0]) == ast.dump(pair[1])
        if name not in _ORDERED and not same and not any(isinstance(arg, ast.Starred) for arg in pair):
            yield "arguments swapped", ast.Call(func, [*args[:index], *reversed(pair), *args[index + 2 :]], keywords)
    for index in range(len(keywords)):
        yield "keyword dropped", ast.Call(func, args, [*keywords[:index], *keywords[index + 1 :]])
    if name not in _NEEDED and not name.lstrip("_")[:1].isupper():  # no constructors, for the same reason
        if args and not isinstance(args[0], ast.Starred):
            yield "call dropped", args[0]
        elif isinstance(func, ast.Attribute) and not args:
            yield "call dropped", func.value
