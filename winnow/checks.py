"""The checks of a codebook: what must hold between the values of a row, as an expression such as `end >= start`.

Expressions are parsed here and walked by simpleeval, with everything taken out that a check does not need: no
attributes, no indexes, no loops, no powers, and no functions but those of `winnow.check_values`. They are tried out on
sample values when a codebook is applied, so that a number beside a text is found then, and not in the middle of a job.

A check is kept, broken, or neither: it cannot be decided where a value that it needs is missing, where a partial date
leaves it open, or where it divides by zero. `and` and `or` are decided as soon as one side decides them. Numbers are
equal where they differ by rounding alone; texts are equal as names are, whatever their case; a category may be written
as its label; `start == "2024-01-31"` reads the text as a date; the difference of two dates is in days, and days can be
added to a date.
"""

import ast
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from keyword import iskeyword
from typing import Any

from simpleeval import SimpleEval  # type: ignore[import-untyped, unused-ignore]

from winnow.check_values import FUNCTIONS, OPERATORS, ClashError, kind, operand, settled
from winnow.codebook import Variable, name_key
from winnow.coercion import CoercionError, coerce
from winnow.extractions import Value

MOST_CHARACTERS = 1000
_MOST_DEEP = 40  # far below Python's own limits, and above what anybody writes

Row = Mapping[str, Value | tuple[Value, ...] | None]
"""The values of a row, by the names of the variables; None, or no entry, where there is none."""


class CheckError(ValueError):
    """The expression cannot be used. The message is for people, and continues "check 'end >= start' ..."."""


@dataclass(frozen=True, kw_only=True)
class CompiledCheck:
    """A check that is ready to be held against rows."""

    expression: str
    names: tuple[str, ...]  # of the variables in it, as the codebook spells them
    tree: ast.expr = field(repr=False, compare=False)
    variables: Mapping[str, Variable] = field(repr=False, compare=False)  # by their names in the expression


def compile_check(expression: str, variables: Sequence[Variable]) -> CompiledCheck:
    """The check that an expression stands for.

    A variable is named as in the codebook, in any case, with `_` for spaces and dashes.

    Raises:
        CheckError: it is too long, no expression, names something unknown, or compares what cannot be compared.
    """
    tree = _parsed(expression)
    known: dict[str, list[Variable]] = {}
    for variable in variables:
        known.setdefault(identifier(variable.name), []).append(variable)
    used: dict[str, Variable] = {}
    for node, depth in _walk(tree):
        _refuse_foreign(node, depth)
        if isinstance(node, ast.Name) and (found := _named(node.id, known)):
            used[node.id] = found
    _read_categories(tree, used)
    names = tuple(dict.fromkeys(variable.name for variable in used.values()))
    check = CompiledCheck(expression=expression, names=names, tree=tree, variables=used)
    _try_out(check)
    return check


def broken(check: CompiledCheck, row: Row) -> bool | None:
    """Whether the row breaks the check; None where that cannot be decided."""
    names = {name: operand(row.get(variable.name), variable) for name, variable in check.variables.items()}
    try:
        kept = _evaluate(check, names)
    except ClashError:  # where the samples did not reach: they divided by zero
        return None
    return None if kept is None else not kept


def identifier(name: str) -> str:
    """How a variable is called in an expression: its name in small letters, with `_` for spaces and dashes."""
    return "".join("_" if unicodedata.category(sign) in ("Pd", "Zs") else sign for sign in name_key(name))


_NODES = (
    ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.Name, ast.Constant, ast.List, ast.Tuple,
    ast.Load, ast.And, ast.Or, *OPERATORS,
)  # fmt: skip
_FOREIGN: dict[type[ast.AST], str] = {
    ast.Attribute: "a dot after a name or bracket",
    ast.Subscript: "square brackets after a name",
    ast.IfExp: "`if`; write it with and, or, not",
    ast.Pow: "`**`; multiply",
    ast.BitAnd: "`&`; write and",
    ast.BitOr: "`|`; write or",
    ast.Is: "`is`; write ==, or is_missing(...)",
    ast.IsNot: "`is not`; write !=, or not is_missing(...)",
}


def _parsed(expression: str) -> ast.expr:
    if len(expression) > MOST_CHARACTERS:
        raise CheckError(f"has more than {MOST_CHARACTERS} characters; shorten it")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        where = f"at character {error.offset}" if error.offset else "at its end"
        hint = "; compare with ==" if re.search("[^=<>!:]=(?!=)", expression) else ""
        raise CheckError(f"is not an expression: {error.msg} {where}{hint}") from None
    except (ValueError, RecursionError, MemoryError):
        raise CheckError("is not an expression, or is nested too deeply; shorten it") from None


def _walk(tree: ast.AST) -> Iterator[tuple[ast.AST, int]]:
    """Every part with its depth, but for the names of functions. No recursion."""
    waiting = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        parts = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
        waiting += [(part, depth + 1) for part in reversed([*parts])]


def _refuse_foreign(node: ast.AST, depth: int) -> None:
    if depth > _MOST_DEEP:
        raise CheckError(f"is nested more than {_MOST_DEEP} deep; split it into several checks")
    if not isinstance(node, _NODES):
        raise CheckError(f"has {_FOREIGN.get(type(node), type(node).__name__)}: checks do not take it")
    if isinstance(node, ast.Call):
        called = node.func.id if isinstance(node.func, ast.Name) else "something without a name"
        if called not in FUNCTIONS:
            raise CheckError(f"calls {called}; the functions are {', '.join(FUNCTIONS)}")
        if node.keywords:
            raise CheckError(f"names what it gives {called}(); leave the names out")
    if isinstance(node, ast.Constant) and not _is_plain(node.value):
        raise CheckError(f"has {node.value!r:.40}: a check takes text, numbers, True and False; is_missing(x) for None")


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) <= 2**53  # beyond it a float no longer holds every whole number
    return isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))


_TRUTHS = {"true": True, "false": False}


def _named(name: str, known: Mapping[str, list[Variable]]) -> Variable | None:
    """The variable of this name; None for true and false."""
    found = known.get(identifier(name), [])
    if len(found) > 1:
        raise CheckError(f"names {name!r}, which can be {' or '.join(repr(one.name) for one in found)}; rename one")
    if found or name in _TRUTHS:
        return found[0] if found else None
    usable = [one for one in known if one.isidentifier() and not iskeyword(one)]
    close = get_close_matches(identifier(name), usable, n=3)
    if name in FUNCTIONS:
        remedy = f"write {name}(...), with its values in brackets"
    elif close:
        remedy = f"did you mean {' or '.join(close)}?"
    else:
        remedy = "add it, or put quotes around it if it is text"
    raise CheckError(f"names {name!r}, which is not a variable; {remedy}")


def _read_categories(tree: ast.AST, used: Mapping[str, Variable]) -> None:
    """Text beside a category becomes the category's value: it may be written as its label, but not misspelt."""
    for node, _ in _walk(tree):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        compared = [used[side.id] for side in sides if isinstance(side, ast.Name) and side.id in used]
        category = next((variable for variable in compared if variable.type == "category"), None)
        entries = [part for side in sides for part in (side.elts if isinstance(side, ast.List | ast.Tuple) else [side])]
        for entry in entries:
            if category and isinstance(entry, ast.Constant) and isinstance(entry.value, str):
                entry.value = _category(entry.value, category)


def _category(text: str, variable: Variable) -> str:
    try:
        return str(coerce(text, variable))
    except CoercionError as error:
        raise CheckError(f"compares {variable.name!r} with {text!r:.40}, which {error}") from None


_SAMPLES: dict[str, Value] = {"boolean": True, "number": 4321.25, "date": "2000-01-01"}


def _try_out(check: CompiledCheck) -> None:
    """Every part once, on samples: `and` and `or` evaluate all their sides, so that no clash can hide."""
    samples = {
        name: operand(_SAMPLES.get(variable.type, variable.name), variable)
        for name, variable in check.variables.items()
    }
    try:
        kept = _evaluate(check, samples)
    except ClashError as error:
        raise CheckError(str(error)) from None
    if kept is not None and not isinstance(kept, bool):
        raise CheckError(f"gives {kind(kept)}, and must give true or false; compare it with something")


def _evaluate(check: CompiledCheck, names: dict[str, Any]) -> Any:
    return _Evaluator(names).eval(check.expression, previously_parsed=check.tree)


class _Evaluator(SimpleEval):  # type: ignore[misc, unused-ignore] # it comes without types
    """simpleeval with closed lists of forms, operators and functions, and a third truth value."""

    def __init__(self, names: dict[str, Any]) -> None:
        # In place of its own __init__, which registers more forms, and mutes warnings for all threads meanwhile.
        self.operators, self.functions, self.names = OPERATORS, FUNCTIONS, {**_TRUTHS, **names}
        self.nodes = {
            ast.Name: self._eval_name,
            ast.Constant: self._number_or_other,
            ast.UnaryOp: self._eval_unaryop,
            ast.BinOp: self._eval_binop,
            ast.BoolOp: self._three_valued,
            ast.Compare: self._chain,
            ast.Call: self._eval_call,
            ast.List: self._several,
            ast.Tuple: self._several,
        }

    def _number_or_other(self, node: ast.Constant) -> Any:
        value = node.value
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def _several(self, node: ast.List | ast.Tuple) -> list[Any] | None:
        values = [self._eval(part) for part in node.elts]
        return None if any(value is None for value in values) else values

    def _three_valued(self, node: ast.BoolOp) -> bool | None:
        return settled([self._eval(part) for part in node.values], isinstance(node.op, ast.Or))

    def _chain(self, node: ast.Compare) -> bool | None:
        values = [self._eval(part) for part in (node.left, *node.comparators)]
        results = [self.operators[type(sign)](*values[at : at + 2]) for at, sign in enumerate(node.ops)]
        return settled(results, False)
