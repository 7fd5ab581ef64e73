"""What a job would cost, before anything is asked: the plan as `tasks.plan_job` makes it, less what is answered."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from db import cells, documents, entities, projects
from db.cells import PlannedCell
from db.documents import StoredDocument
from db.session import transaction
from tasks.cell_plan import CellPlan
from tasks.ledger import LIST_ANSWERS, SCHEMA_TOKENS
from tasks.plan_job import cell_plan, check_request, chosen_documents
from tasks.read_prices import own_prices, prices
from winnow.answering import holding
from winnow.chunks import Chunk, chunks
from winnow.entities import FoundEntity
from winnow.estimates import SHORTEST_CACHED, CallPlan, Estimate, estimate
from winnow.extractions import Evidence
from winnow.jobs import JobOptions
from winnow.tokens import count_tokens

TOKENS_PER_ENTITY = 25
"""Of a document whose entities are not listed yet: no more than one in so many tokens, it is assumed."""

_AROUND = 60  # tokens of a question besides its variables: marks and closing sentences
_AROUND_ENTITY = 160  # the entity, its evidence, and the known values too
_AROUND_LIST = 140
_OVERCOUNTED = 0.8  # texts have no fewer tokens than so many of those counted: `winnow.tokens`
_ANY = FoundEntity(key="", name="", evidence=(Evidence(quote="", mark="absent"),))


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A row of the dataset: its cells without an answer, and the parts of the document that they are asked about."""

    cells: list[PlannedCell]
    parts: list[int]


@dataclass(frozen=True, kw_only=True)
class _Document:
    """What a document has to be asked."""

    id: int
    sizes: list[int]  # of its parts, in tokens
    cells: int
    answered: int
    listing: bool  # whether its entities are to be listed: their rows are not planned yet
    rows: list[_Row]
    imagined: list[_Row]  # as many rows as it may have, when they are listed


def estimate_job(project_name: str, options: JobOptions) -> dict[str, Any]:
    """The estimate of a job as plain data. Nothing is stored.

    Raises:
        DefinitionError: as `tasks.plan_job.check_request`.
    """
    check_request(project_name, options)
    with transaction() as connection:
        project = projects.get(connection, project_name)
        plan = cell_plan(connection, project, options)
        chosen = list(chosen_documents(connection, project, options, None))
        seen: set[str] = set()
        asked = [_asked(connection, plan, document, seen) for document in chosen]
    price = prices().price(options.model)
    low = estimate(_calls(asked, plan, options, most=False), price)
    high = estimate(_calls(asked, plan, options, most=True), price)
    return {
        "project": project.name,
        "model": options.model,
        "documents": len(chosen),
        "cells": sum(one.cells for one in asked),
        "answered": sum(one.answered for one in asked),
        "unlisted": sum(one.listing for one in asked),
        "tokens_per_entity": TOKENS_PER_ENTITY,
        "prices": str(own_prices()),
        **_range(low, high),
    }


def _range(low: Estimate, high: Estimate) -> dict[str, Any]:
    lowest, highest = asdict(low), asdict(high)
    return {key: (lowest if key.endswith("_low") else highest)[key] for key in lowest}


def _asked(connection: Connection, plan: CellPlan, document: StoredDocument, seen: set[str]) -> _Document:
    """`seen`: the questions of the documents before, as documents of the same text share their calls."""
    given = (document.id, str(document.text_hash), document.tokens or 0)
    first = plan.of_document(*given)
    parts, sizes = _parts(connection, plan, document)
    listed = entities.of_question(connection, document.id, first[0].question_key) if plan.unit else []
    rows = [(first, list(range(len(parts))))] if plan.unit is None else []
    for number, entity in listed or ():
        where = [part.number - 1 for part in holding(parts, entity.evidence)]
        rows.append((plan.of_entities(*given, [(number, entity)]), where))
    every = [*(first if plan.unit else ()), *(cell for row, _ in rows for cell in row)]
    known = cells.answered(connection, document.id, [cell.question_key for cell in every])
    longest = sizes.index(max(sizes))
    imagined = _Row(cells=plan.of_entities(*given, [(0, _ANY)]), parts=[longest]) if listed is None else None
    open_rows = [
        _Row(cells=[cell for cell in row if cell.question_key not in known | seen], parts=where) for row, where in rows
    ]
    seen.update(cell.question_key for cell in every)
    return _Document(
        id=document.id,
        sizes=sizes,
        cells=len(every),
        answered=sum(cell.question_key in known for cell in every),
        listing=listed is None,
        rows=open_rows,
        imagined=[imagined] * max(1, given[2] // TOKENS_PER_ENTITY) if imagined else [],
    )


def _parts(connection: Connection, plan: CellPlan, document: StoredDocument) -> tuple[Sequence[Chunk], list[int]]:
    """The parts in which a document is read, and their tokens."""
    chunking, tokens = plan.codebook.chunking, document.tokens or 0
    if tokens <= (chunking.tokens if plan.unit else chunking.whole_up_to):
        return (Chunk(0, 0, 1, 1),), [tokens]
    content = documents.content(connection, document.id)
    parts = chunks(content.text, content.blocks, chunking)
    return parts, [count_tokens(content.text[part.start : part.end]) for part in parts]


def _calls(
    asked: Sequence[_Document], plan: CellPlan, options: JobOptions, *, most: bool
) -> Iterator[tuple[tuple[int, int], CallPlan]]:
    """The calls to be made, with what identifies their prefix: the document and the part of it."""
    share = 1.0 if most else _OVERCOUNTED
    rules = count_tokens(plan.rules) + (SCHEMA_TOKENS if most else 0)
    questions = {prompt.id: count_tokens(prompt.text) for prompt in plan.prompts}
    around = _AROUND_ENTITY if plan.unit else _AROUND
    listing = _AROUND_LIST + (count_tokens(plan.unit.text) if plan.unit else 0)

    def call(one: _Document, part: int, question: int, variables: int) -> tuple[tuple[int, int], CallPlan]:
        whole = rules + one.sizes[part]
        prefix, question = int(share * whole), int(share * question)
        if not most and whole + SCHEMA_TOKENS >= SHORTEST_CACHED:  # the cheapest way: it is found in the cache
            prefix = max(prefix, SHORTEST_CACHED)
        return (one.id, part), CallPlan(prefix_tokens=prefix, question_tokens=question, variables=variables)

    for one in asked:
        for part in range(len(one.sizes) if one.listing else 0):
            yield call(one, part, listing, LIST_ANSWERS if most else 1)
        for row in [*one.rows, *(one.imagined if most else one.imagined[:1])]:
            for group in _groups(row.cells, options.variables_per_call, most=most):
                for part in row.parts:
                    yield call(one, part, around + sum(questions[cell.prompt_id] for cell in group), len(group))


def _groups(row: Sequence[PlannedCell], size: int, *, most: bool) -> Iterator[Sequence[PlannedCell]]:
    """The cells of a row that are asked together, as `tasks.work_stages` takes them.

    Those that depend on others: at the most each alone, as it may be asked with other known values; at the least none,
    as no condition may hold.
    """
    for layer, together in groupby(row, key=lambda cell: cell.layer):
        open_cells = list(together)
        step = size or len(open_cells)
        if layer:
            open_cells, step = open_cells if most else [], 1
        for start in range(0, len(open_cells), step):
            yield open_cells[start : start + step]
