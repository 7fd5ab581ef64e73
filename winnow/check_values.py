"""What the checks of a codebook calculate with: the values, operators and functions of their expressions.

A number is a float, a date any day from a first to a last, several values are a list, and None stands for what is not
known. An operator or function gives None where it would need what is not known, and a `ClashError` for values that do
not go together.
"""

import ast
import math
import operator
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce
from typing import Any

from winnow.codebook import Variable, name_key
from winnow.extractions import Value


class ClashError(Exception):
    """Values that do not go together, in words that continue "check 'end >= start' ..."."""


@dataclass(frozen=True)
class Date:
    """A date, perhaps without its day or month: any day from the first to the last."""

    first: date
    last: date

    @property
    def day(self) -> date | None:
        """The day, where the date is whole."""
        return self.first if self.first == self.last else None


def read_date(text: str) -> Date | None:
    """The date of ISO text, whole or partial; None where it is none."""
    try:
        if len(text) == 4 and text.isdecimal():
            return Date(date(int(text), 1, 1), date(int(text), 12, 31))
        first = date.fromisoformat(text if len(text) > 7 else f"{text}-01")
    except ValueError:
        return None
    last = first if len(text) > 7 else first.replace(day=monthrange(first.year, first.month)[1])
    return Date(first, last)


def operand(value: Value | tuple[Value, ...] | None, variable: Variable) -> Any:
    """A value of a row as expressions see it; None where there is none of the variable's type."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    read = [one for one in (_single(entry, variable) for entry in values) if one is not None]
    if not read:
        return None
    return read if _is_list(variable) else read[0]


def _is_list(variable: Variable) -> bool:
    joined = variable.type == "text" and variable.if_multiple_values == "join"
    return variable.takes_several and variable.max_values > 1 and not joined


def _single(value: Value, variable: Variable) -> Any:
    if variable.type == "boolean":
        return value if isinstance(value, bool) else None
    if variable.type == "number":
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if variable.type == "date":
        return read_date(value) if isinstance(value, str) else None
    return value if isinstance(value, str) else None


_KINDS: dict[type, str] = {bool: "true or false", float: "a number", str: "a text", Date: "a date", list: "a list"}


def kind(value: object) -> str:
    """What a value is, in words."""
    return _KINDS.get(type(value), "something else")


def settled(truths: Sequence[Any], decisive: bool) -> bool | None:
    """`or` is decided by one that is true, `and` by one that is false; else by all, where all are known."""
    for truth in truths:
        if truth is not None and not isinstance(truth, bool):
            raise ClashError(f"takes {kind(truth)} for true or false; compare it with something")
    if decisive in truths:
        return decisive
    return None if None in truths else not decisive


def _are(wanted: type, *values: object) -> bool:
    return all(type(value) is wanted for value in values)


def _clash(what: str, *values: object) -> ClashError:
    several = "; several values take in, len, min, max and sum" if any(_are(list, value) for value in values) else ""
    return ClashError(f"{what}{several}")


def _known(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, giving None where one of its values is None, or where it has no finite result."""

    def called(*values: Any) -> Any:
        if any(value is None for value in values):
            return None
        try:
            result = function(*values)
        except (ArithmeticError, ValueError):  # divided by zero, too large, a day before the first
            return None
        except TypeError:
            raise ClashError(f"gives {name} {len(values)} values, which is not the number that it takes") from None
        return None if isinstance(result, float) and not math.isfinite(result) else result

    return called


def _alike(one: Any, other: Any) -> tuple[Any, Any]:
    """Both of one type: a text beside a date is read as one."""
    if _are(Date, one) and _are(str, other):
        return one, _written(other)
    if _are(str, one) and _are(Date, other):
        return _written(one), other
    if type(one) is not type(other) or _are(list, one):
        raise _clash(f"compares {kind(one)} with {kind(other)}", one, other)
    return one, other


def _written(text: str) -> Date:
    found = read_date(text)
    if found is None or found.day is None:
        raise ClashError(f"compares a date with {text!r:.40}; write a whole date as 2024-01-31, or use year(), month()")
    return found


def _equal(one: Any, other: Any) -> bool | None:
    one, other = _alike(one, other)
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, str):
        return name_key(one) == name_key(other)
    if isinstance(one, Date):
        if one.last < other.first or other.last < one.first:
            return False
        return True if one.day and other.day else None
    return bool(one == other)


def _less(one: Any, other: Any) -> bool | None:
    one, other = _alike(one, other)
    if isinstance(one, float):
        return bool(one < other and not _equal(one, other))
    if not isinstance(one, Date):
        raise ClashError(f"puts {kind(one)} before or after another; only numbers and dates have an order")
    if one.last < other.first:
        return True
    return False if one.first >= other.last else None


def _more(one: Any, other: Any) -> bool | None:
    one, other = _alike(one, other)
    return _less(other, one)


def _not(truth: Any) -> bool | None:
    kept = settled([truth], True)
    return None if kept is None else not kept


def _within(one: Any, several: Any) -> bool | None:
    if _are(str, one, several):
        return name_key(one) in name_key(several)
    if not isinstance(several, list):
        raise ClashError(f"looks for {kind(one)} in {kind(several)}; `in` takes several values, or a text in a text")
    return settled([_equal(one, entry) for entry in several], True)


def _numeric(operation: Callable[..., float]) -> Callable[..., float]:
    def calculated(*values: Any) -> float:
        if not _are(float, *values):
            raise _clash(f"calculates with {' and '.join(map(kind, values))}", *values)
        return float(operation(*values))

    return calculated


_plus, _minus = _numeric(operator.add), _numeric(operator.sub)


def _add(one: Any, other: Any) -> Any:
    return _moved(one, other) if _are(Date, one) and _are(float, other) else _plus(one, other)


def _subtract(one: Any, other: Any) -> Any:
    if not _are(Date, one) and not _are(Date, other):
        return _minus(one, other)
    if _are(float, other):
        return _moved(one, -other)
    one, other = _alike(one, other)
    return float((one.day - other.day).days) if one.day and other.day else None


def _moved(start: Date, days: float) -> Date:
    step = timedelta(days=days)
    return Date(start.first + step, start.last + step)


def _listed(values: tuple[Any, ...]) -> list[Any]:
    """Numbers or dates, given one by one or as the values of one variable."""
    given = values[0] if len(values) == 1 and isinstance(values[0], list) else list(values)
    if not given or not (_are(float, *given) or _are(Date, *given)):
        raise _clash(f"takes min, max or sum of {' and '.join(map(kind, given)) or 'nothing'}", *given)
    return given


def _outermost(gives_way: Callable[[Any, Any], bool | None]) -> Callable[..., Any]:
    def stronger(one: Any, other: Any) -> Any:
        return None if one is None else {True: other, False: one, None: None}[gives_way(one, other)]

    return lambda *values: reduce(stronger, _listed(values))


def _sum(*values: Any) -> float:
    return _numeric(lambda *numbers: math.fsum(numbers))(*_listed(values))


def _length(value: Any) -> float:
    if not isinstance(value, str | list):
        raise ClashError(f"takes the length of {kind(value)}; only texts and several values have one")
    return float(len(value))


def _round(number: float, digits: float = 0.0) -> float:
    return round(number, int(max(-400.0, min(400.0, digits))))


def _part(name: str) -> Callable[[Any], float | None]:
    def part(value: Any) -> float | None:
        if not isinstance(value, Date):
            raise _clash(f"takes the {name} of {kind(value)}", value)
        first, last = getattr(value.first, name), getattr(value.last, name)
        return float(first) if first == last else None

    return part


def _is_missing(*values: Any) -> bool:
    if len(values) != 1:
        raise ClashError(f"gives is_missing() {len(values)} values; it takes one")
    return values[0] is None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "is_missing": _is_missing,
    **{
        name: _known(f"{name}()", function)
        for name, function in {
            "abs": _numeric(abs),
            "day": _part("day"),
            "len": _length,
            "max": _outermost(_less),
            "min": _outermost(_more),
            "month": _part("month"),
            "round": _numeric(_round),
            "sum": _sum,
            "year": _part("year"),
        }.items()
    },
}
"""All that an expression can call."""

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Not: _not,
    **{
        sign: _known(sign.__name__, function)
        for sign, function in {
            ast.Add: _add,
            ast.Sub: _subtract,
            ast.Mult: _numeric(operator.mul),
            ast.Div: _numeric(operator.truediv),
            ast.Mod: _numeric(operator.mod),
            ast.FloorDiv: _numeric(operator.floordiv),
            ast.USub: _numeric(operator.neg),
            ast.UAdd: _numeric(operator.pos),
            ast.Eq: _equal,
            ast.NotEq: lambda one, other: _not(_equal(one, other)),
            ast.Lt: _less,
            ast.Gt: _more,
            ast.LtE: lambda one, other: _not(_more(one, other)),
            ast.GtE: lambda one, other: _not(_less(one, other)),
            ast.In: _within,
            ast.NotIn: lambda one, several: _not(_within(one, several)),
        }.items()
    },
}
"""All operators of an expression but `and` and `or`, which can be decided by one side."""
