"""Small makers of what tests need: each has defaults for all that a test does not care about."""

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, text

from db import calls, cells, documents, entities, extractions, jobs, projects, workers
from db.calls import Order
from db.cells import PlannedCell
from db.documents import StoredDocument
from winnow.calls import Reply, Usage
from winnow.codebook import Codebook
from winnow.documents import Box, ParsedDocument, Piece, assemble
from winnow.entities import FoundEntity
from winnow.exceptions import DocumentError
from winnow.extractions import Evidence, Extraction, FoundValue, Place
from winnow.jobs import UNFINISHED, CellRef, JobOptions
from winnow.parse_codebook import parse_codebook
from winnow.projects import Project, PromptVersion
from winnow.prompts import question_key

MODEL = "openai:tested"
RULES = "the rules"

UNIT = {"entity": "protest", "definition": "One public gathering.", "identified_by": ["place"]}
"""A unit of observation: `project(connection, "place", "size", unit_of_observation=UNIT)`."""

_numbers = itertools.count(1)


def variable(name: str = "title", **more: Any) -> dict[str, Any]:
    """A variable as a codebook file has it."""
    return {"name": name, "type": "text", "instructions": f"Find the {name}.", **more}


def codebook(*variables: str | dict[str, Any], project: str = "Grants", **more: Any) -> Codebook:
    """A codebook; of a variable, its name is enough. Without variables it has `title` and `amount`."""
    chosen = variables or ("title", variable("amount", type="number"))
    listed = [variable(given) if isinstance(given, str) else given for given in chosen]
    return parse_codebook({"project": project, "variables": listed, **more})


def project(connection: Connection, *variables: str | dict[str, Any], name: str = "Grants", **more: Any) -> Project:
    """A stored project."""
    projects.apply_codebook(connection, codebook(*variables, project=name, **more))
    return projects.get(connection, name)


def sha256(data: str) -> str:
    return hashlib.sha256(data.encode()).hexdigest()


def parsed(*texts: str, page: int | None = 1) -> ParsedDocument:
    """A parsed PDF of some paragraphs, each with its box."""
    box = Box(x0=72, y0=90.5, x1=540.25, y1=104)
    pieces = [Piece(kind="paragraph", text=text, page=page, box=box) for text in texts or ("Some text.",)]
    return assemble(pieces, media_type="application/pdf", parser="tested 1.0", pages=page)


def document(
    connection: Connection, project_id: int, name: str = "a.pdf", *, text: str | None = None, data: str | None = None
) -> int:
    """A parsed document's id. Documents of different names have different texts and bytes."""
    words = text if text is not None else f"The text of {name}."
    digest = sha256(data if data is not None else f"{name} {words}")
    return documents.save_parsed(
        connection, project_id, sha256=digest, name=name, size_bytes=len(words), parsed=parsed(words)
    )


def failed_document(connection: Connection, project_id: int, name: str = "scan.pdf", reason: str = "no_text") -> int:
    """The id of a document that gave no text."""
    error = DocumentError(reason, f"it is {reason}")
    return documents.save_failed(connection, project_id, sha256=sha256(name), name=name, size_bytes=7, error=error)


def options(kind: Any = "full", **more: Any) -> JobOptions:
    return JobOptions(kind=kind, **{"model": MODEL, **more})


def planned(
    connection: Connection, of: Project, asked: JobOptions, chosen: Sequence[StoredDocument] | None = None
) -> list[PlannedCell]:
    """The cells of a plan: every readable document with every variable."""
    found = documents.of_project(connection, of.id) if chosen is None else chosen
    return [
        PlannedCell(document_id=stored.id, prompt_id=prompt.id, question_key=key(asked, stored, prompt))
        for stored in found
        for prompt in projects.prompts(connection, of.id)
        if stored.status == "parsed"
    ]


def key(asked: JobOptions, stored: StoredDocument, prompt: PromptVersion) -> str:
    """The key of a cell: other models, texts and prompts have others."""
    return question_key([asked.model, stored.text_hash, prompt.text])


def empty_job(connection: Connection, of: Project, asked: JobOptions | None = None) -> int:
    """The id of a running job without cells."""
    job_id = jobs.create(connection, of.id, asked or options(), rules=RULES)
    jobs.start(connection, job_id)
    return job_id


def job(
    connection: Connection, of: Project, asked: JobOptions | None = None, chosen: Sequence[StoredDocument] | None = None
) -> int:
    """The id of a running job with its cells planned: one for each document and variable of the project."""
    asked = asked or options()
    job_id = empty_job(connection, of, asked)
    cells.plan(connection, job_id, planned(connection, of, asked, chosen))
    return job_id


def planned_lists(connection: Connection, of: Project, asked: JobOptions) -> list[PlannedCell]:
    """The cells of a plan where rows are entities: one for each readable document, that lists them."""
    unit = projects.unit_prompt(connection, of.id)
    assert unit
    return [
        PlannedCell(document_id=stored.id, prompt_id=unit.id, question_key=key(asked, stored, unit))
        for stored in documents.of_project(connection, of.id)
        if stored.status == "parsed"
    ]


def listing_job(connection: Connection, of: Project, asked: JobOptions | None = None) -> int:
    """The id of a running job of a project whose rows are entities, with the cells that list them."""
    asked = asked or options()
    job_id = empty_job(connection, of, asked)
    cells.plan(connection, job_id, planned_lists(connection, of, asked))
    return job_id


def entity(name: str) -> FoundEntity:
    """An entity as found in a text. The same name has the same key, however it is spelled."""
    place = Place(start=0, end=len(name), page=1)
    evidence = Evidence(quote=f"in {name}", mark="exact", places=(place,))
    return FoundEntity(key=name.casefold(), name=name, evidence=(evidence,))


def list_entities(connection: Connection, of: Project, cell_id: int, *names: str, **more: Any) -> list[int]:
    """End a cell that lists entities, and plan their cells, as a run does. Returns the ids of the entities."""
    work = stored_cell(connection, cell_id)
    ids = entities.save(connection, work.document_id, [entity(name) for name in names])
    extractions.save(
        connection,
        extraction(status="found" if names else "not_stated", **{"values": (), "confidence": 1.0, **more}),
        cell_id=cell_id,
        question_key=work.question_key,
        document_id=work.document_id,
        prompt_id=work.prompt_id,
        entity_id=None,
        model=MODEL,
        call_ids=[],
        entity_ids=ids,
    )
    planned = planned_entities(projects.prompts(connection, of.id), work.document_id, ids)
    cells.plan_entities(connection, work.job_id, work.document_id, planned)
    return ids


def planned_entities(prompts: Sequence[PromptVersion], document_id: int, ids: Sequence[int]) -> list[PlannedCell]:
    """The cells of a document's entities: each with every variable."""
    return [
        PlannedCell(
            document_id=document_id, prompt_id=prompt.id, entity_id=entity_id,
            question_key=question_key([entity_id, prompt.text]),
        )
        for entity_id in ids
        for prompt in prompts
    ]  # fmt: skip


def pending(connection: Connection, job_id: int) -> list[CellRef]:
    """The job's pending cells in their order."""
    opened = cells.open_of(connection, job_id, cells.documents(connection, job_id))
    return [cell for of_document in opened for cell in of_document if cell.pending]


def stored_cell(connection: Connection, cell_id: int) -> Any:
    """A cell's row."""
    return connection.execute(text("SELECT * FROM cell WHERE id = :cell"), {"cell": cell_id}).one()


def set_status(connection: Connection, job_id: int, status: str, reason: str = "by the test") -> bool:
    """Change a job's status, by the function that does."""
    if status in ("completed", "completed_with_errors"):  # whatever its cells are
        return jobs._change(connection, job_id, status, UNFINISHED)  # type: ignore[arg-type]
    if status == "running":
        return jobs.start(connection, job_id)
    change = {"paused": jobs.pause, "cancelled": jobs.cancel, "failed": jobs.fail}[status]
    return change(connection, job_id, reason)


def worker(connection: Connection, job_id: int | None = None) -> int:
    """The id of a new worker on a job: the newest, unless another is named."""
    of = job_id or connection.scalar(text("SELECT max(id) FROM job"))
    return workers.register(connection, of, "tests:1")


def reply(text: str = '{"answers": []}', **more: Any) -> Reply:
    """A reply. No two have the same raw text, as with a provider."""
    return Reply(
        **{
            "raw": {"id": f"reply-{next(_numbers)}", "content": text},
            "text": text,
            "finish_reason": "stop",
            "usage": Usage(prompt_tokens=100, cached_tokens=80, completion_tokens=20),
            "seconds": 1.5,
            **more,
        }
    )


def extraction(value: Any = "Ada", *flags: Any, status: Any = "found", **more: Any) -> Extraction:
    """An extraction with one value, proven by a quote."""
    place = Place(start=4, end=12, page=1, boxes=(Box(x0=1, y0=2, x1=3, y1=4),))
    evidence = Evidence(quote=f"says {value}", mark="exact", places=(place,))
    values = (FoundValue(value=value, raw=str(value), evidence=(evidence,)),) if status == "found" else ()
    return Extraction(**{"status": status, "values": values, "confidence": 0.9, "flags": flags, **more})


def intend(connection: Connection, cell_id: int, model: str = MODEL) -> int:
    """The id of a call for one cell that nobody has answered yet."""
    work = stored_cell(connection, cell_id)
    order = Order(
        request_key=f"request of {work.question_key}", job_id=work.job_id, document_id=work.document_id,
        prompt_ids=(work.prompt_id,), model=model, parameters={},
    )  # fmt: skip
    intent = calls.intend(connection, order, worker(connection, work.job_id))
    assert intent.call_id
    assert intent.reply is None
    return intent.call_id


def answer(connection: Connection, cell_id: int, given: Extraction | None = None, model: str = MODEL) -> int:
    """End a pending cell as a run does: intent, reply, extraction. Returns the call's id."""
    work = stored_cell(connection, cell_id)
    call_id = intend(connection, cell_id, model)
    calls.keep_reply(connection, call_id, reply())
    extractions.save(
        connection,
        given or extraction(),
        cell_id=cell_id,
        question_key=work.question_key,
        document_id=work.document_id,
        prompt_id=work.prompt_id,
        entity_id=work.entity_id,
        model=model,
        call_ids=[call_id],
    )
    return call_id


def make_unusable(connection: Connection, cell_id: int, reason: str = "malformed") -> int:
    """Let a cell fail because its reply could not be read. Returns the call's id."""
    call_id = intend(connection, cell_id)
    calls.keep_reply(connection, call_id, reply("no JSON"))
    calls.reject(connection, call_id, reason)
    cells.end(connection, cell_id, "failed", reason, "the reply is not JSON")
    return call_id
