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
    except OSError as error:
        raise DefinitionError(f"The codebook {str(path)!r} cannot be opened: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"The codebook {str(path)!r} is not a UTF-8 text file; save it as one.") from error
    data, lines = _load(text, str(path))
    return parse_codebook(data, str(path), lines)


def _load(text: str, source: str) -> tuple[Any, dict[Place, int]]:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise CodebookError(source, ["it is empty"])
        reader = _Reader(loader)
        data = reader.read(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        place = f"line {line}: " if line else ""
        raise CodebookError(source, [f"{place}it is not valid YAML: {error.problem}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CodebookError(source, [f"it is not valid YAML: {str(error).splitlines()[0]}"]) from error
    finally:
        loader.dispose()
    if reader.problems:
        raise CodebookError(source, reader.problems)
    return data, reader.lines


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
        value = self._loader.construct_object(node)
        # Dates stay as written: a limit or a default is ISO text in a codebook.
        return value if isinstance(value, str | int | float | bool | None) else node.value

    def _mapping(self, node: yaml.MappingNode, path: Place) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in data:
                self.problems.append(f"line {line}: `{key}` stands twice in the same place; remove one")
            self.lines[(*path, key)] = line
            data[key] = self.read(value_node, (*path, key))
        return data
