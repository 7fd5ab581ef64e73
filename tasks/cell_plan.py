"""Which cells a document or an entity has, and the key of all that shapes each one's answer.

The key is known before any call. Two cells with the same key are the same question, so that the answer of one serves
the other: in the next job, and in another that runs at the same time.
"""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from db.cells import PlannedCell
from db.documents import StoredDocument
from tasks import models
from winnow.answers import ENVELOPE_SCHEMA
from winnow.checks import compile_check
from winnow.codebook import Codebook, VariableType, name_key
from winnow.conditions import layers, with_parents
from winnow.entities import FoundEntity
from winnow.extractions import Extraction
from winnow.projects import PromptVersion
from winnow.prompts import SharedShaping, question_key

ENGINE = "1"
"""Changes with the way in which answers are asked for and read: then stored replies are read again."""


@dataclass(frozen=True)
class CellPlan:
    """What a job asks of every document."""

    model: str
    rules: str
    codebook: Codebook
    prompts: tuple[PromptVersion, ...]  # of the variables asked
    unit: PromptVersion | None = None  # that asks for a document's entities

    def key(self, documents: Iterable[StoredDocument]) -> str:
        """The hash of what it asks of these documents: with the same key, it has the same cells."""
        short, long = self.of_document(0, "", 0), self.of_document(0, "", sys.maxsize)
        hashed = hashlib.sha256(repr((short, long)).encode())
        for document in documents:
            hashed.update(f"\n{document.id} {document.text_hash} {document.tokens}".encode())
        return hashed.hexdigest()

    def of_document(self, document_id: int, text_hash: str, tokens: int) -> list[PlannedCell]:
        """A document's cells: its variables, or where rows are entities the cell that lists them."""
        if self.unit is None:
            about = self._about(text_hash, tokens > self.codebook.chunking.whole_up_to)
            return self._cells(document_id, SharedShaping(*about))
        shaping = [*self._about(text_hash, tokens > self.codebook.chunking.tokens), self._parameters("text")]
        return [
            PlannedCell(
                document_id=document_id, prompt_id=self.unit.id, question_key=question_key([*shaping, self.unit.text])
            )
        ]

    def of_entities(
        self, document_id: int, text_hash: str, tokens: int, entities: Iterable[tuple[int, FoundEntity]]
    ) -> list[PlannedCell]:
        """The cells of a document's entities, given with their ids."""
        about = SharedShaping(*self._about(text_hash, tokens > self.codebook.chunking.tokens))
        return [
            cell
            for entity_id, entity in entities
            for cell in self._cells(document_id, about.and_also(_shown(entity)), entity_id)
        ]

    def _cells(self, document_id: int, about: SharedShaping, entity_id: int | None = None) -> list[PlannedCell]:
        keys: dict[str, str] = {}
        for asked in self._asked:
            parents = [keys[parent] for parent in asked.parents]
            keys[asked.name] = about.key(asked.parameters, asked.prompt.text, parents)
        check_key = question_key([self._checks, sorted(keys.items())]) if self._checked else None
        return [
            PlannedCell(
                document_id=document_id, prompt_id=asked.prompt.id, entity_id=entity_id,
                question_key=keys[asked.name], layer=asked.layer,
                check_key=check_key if asked.name in self._checked else None,
            )
            for asked in self._asked
        ]  # fmt: skip

    def _about(self, text_hash: str, in_chunks: bool) -> list[Any]:
        chunking = self.codebook.chunking.model_dump() if in_chunks else None
        conventions = [self.codebook.language, self.codebook.date_order]
        return [ENGINE, self.model, self.rules, _SCHEMA, text_hash, conventions, chunking]

    def _parameters(self, variable_type: VariableType) -> dict[str, Any]:
        return self._known_parameters[variable_type]

    @cached_property
    def _known_parameters(self) -> dict[VariableType, dict[str, Any]]:
        types: set[VariableType] = {"text", *(prompt.variable.type for prompt in self.prompts)}
        return {variable_type: models.parameters(self.model, variable_type) for variable_type in types}

    @cached_property
    def _asked(self) -> Sequence["_Asked"]:
        """The variables, parents before those that depend on them."""
        by_name = {prompt.variable.name: prompt for prompt in self.prompts}
        return [
            _Asked(
                prompt=by_name[variable.name], layer=layer, name=name_key(variable.name),
                parents=[name_key(dependency.variable) for dependency in variable.depends_on],
                parameters=self._parameters(variable.type),
            )
            for layer, variables in enumerate(layers([prompt.variable for prompt in self.prompts]))
            for variable in variables
        ]  # fmt: skip

    @cached_property
    def _checked(self) -> set[str]:
        """The variables asked that a check of the codebook names, by `name_key`."""
        checks = (compile_check(check.expression, self.codebook.variables) for check in self.codebook.checks)
        return {name_key(name) for check in checks for name in check.names} & {asked.name for asked in self._asked}

    @cached_property
    def _checks(self) -> list[Any]:
        return [check.model_dump() for check in self.codebook.checks]


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A variable as every document is asked for it."""

    prompt: PromptVersion
    layer: int
    name: str  # by `name_key`
    parents: Sequence[str]
    parameters: dict[str, Any]


_SCHEMA = question_key(ENVELOPE_SCHEMA)


def _shown(entity: FoundEntity) -> list[Any]:
    """What of an entity shapes the questions about it."""
    places = [(place.start, place.end) for proof in entity.evidence for place in proof.places]
    return [entity.key, entity.name, entity.evidence[0].quote, places]


def chosen_prompts(names: Sequence[str], prompts: Sequence[PromptVersion]) -> tuple[PromptVersion, ...]:
    """The prompts of these variables and of all that they depend on; of all variables where none is named."""
    variables = [prompt.variable for prompt in prompts]
    wanted = {variable.name for variable in with_parents(names, variables)} if names else None
    return tuple(prompt for prompt in prompts if wanted is None or prompt.variable.name in wanted)


def checked_key(key: str, extraction: Extraction) -> str:
    """The key of what a row's checks made of an extraction: another question than the one without them."""
    return question_key([key, "checked", [str(value) for value in extraction.accepted], extraction.detail])
