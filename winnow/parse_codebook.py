"""Reading a codebook from plain data, with all that is wrong in it said at once.

The models in `winnow.codebook` say what is allowed; here their complaints become sentences with a line and a remedy,
and what no single variable can know is looked for: twins, unknown dependencies, circles, conditions and checks that can
never be judged.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from winnow.checks import CheckError, compile_check
from winnow.codebook import Check, Codebook, Definition, Variable, name_key
from winnow.conditions import condition_problem
from winnow.exceptions import CodebookError

Path = tuple[str | int, ...]
"""Where something stands in the data: ("variables", 2, "type")."""

_Part = TypeVar("_Part", bound=Definition)


def parse_codebook(data: Any, source: str = "The codebook", lines: Mapping[Path, int] | None = None) -> Codebook:
    """A codebook from plain data.

    Args:
        data: mappings, lists and scalars, as a YAML parser gives them.
        source: the file's name, for messages.
        lines: the line of each part of the data, where known.

    Raises:
        CodebookError: with every problem found, in the order of the file.
    """
    lines = lines or {}
    if not isinstance(data, Mapping):
        raise CodebookError(source, ["it must be a mapping with `project` and `variables`"])
    found: list[tuple[Path, str]] = []
    codebook = None
    try:
        codebook = Codebook.model_validate(data)
    except ValidationError as error:
        found += [_problem(detail, data) for detail in error.errors(include_url=False)]
    found += _problems_between_variables(data)
    found += _problems_with_values(data)
    if codebook is None or found:
        raise CodebookError(source, _listed(found, lines))
    return codebook


def _listed(found: list[tuple[Path, str]], lines: Mapping[Path, int]) -> list[str]:
    placed = sorted(((_line(path, lines), message) for path, message in found), key=lambda pair: pair[0] or 0)
    return list(dict.fromkeys(f"line {line}: {message}" if line else message for line, message in placed))


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


_REMEDIES = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a known key; remove it or correct its spelling",
    "string_too_short": "is empty; fill it in",
    "too_short": "is empty; fill it in",
    "string_type": "must be text; put it in quotes",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
}


def _problem(detail: ErrorDetails, data: Any) -> tuple[Path, str]:
    path: Path = tuple(part for part in detail["loc"] if not str(part).startswith("function-"))
    kind = detail["type"]
    if path and path[-1] == "type" and kind == "literal_error":
        remedy = f"is {detail['input']!r}, which is not a type; use {detail['ctx']['expected']}"
    elif kind in _REMEDIES:
        remedy = _REMEDIES[kind]
    elif kind == "too_long":
        remedy = f"has more than {detail['ctx']['max_length']} characters; shorten it"
    elif kind == "string_pattern_mismatch":
        remedy = "may hold letters, digits, spaces, dots, dashes and underscores, and starts with a letter or digit"
    else:
        message = detail["msg"]
        remedy = message if message.split(" ")[0] in ("has", "is", "needs", "must", "keeps") else f"is wrong: {message}"
    return path, f"{_where(path, data)} {remedy}"


def _where(path: Path, data: Any) -> str:
    """The part's name as the author knows it: variable `amount`, `validation.min`."""
    if len(path) >= 2 and path[0] == "variables" and isinstance(path[1], int):
        variables = data.get("variables")
        entry = variables[path[1]] if isinstance(variables, list | tuple) and path[1] < len(variables) else None
        name = entry.get("name") if isinstance(entry, Mapping) else None
        owner = f"variable {name!r}" if name else f"variable number {path[1] + 1}"
        rest = ".".join(str(part) for part in path[2:])
        return f"{owner}: `{rest}`" if rest else owner
    return f"`{'.'.join(str(part) for part in path)}`" if path else "the codebook"


def _problems_between_variables(data: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Duplicate names, dependencies on unknown variables, cycles: looked for even where a variable has other faults."""
    variables = data.get("variables")
    if not isinstance(variables, list | tuple):
        return []
    entries = [
        (index, entry) for index, entry in enumerate(variables)
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    ]  # fmt: skip
    places: dict[str, int] = {}
    found: list[tuple[Path, str]] = []
    for index, entry in entries:
        key = name_key(entry["name"])
        if key in places:
            first = variables[places[key]]["name"]
            same = "" if first == entry["name"] else f" (the same as {first!r} but for case or character forms)"
            found.append((("variables", index, "name"), f"variable {entry['name']!r} stands twice{same}; rename one"))
        places.setdefault(key, index)
    needs: dict[str, list[str]] = {}
    for index, entry in entries:
        needs[name_key(entry["name"])] = []
        listed = entry.get("depends_on")
        for position, dependency in enumerate(listed if isinstance(listed, list | tuple) else []):
            parent = dependency.get("variable") if isinstance(dependency, Mapping) else None
            if not isinstance(parent, str):
                continue
            if name_key(parent) not in places:
                path = ("variables", index, "depends_on", position)
                found.append((path, f"variable {entry['name']!r} depends on {parent!r}, which is not defined; add it"))
            else:
                needs[name_key(entry["name"])].append(name_key(parent))
    for cycle in _cycles(needs):
        names = " -> ".join(variables[places[key]]["name"] for key in [*cycle, cycle[0]])
        where = ("variables", places[cycle[0]], "depends_on")
        found.append((where, f"variables depend on each other in a circle: {names}; remove one dependency"))
    return found + _unknown_identifiers(data.get("unit_of_observation"), places)


def _unknown_identifiers(unit: Any, known: Mapping[str, int]) -> list[tuple[Path, str]]:
    listed = unit.get("identified_by") if isinstance(unit, Mapping) else None
    named = enumerate(listed if isinstance(listed, list | tuple) else [])
    unknown = ((position, name) for position, name in named if isinstance(name, str) and name_key(name) not in known)
    path = ("unit_of_observation", "identified_by")
    return [
        ((*path, at), f"the entity is identified by {name!r}, which is not a variable; add it") for at, name in unknown
    ]


def _cycles(needs: Mapping[str, list[str]]) -> list[list[str]]:
    """One cycle per knot of variables that depend on each other. No recursion: chains may be long."""
    done: set[str] = set()
    cycles = []
    for start in needs:
        trail: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)] if start not in done else []
        while stack:
            name, position = stack.pop()
            if position == 0:
                trail.append(name)
            if position < len(needs[name]):
                stack.append((name, position + 1))
                parent = needs[name][position]
                if parent in trail:
                    cycles.append(trail[trail.index(parent) :])
                elif parent not in done:
                    stack.append((parent, 0))
            else:
                done.add(name)
                trail.pop()
    return cycles


def _problems_with_values(data: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Conditions and checks that do not fit their variables' types. Variables with other faults are left out."""
    listed = data.get("variables")
    entries = list(enumerate(listed if isinstance(listed, list | tuple) else ()))
    read = {index: variable for index, entry in entries if (variable := _read(Variable, entry))}
    found = list(_misfit_conditions(read))
    if len(read) == len(entries):  # else a check could name one that is only misspelt elsewhere
        found += _misfit_checks(data.get("checks"), list(read.values()))
    return found


def _misfit_conditions(read: Mapping[int, Variable]) -> Iterator[tuple[Path, str]]:
    known = {name_key(variable.name): variable for variable in read.values()}
    for index, variable in read.items():
        for position, dependency in enumerate(variable.depends_on):
            parent = known.get(name_key(dependency.variable))
            if parent and (problem := condition_problem(dependency, parent)):
                yield ("variables", index, "depends_on", position), f"variable {variable.name!r} {problem}"


def _misfit_checks(listed: Any, variables: list[Variable]) -> Iterator[tuple[Path, str]]:
    for position, entry in enumerate(listed if isinstance(listed, list | tuple) else ()):
        check = _read(Check, entry)
        if check is None:
            continue
        try:
            compile_check(check.expression, variables)
        except CheckError as error:
            yield ("checks", position, "expression"), f"check {check.expression!r:.80} {error}"


def _read(model: type[_Part], entry: Any) -> _Part | None:
    try:
        return model.model_validate(entry)
    except ValidationError:
        return None
