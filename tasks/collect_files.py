"""Which files a list of paths means."""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from winnow.exceptions import DefinitionError, NothingToDoError


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file to ingest: where it is, and the name it is known by (its path below the folder given)."""

    path: str
    name: str


def collect_files(paths: Iterable[str]) -> list[FoundFile]:
    """The files of these paths; folders are walked through. Hidden files and folders, and links, are passed over.

    Raises:
        DefinitionError: a path does not exist.
        NothingToDoError: there is no file at all.
    """
    named = [os.path.expanduser(path) for path in paths]
    missing = [path for path in named if not os.path.exists(path)]
    if missing:
        raise DefinitionError(f"There is no file or folder {', '.join(map(repr, missing))}. Check the spelling.")
    given = [Path(path) for path in named]
    found: dict[str, FoundFile] = {}
    for path in given:
        for file in [path] if path.is_file() else _walk(path):
            name = file.relative_to(path) if path.is_dir() else Path(file.name)
            found.setdefault(os.path.abspath(file), FoundFile(path=os.path.abspath(file), name=_storable(name)))
    if not found:
        where = ", ".join(repr(str(path)) for path in given) or "the list of paths"
        raise NothingToDoError(f"There are no files in {where}. Name a file, or a folder that holds documents.")
    return list(found.values())


def _walk(folder: Path) -> Iterable[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(here) / name
            if not name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file


def _storable(name: Path) -> str:
    """A name is only data, never a path to write to; bytes that are no Unicode, and controls, become question marks."""
    text = name.as_posix().encode("utf-8", "replace").decode()
    return "".join(character if _is_shown(character) else "?" for character in text)


def _is_shown(character: str) -> bool:
    """Spaces of any width, and the joiners of some scripts and emoji, are no controls."""
    return character.isprintable() or unicodedata.category(character) == "Zs" or character in "\u200c\u200d"
