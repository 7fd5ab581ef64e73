"""Projects with more rows than anyone parses for a measurement: made by SQL, as a run would have left them."""

from sqlalchemy import text

from db import jobs, projects
from db.session import transaction
from db.upgrade import ready
from winnow.parse_codebook import parse_codebook
from winnow.projects import Project

MODEL = "openai:test-model"
WORDS = 300
"""In every document."""

_DOCUMENTS = text("""
    INSERT INTO document (project_id, sha256, name, size_bytes, status, media_type, parser, pages, words, tokens,
        text, text_hash)
    SELECT :project, encode(sha256(made.text::bytea), 'hex'), 'contract ' || made.n || '.txt', length(made.text),
        'parsed', 'text/plain', 'made', 1, :words, :words, made.text, encode(sha256(made.text::bytea), 'hex')
    FROM (
        SELECT n, 'Contract ' || n || ' of ' || cast(:name AS text) || ' runs from today.'
            || repeat(' The parties agree on word ' || n || '.', :words / 6) AS text
        FROM generate_series(1, :documents) AS n
    ) AS made
""")
_BLOCKS = text("""
    INSERT INTO block (document_id, position, kind, start, "end")
    SELECT id, 0, 'paragraph', 0, length(text) FROM document WHERE project_id = :project
""")
_CALLS = text("""
    INSERT INTO call (call_key, request_key, job_id, document_id, prompt_ids, model, parameters, status, reply,
        finish_reason, prompt_tokens, cached_tokens, completion_tokens, cost, seconds, answered_at)
    SELECT cell.question_key, cell.question_key, cell.job_id, cell.document_id, ARRAY[cell.prompt_id], :model, '{}',
        'answered', json_build_object('raw', json_build_object('choices', repeat('reply ', 100)),
            'text', repeat('answer ', 40), 'refusal', NULL),
        'stop', 1200, 1024, 40, 0.0004, 0.5, now()
    FROM cell WHERE job_id = :job AND id IN (SELECT id FROM cell WHERE job_id = :job ORDER BY id LIMIT :many)
""")
_EXTRACTIONS = text("""
    INSERT INTO extraction (question_key, document_id, prompt_id, call_ids, model, status, "values", confidence,
        signals, flags, unread)
    SELECT cell.question_key, cell.document_id, cell.prompt_id, ARRAY[call.id], :model, 'found',
        jsonb_build_array(jsonb_build_object('value', 'The parties agree ' || cell.id, 'raw',
            'The parties agree ' || cell.id, 'problem', NULL, 'confidence', 0.9, 'evidence', jsonb_build_array(
                jsonb_build_object('quote', 'The parties agree', 'mark', 'exact', 'score', 1.0, 'places',
                    jsonb_build_array(jsonb_build_object('start', 40, 'end', 57, 'page', 1, 'boxes',
                        jsonb_build_array())))))),
        0.9, '{"said": 0.9, "grounding": 1.0, "validation": 1.0, "tokens": null}',
        CASE WHEN cell.id % 20 = 0 THEN '{low_confidence}'::text[] ELSE '{}' END, '[]'
    FROM cell JOIN call ON call.call_key = cell.question_key
    WHERE cell.job_id = :job AND cell.status = 'pending'
""")
_ENTITIES = text("""
    INSERT INTO entity (document_id, key, name, evidence)
    SELECT document.id, md5(document.id || ' ' || n), 'clause ' || n,
        jsonb_build_array(jsonb_build_object('quote', 'The parties agree', 'mark', 'exact', 'score', 1.0, 'places',
            jsonb_build_array(jsonb_build_object('start', 40, 'end', 57, 'page', 1, 'boxes', jsonb_build_array()))))
    FROM document CROSS JOIN generate_series(1, :each) AS n WHERE project_id = :project
""")
_LISTS = text("""
    INSERT INTO extraction (question_key, document_id, prompt_id, call_ids, entity_ids, model, status, "values",
        confidence, signals, flags, unread)
    SELECT cell.question_key, cell.document_id, cell.prompt_id, '{}', listed.ids, :model, 'found', '[]', 1, '{}', '{}',
        '[]'
    FROM cell JOIN (SELECT document_id, array_agg(id ORDER BY id) AS ids FROM entity GROUP BY 1) AS listed
        USING (document_id)
    WHERE cell.job_id = :job AND cell.entity_id IS NULL
""")
_SETTLED = text("""
    UPDATE cell SET extraction_id = extraction.id,
        status = CASE WHEN cardinality(extraction.flags) = 0 THEN 'extracted' ELSE 'flagged' END
    FROM extraction WHERE cell.job_id = :job AND extraction.question_key = cell.question_key
        AND extraction.document_id = cell.document_id AND extraction.prompt_id = cell.prompt_id
""")


def make(name: str, documents: int, variables: int) -> None:
    """A project of so many short documents that differ."""
    ready()
    apply(name, variables)
    with transaction() as connection:
        project = projects.get(connection, name).id
        given = {"project": project, "documents": documents, "words": WORDS, "name": name}
        connection.execute(_DOCUMENTS, given)
        connection.execute(_BLOCKS, {"project": project})


def make_entities(name: str, documents: int, each: int) -> None:
    """A project of so many documents in which so many entities have two variables each."""
    unit = {"entity": "clause", "definition": "One numbered clause.", "identified_by": ["number"]}
    asked = [{"name": of, "type": "text", "instructions": f"The clause's {of}."} for of in ("number", "subject")]
    ready()
    with transaction() as connection:
        codebook = parse_codebook({"project": name, "variables": asked, "unit_of_observation": unit})
        projects.apply_codebook(connection, codebook)
        project = projects.get(connection, name).id
        given = {"project": project, "documents": documents, "words": WORDS, "name": name}
        connection.execute(_DOCUMENTS, given)
        connection.execute(_ENTITIES, {"project": project, "each": each})


def list_entities(job: int) -> None:
    """Let the entities of all documents of a job have been listed."""
    with transaction() as connection:
        for statement in (_LISTS, _SETTLED):
            connection.execute(statement, {"job": job, "model": MODEL})


def apply(name: str, variables: int, *, first: str = "") -> Project:
    """Its codebook; `first` is the label of the first variable, and a new one makes it a new question."""
    asked = [
        {"name": f"clause_{number}", "type": "text", "instructions": f"What the contract says in clause {number}."}
        for number in range(variables)
    ]
    asked[0] |= {"label": first} if first else {}
    with transaction() as connection:
        projects.apply_codebook(connection, parse_codebook({"project": name, "variables": asked}))
        return projects.get(connection, name)


def answer(job: int, many: int) -> None:
    """Let so many of a job's cells have been bought and read, the first ones of the plan."""
    with transaction() as connection:
        for statement in (_CALLS, _EXTRACTIONS, _SETTLED):
            connection.execute(statement, {"job": job, "many": many, "model": MODEL})


def end(job: int) -> None:
    """End a job as its run would have."""
    with transaction() as connection:
        jobs.finish(connection, job)


def pause(job: int) -> None:
    """Leave a job as a run that was interrupted."""
    with transaction() as connection:
        jobs.pause(connection, job, "interrupted: KeyboardInterrupt")
