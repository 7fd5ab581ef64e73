"""What the test model service (see openai_server.py) answers: from a given truth, by entities, or from the text."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from pathlib import Path

import orjson

from tests.openai_entities import answer_from_entities, even
from tests.openai_prompts import Prompt
from tests.openai_settings import Json, Settings

NUMBER = re.compile(r"(?:(?<![\w-])-)?[0-9]+(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]+)?")
DATE = re.compile(r"(?<![0-9])[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])")
SENTENCE = re.compile(r"\S(?:[^\n]{9,198}?[.!?](?=\s|\Z)|[^\n]{0,198})")
ANY_DOCUMENT = "*"


def quote(document: str, start: int, end: int) -> str:
    """The line around a place, shortened where documents have no line breaks."""
    line_start, line_end = document.rfind("\n", 0, start) + 1, document.find("\n", end)
    line_end = len(document) if line_end < 0 else line_end
    return document[max(line_start, start - 100) : min(line_end, end + 100)].strip()


def is_date(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False


@lru_cache(maxsize=512)
def read_value(document: str, kind: str) -> tuple[str, str] | None:
    """The first value of the type in the document and the line it stands in."""
    if kind == "date":
        match = next((found for found in DATE.finditer(document) if is_date(found[0])), None)
    else:
        match = (NUMBER if kind == "number" else SENTENCE).search(document)
    if not match:
        return None
    value = match[0].replace(",", "") if kind == "number" else match[0].strip()
    return value, quote(document, *match.span())


def default_answer(document: str, variable: Json) -> Json:
    kind = variable.get("type")
    read = read_value(document, kind if kind in ("number", "date") else "text")
    value = read[0] if read else ""
    if kind == "boolean":
        value = "true"
    elif kind == "category":
        categories = variable.get("categories") or []
        read, value = (read, str(categories[0]["value"])) if categories else (None, "")
    return {"values": [{"value": value, "evidence": read[1]}] if read else []}


class Truth:
    """Finds the answers given for a document by a substring of it; the first that fits is taken.

    The key "*" fits where no other does. If strict, an answer keeps only values with evidence in the text.
    """

    def __init__(self, truth: Json | str, strict: bool = False) -> None:
        table = truth if isinstance(truth, dict) else orjson.loads(Path(truth).read_bytes())
        self._table: dict[str, Json] = dict(table)
        self._otherwise: Json = self._table.pop(ANY_DOCUMENT, {})
        self._strict = strict
        self._width = min(map(len, self._table), default=0)
        self._starts: dict[str, list[tuple[int, str]]] = {}
        for item in enumerate(self._table):
            self._starts.setdefault(item[1][: self._width], []).append(item)
        self.answers_for = lru_cache(maxsize=512)(self._answers_for)
        self.given = lru_cache(maxsize=2048)(self._given)

    def _answers_for(self, document: str) -> Json:
        if len(self._table) < 200:
            return next((self._table[key] for key in self._table if key in document), self._otherwise)
        # with many keys one pass over the document costs less than a search for each of them
        pieces = {document[at : at + self._width] for at in range(len(document) - self._width + 1)}
        found = (item for piece in pieces & self._starts.keys() for item in self._starts[piece])
        first = min((item for item in found if item[1] in document), default=None)
        return self._table[first[1]] if first else self._otherwise

    def _given(self, document: str, name: str) -> Json | None:
        """The given answer, true of this text; None where none is given."""
        given: Json | None = self.answers_for(document).get(name)
        values = given.get("values") if given else None
        if not given or not values or not self._strict:
            return given
        text = even(document)
        kept = [value for value in values if (words := even(value.get("evidence") or "")) and words in text]
        return {**given, "values": kept} if kept else {"values": []}

    def answer(self, settings: Settings, prompt: Prompt, variable: Json) -> Json:
        """The whole answer: the given one, else that of the entities, else what the text says."""
        name, document = variable["variable"], prompt.document
        answer = self.given(document, name)
        if answer is None:
            answer = answer_from_entities(settings, prompt, variable)
        if answer is None:
            answer = default_answer(document, variable)
        values = answer.get("values", [])
        status = answer.get("status", "found" if values else "not_stated")
        confidence = answer.get("confidence", 0.9)
        return {"variable": name, "status": status, "values": values, "confidence": confidence}
