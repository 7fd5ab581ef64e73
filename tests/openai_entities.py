"""The entities of a document, as the test model service (see openai_server.py) reads them by a pattern."""

from __future__ import annotations

import re
from functools import lru_cache

from tests.openai_prompts import Prompt
from tests.openai_settings import Json, Settings

NUMBER_OF = "number of "
NOT_STATED: Json = {"values": []}


def even(text: str) -> str:
    """Without differences of white space."""
    return " ".join(text.split())


class EntityTable:
    """All matches of the pattern in one text, in their order."""

    def __init__(self, pattern: str, text: str, identified_by: tuple[str, ...]) -> None:
        matches = list(re.compile(pattern, re.MULTILINE).finditer(text))
        self.evidence = [match[0].strip() for match in matches]
        self.rows = [{group: even(value or "") for group, value in match.groupdict().items()} for match in matches]
        self._having: dict[str, set[int]] = {}
        for number, row in enumerate(self.rows):
            for group, value in row.items():
                if not identified_by or group in identified_by:
                    self._having.setdefault(value.casefold(), set()).add(number)
        self.listing = lru_cache(maxsize=8)(self._listing)

    def _listing(self, groups: tuple[str, ...]) -> list[Json]:
        names = (" | ".join(row.get(group, "") for group in groups) for row in self.rows)
        return [{"value": name, "evidence": line} for name, line in zip(names, self.evidence, strict=True)]

    def find(self, name: str) -> int | None:
        """The first row that holds all parts of an entity's name."""
        parts = [self._having.get(even(part).casefold(), set()) for part in name.split("|")]
        return min(set.intersection(*parts), default=None)

    def value(self, number: int, group: str) -> Json:
        value = self.rows[number][group]
        return {"values": [{"value": value, "evidence": self.evidence[number]}] if value else []}


@lru_cache(maxsize=256)
def entity_table(pattern: str, text: str, identified_by: tuple[str, ...]) -> EntityTable:
    return EntityTable(pattern, text, identified_by)


@lru_cache(maxsize=256)
def announced(pattern: str, text: str) -> Json:
    match = re.compile(pattern, re.MULTILINE).search(text)
    if not match:
        return NOT_STATED
    return {"values": [{"value": even(match["number"]), "evidence": match[0].strip()}]}


def answer_from_entities(settings: Settings, prompt: Prompt, variable: Json) -> Json | None:
    """The answer where the question is about entities; None where it is about the document."""
    name, lists = str(variable["variable"]), variable.get("type") == "entities"
    if prompt.entity_name is None and not lists:
        listing = settings.entity_pattern or any(other.get("type") == "entities" for other in prompt.variables)
        if not (listing and name.startswith(NUMBER_OF)):
            return None
        return announced(settings.announced_pattern, prompt.document) if settings.announced_pattern else NOT_STATED
    if settings.entity_pattern is None:
        return NOT_STATED if lists else None
    table = entity_table(settings.entity_pattern, prompt.document, tuple(settings.identified_by))
    if lists:
        listed = [item["variable"] if isinstance(item, dict) else item for item in variable.get("identified_by") or []]
        return {"values": table.listing(tuple(map(group_of, listed)) or ("name",))}
    number, group = table.find(prompt.entity_name or ""), group_of(name)
    return NOT_STATED if number is None or group not in table.rows[number] else table.value(number, group)


def group_of(variable: str) -> str:
    return variable.lower().replace(" ", "_")
