"""Which variables wait for which, and whether the condition of a dependency holds for what was found.

A condition is about the accepted values of the parent: one of several is enough. Without any, no condition holds, not
even `not_equals`: where nothing was found, nothing can be said to differ. Text is compared as names are (case and white
space aside), and dates by the parts that both have: 2006-05 equals 2006-05-14, and is neither before nor after it.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from graphlib import TopologicalSorter
from typing import Any

from winnow.codebook import Dependency, Variable, name_key
from winnow.coercion import CoercionError, coerce
from winnow.extractions import Extraction, Value

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "greater_than": operator.gt,
    "at_least": operator.ge,
    "less_than": operator.lt,
    "at_most": operator.le,
}


def holds(dependency: Dependency, parent: Variable, found: Extraction) -> bool:
    """Whether the condition holds for what was found for the parent.

    Raises:
        CoercionError: the codebook's value cannot be read as the parent's type; `condition_problem` says so before.
    """
    values = found.accepted
    if dependency.condition == "is_found":
        return bool(values)
    compared = [_read(entry, parent) for entry in _entries(dependency)]
    return any(_satisfies(dependency.condition, value, compared, parent) for value in values)


def condition_problem(dependency: Dependency, parent: Variable) -> str | None:
    """Why the condition can never be judged for this parent, with the remedy; None where it can."""
    if dependency.condition in _ORDER and parent.type not in ("number", "date"):
        return (
            f"compares {parent.name!r} with {dependency.condition}, but only numbers and dates have an order; "
            "use equals, not_equals or in"
        )
    for entry in _entries(dependency):
        try:
            _read(entry, parent)
        except CoercionError as error:
            shown = f"{entry!r:.80}"
            return f"compares {parent.name!r} ({parent.type}) with {shown}, which {error}; correct the value"
    return None


def layers(variables: Sequence[Variable]) -> list[list[Variable]]:
    """The variables in layers: whatever one depends on stands in a layer before it.

    Within a layer they keep their order. Parents that are not among the variables count as known.

    Raises:
        ValueError: they depend on each other in a circle, which no parsed codebook does.
    """
    places = {name_key(variable.name): place for place, variable in enumerate(variables)}
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for place, variable in enumerate(variables):
        sorter.add(place, *(places[parent] for parent in _parents(variable) if parent in places))
    sorter.prepare()
    found = []
    while sorter.is_active():
        layer = sorted(sorter.get_ready())
        sorter.done(*layer)
        found.append([variables[place] for place in layer])
    return found


def with_parents(chosen: Iterable[str], variables: Sequence[Variable]) -> list[Variable]:
    """The variables of these names, in any spelling, and all that they depend on, in the codebook's order."""
    known = {name_key(variable.name): variable for variable in variables}
    wanted: set[str] = set()
    waiting = [name_key(name) for name in chosen]
    while waiting:
        key = waiting.pop()
        if key in known and key not in wanted:
            wanted.add(key)
            waiting += _parents(known[key])
    return [variable for variable in variables if name_key(variable.name) in wanted]


def _parents(variable: Variable) -> list[str]:
    return [name_key(dependency.variable) for dependency in variable.depends_on]


def _entries(dependency: Dependency) -> Sequence[Any]:
    if dependency.condition == "is_found":
        return ()
    return dependency.value if dependency.condition == "in" else (dependency.value,)


def _read(entry: Any, parent: Variable) -> Value:
    """The codebook's value as the parent's type."""
    if isinstance(entry, bool) and parent.type == "category":
        return _category_of(entry, parent)
    if isinstance(entry, bool) and parent.type != "boolean":
        raise CoercionError("is true or false; put it in quotes if it is meant as text")
    if not isinstance(entry, str | int | float):
        raise CoercionError("is not a single text, number, true or false")
    return coerce(str(entry), parent)


def _category_of(truth: bool, parent: Variable) -> Value:
    """YAML reads `value: no` as false; the category that is meant is called no."""
    for spelling in ("true", "yes", "on") if truth else ("false", "no", "off"):
        try:
            return coerce(spelling, parent)
        except CoercionError:
            continue
    return coerce(str(truth), parent)


def _satisfies(condition: str, value: Value, compared: Sequence[Value], parent: Variable) -> bool:
    if condition == "not_equals":
        return not _is_same(value, compared[0], parent)
    if condition in ("equals", "in"):
        return any(_is_same(value, one, parent) for one in compared)
    return _ORDER[condition](*_shared(value, compared[0], parent))


def _is_same(one: Value, other: Value, parent: Variable) -> bool:
    if parent.type == "text":
        return name_key(str(one)) == name_key(str(other))
    first, second = _shared(one, other, parent)
    return first == second


def _shared(one: Value, other: Value, parent: Variable) -> tuple[Value, Value]:
    """Two dates, both with no more parts than the shorter has; other values as they are."""
    if parent.type != "date" or not isinstance(one, str) or not isinstance(other, str):
        return one, other
    length = min(len(one), len(other))
    return one[:length], other[:length]
