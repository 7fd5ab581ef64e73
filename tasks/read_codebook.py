"""A codebook from a YAML file, with the line of every part for messages."""

from pathlib import Path
from typing import Any

import yaml

from winnow.codebook import Codebook
from winnow.exceptions import CodebookError, DefinitionError
from winnow.parse_codebook import Path as Place
from winnow.parse_codebook import parse_codebook

_MOST_PARTS = 200_000  # a few kilobytes of nested aliases could otherwise unfold into gigabytes


def read_codebook(path: str | Path) -> Codebook:
    """The codebook of a file.

    Raises:
        DefinitionError: the file cannot be read.
        CodebookError: with every problem in it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(f"The codebook {str(path)!r} is not a UTF-8 text file; save it as one.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", error)
        raise DefinitionError(f"The codebook {str(path)!r} cannot be opened: {why}.") from error
    data, lines = _load(text, str(path))
    return parse_codebook(data, str(path), lines)


def _load(text: str, source: str) -> tuple[Any, dict[Place, int]]:
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise CodebookError(source, ["it is empty"])
        reader = _Reader(loader)
        data = reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _not_yaml(source, error.problem, line) from error
    except yaml.reader.ReaderError as error:
        raise _not_yaml(source, str(error).splitlines()[0], text.count("\n", 0, error.position) + 1) from error
    except RecursionError as error:
        raise _not_yaml(source, "it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise _not_yaml(source, str(error).splitlines()[0]) from error
    if reader.problems:
        raise CodebookError(source, reader.problems)
    return data, reader.lines


def _not_yaml(source: str, why: str | None, line: int | None = None) -> CodebookError:
    return CodebookError(source, [f"{f'line {line}: ' if line else ''}it is not valid YAML: {why}"])


class _Reader:
    """Turns YAML's nodes into data, noting lines and keys that stand twice (which YAML readers pass over)."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._parts = 0
        self.lines: dict[Place, int] = {}
        self.problems: list[str] = []

    def read(self, node: yaml.Node, path: Place) -> Any:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise ValueError("it unfolds into too many parts")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(part, (*path, index)) for index, part in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Place) -> Any:
        """A text, number or boolean. Dates stay as written: a limit or a default is ISO text in a codebook."""
        kind = node.tag.rpartition(":")[2]
        if kind == "timestamp" or (kind in ("bool", "int", "float") and _is_text(path)):
            return node.value
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError) as error:
            problem = f"{node.value[:40]!r} cannot be read as {kind}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error
        return value if isinstance(value, str | int | float | bool | None) else node.value

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(f"line {line}: a key must be a single word; remove what stands here")
                continue
            if key in data:
                self.problems.append(f"line {line}: `{key}` stands twice in the same place; remove one")
            self.lines[(*path, key)] = line
            data[key] = self.read(value_node, (*path, key))
        return data


def _is_text(place: Place) -> bool:
    """Whether text stands here, whatever YAML takes it for: a category may be `no` (false to YAML) or 012 (ten)."""
    return place[2:3] in (("categories",), ("examples",)) or place[2:4] == ("validation", "allowed")
